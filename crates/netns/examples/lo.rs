//! Runs a program with a network of its own that holds nothing but a working `lo`.
//!
//! `cargo run -p netns --example lo -- python3 -m http.server --bind 127.0.0.1`
//!
//! The namespaces come from `unshare(1)`, since this crate makes none: the example starts itself in
//! them once more, with `--inside` as its first argument, and then brings `lo` up.

use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == "--inside") {
        args.remove(0);
        netns::bring_up()?;
        let (program, rest) = args.split_first().ok_or("usage: lo PROGRAM [ARG…]")?;
        return Err(Command::new(program).args(rest).exec().into());
    }
    let itself = std::env::current_exe()?;
    Err(Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(itself)
        .arg("--inside")
        .args(args)
        .exec()
        .into())
}
