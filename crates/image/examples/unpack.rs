//! `unpack DIRECTORY < layer.tar.gz`: applies a layer to an empty directory and prints its digests.
//!
//! Run it as root, or in a user namespace where the owners in the layer are mapped.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program"
)]

use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;

use image::Digest;
use image::layer::{Limits, Options, Unpack};

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: unpack DIRECTORY < LAYER");
        return ExitCode::from(2);
    };
    let root = match File::open(&directory) {
        Ok(root) => root,
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            return ExitCode::FAILURE;
        }
    };
    let unpack = Unpack {
        root: root.as_fd(),
        compression: None,
        limits: &Limits::default(),
        options: &Options::default(),
    };
    match unpack.run(std::io::stdin().lock()) {
        Ok(unpacked) => {
            println!("blob   {}", Digest::from(unpacked.compressed));
            println!("diffID {}", Digest::from(unpacked.plain));
            println!("{:?}", unpacked.applied);
            ExitCode::SUCCESS
        }
        Err(error) => {
            match error.source() {
                Some(source) => eprintln!("{error}: {source}"),
                None => eprintln!("{error}"),
            }
            ExitCode::FAILURE
        }
    }
}
