//! Two layers of few names that have much to do with each other: whiteouts, links and directories in any order.
//!
//! Each entry is a byte for its kind, two for its path and, for a link, two for what it leads to. A kind of 255 begins
//! the second layer.
#![no_main]

use std::os::fd::AsFd as _;
use std::path::Path;

use image::layer::apply;

const NAMES: [&str; 14] = [
    "a",
    "b",
    "c",
    ".wh.a",
    ".wh.b",
    ".wh..wh..opq",
    ".wh.",
    ".wh..wh.plnk",
    "..",
    ".",
    "",
    ".wh..",
    "a/b",
    "b/a",
];

fn header(path: &str, kind: u8, link: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, if kind == b'5' { "0000755" } else { "0000644" });
    for (at, width) in [(108, 7), (116, 7), (124, 11), (136, 11)] {
        put(at, &"0".repeat(width));
    }
    put(157, link);
    put(257, "ustar\x0000");
    block[156] = kind;
    block
}

fn path(bytes: &mut impl Iterator<Item = u8>) -> Option<String> {
    let mut part = || {
        bytes
            .next()
            .map(|byte| NAMES[usize::from(byte) % NAMES.len()])
    };
    Some(
        format!("{}/{}", part()?, part()?)
            .trim_end_matches('/')
            .to_owned(),
    )
}

/// The archives that the bytes mean.
fn layers(bytes: &[u8]) -> [Vec<u8>; 2] {
    let mut layers = [Vec::new(), Vec::new()];
    let (mut bytes, mut at) = (bytes.iter().copied(), 0);
    while let Some(kind) = bytes.next() {
        if kind == 255 {
            at = 1;
            continue;
        }
        let kind = [b'0', b'5', b'2', b'1', b'6'][usize::from(kind) % 5];
        let Some(path_of) = path(&mut bytes) else {
            break;
        };
        let link = match kind {
            b'1' | b'2' => path(&mut bytes).unwrap_or_default(),
            _ => String::new(),
        };
        layers[at].extend(header(&path_of, kind, &link));
    }
    layers.map(|layer| fuzz::with_checksums(&[layer, vec![0; 1024]].concat()))
}

/// No mark of an archive is a file's name: overlayfs would show it.
fn check(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        assert!(
            !name.to_string_lossy().starts_with(".wh."),
            "{:?}",
            entry.path()
        );
        if entry.file_type().expect("a type").is_dir() {
            check(&entry.path());
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut staged = Vec::new();
    for layer in layers(bytes) {
        let mut is_good = false;
        let staging = fuzz::staged(&staged, |staging, options| {
            is_good = apply(staging.as_fd(), &layer[..], &fuzz::LIMITS, options).is_ok();
        });
        check(&staging.path());
        staged.push(staging);
        if !is_good {
            break;
        }
    }
    fuzz::cleared(staged);
});
