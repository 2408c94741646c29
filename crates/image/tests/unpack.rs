//! The pipeline from compressed bytes to a directory, and archives made of chance.
//!
//! Runs as whoever runs the tests: files belong to the caller.

#[path = "common/tarball.rs"]
mod tarball;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use image::layer::{
    Bound, Compression, Error, Found, Limits, Options, OverlayAttrs, Owners, Rule, Unpack,
    Unpacked, apply,
};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use tarball::{Head, dir, file, hard, long, pax, symlink, tar};

fn options() -> Options<'static> {
    Options {
        owners: Owners::Caller,
        overlay: OverlayAttrs::User,
        ..Options::default()
    }
}

fn unpack(
    root: &Path,
    input: impl Read,
    compression: Option<Compression>,
    limits: &Limits,
) -> Result<Unpacked, Error> {
    let root = File::open(root).expect("the directory");
    let options = options();
    let unpack = Unpack {
        root: root.as_fd(),
        compression,
        limits,
        options: &options,
    };
    unpack.run(input)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(data, flate2::Compression::fast())
        .read_to_end(&mut out)
        .expect("to memory");
    out
}

fn sample() -> Vec<u8> {
    let mut parts = vec![
        dir("d"),
        symlink("l", "d"),
        pax(&[("path", b"long")]),
        file("x", "1"),
    ];
    for at in 0..50 {
        parts.push(file(&format!("d/{at}"), &format!("{at} ").repeat(40_000)));
    }
    parts.push(hard("h", "d/7"));
    tar(&parts)
}

#[test]
fn both_digests_are_of_the_bytes_that_passed() {
    let plain = sample();
    let zstd = zstd::encode_all(&plain[..], 3).expect("to memory");
    for (blob, declared) in [
        (plain.clone(), Compression::Plain),
        (gzip(&plain), Compression::Gzip),
        (zstd, Compression::Zstd),
    ] {
        for declared in [Some(declared), None] {
            let directory = tempfile::tempdir().expect("a directory");
            let unpacked = unpack(directory.path(), &blob[..], declared, &Limits::default());
            let unpacked = unpacked.expect("an honest layer");
            assert_eq!(unpacked.compressed[..], Sha256::digest(&blob)[..]);
            assert_eq!(unpacked.plain[..], Sha256::digest(&plain)[..]);
            assert_eq!(unpacked.compressed_size, blob.len() as u64);
            assert_eq!(unpacked.plain_size, plain.len() as u64);
            assert_eq!(
                (unpacked.applied.files, unpacked.applied.hard_links),
                (51, 1)
            );
            let seven = fs::read_to_string(directory.path().join("h")).expect("h");
            assert_eq!(seven, "7 ".repeat(40_000));
        }
    }
}

#[test]
fn the_error_is_that_of_the_stage_that_failed() {
    let good = gzip(&sample());
    let check = |blob: &[u8], declared, limits: &Limits, expected: Error| {
        let directory = tempfile::tempdir().expect("a directory");
        let result = unpack(directory.path(), blob, declared, limits);
        assert_eq!(result, Err(expected));
    };
    let limits = Limits::default();
    let mut bad = good.clone();
    let last = bad.len() - 8;
    bad[last] ^= 1;
    let at = sample().len() as u64;
    let compression = Compression::Gzip;
    let directory = tempfile::tempdir().expect("a directory");
    match unpack(directory.path(), &bad[..], None, &limits) {
        Err(Error::Damaged {
            compression: Compression::Gzip,
            at: damaged,
        }) => {
            assert!(
                damaged <= at && damaged + (1 << 20) > at,
                "{damaged} of {at}"
            );
        }
        other => panic!("{other:?}"),
    }
    check(&[], None, &limits, Error::End { at: 0 });
    let declared = Some(Compression::Zstd);
    let found = Found::Gzip;
    let wrong = Error::Compression {
        declared: Compression::Zstd,
        found,
    };
    check(&good, declared, &limits, wrong);
    let damaged = Error::Damaged { compression, at: 0 };
    check(&good[..10], None, &limits, damaged);
    let few = Limits {
        compressed: good.len() as u64 - 1,
        ..limits
    };
    let limit = Error::Limit {
        bound: Bound::Compressed,
        limit: few.compressed,
    };
    check(&good, None, &few, limit);
    let enough = Limits {
        compressed: good.len() as u64,
        ..limits
    };
    assert!(unpack(directory.path(), &good[..0], None, &enough).is_err());
    let mut hostile = vec![file("../x", "")];
    hostile.extend((0..2000).map(|at| file(&at.to_string(), &"x".repeat(10_000))));
    let climbs = gzip(&tar(&hostile));
    let directory = tempfile::tempdir().expect("a directory");
    match unpack(directory.path(), &climbs[..], None, &limits) {
        Err(Error::Refused {
            rule: Rule::DotDot, ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

/// Fails after some bytes.
struct Breaks<'a>(&'a [u8]);

impl Read for Breaks<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::Error::from_raw_os_error(libc::ECONNRESET)),
            count => Ok(count),
        }
    }
}

#[test]
fn a_source_that_fails_is_named_with_its_errno() {
    let good = gzip(&sample());
    let directory = tempfile::tempdir().expect("a directory");
    let half = Breaks(&good[..good.len() / 2]);
    let result = unpack(directory.path(), half, None, &Limits::default());
    let error = result.expect_err("the source fails");
    assert_eq!(
        error.errno().map(|errno| errno.raw_os_error()),
        Some(libc::ECONNRESET)
    );
}

/// Entries of every kind, honest and not.
fn parts() -> Vec<Vec<u8>> {
    vec![
        dir("d"),
        dir("d/e"),
        file("f", "some text"),
        file("d/f", "some text"),
        file("a/b/c", ""),
        symlink("d/up", "../../../../../../canary"),
        symlink("a", "d/e"),
        file("d/up/victim", "out"),
        hard("g", "f"),
        hard("d/h", "../f"),
        file(".wh.f", ""),
        file("d/.wh..wh..opq", ""),
        long(b'L', &[b'n'; 200]),
        long(b'K', b"d/f"),
        pax(&[("path", b"d/../../canary/victim"), ("mtime", b"1.5")]),
        pax(&[("size", b"9"), ("SCHILY.xattr.user.a", b"b")]),
        Head::new(b"p", b'6').bytes(),
        Head::new(b"s", b'S')
            .gnu()
            .with(386, b"00000000000\0")
            .data(b"x")
            .bytes(),
        vec![0; 512],
    ]
}

/// A canary beside the layer, and the layer's directory.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let layer = directory.path().join("layer");
    fs::create_dir(&layer).expect("layer");
    fs::create_dir(directory.path().join("canary")).expect("canary");
    fs::write(directory.path().join("canary/victim"), "alive").expect("canary");
    (directory, layer)
}

fn canary_lives(directory: &Path) {
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(directory), ["canary", "layer"]);
    assert_eq!(names(&directory.join("canary")), ["victim"]);
    assert_eq!(
        fs::read(directory.join("canary/victim")).expect("victim"),
        b"alive"
    );
}

fn try_archive(archive: &[u8]) {
    let (directory, layer) = place();
    let root = File::open(&layer).expect("the layer");
    let limits = Limits {
        bytes: 1 << 20,
        entries: 100,
        ..Limits::default()
    };
    let _any_answer = apply(root.as_fd(), archive, &limits, &options());
    // Whoever may not enter a directory of mode 0 could not remove it either.
    let _all = std::process::Command::new("chmod")
        .args(["-R", "u+rwx"])
        .arg(&layer)
        .output();
    canary_lives(directory.path());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_in_any_order_stay_inside(order in prop::collection::vec(0usize..19, 0..30)) {
        let all = parts();
        let chosen: Vec<_> = order.iter().map(|at| all[*at].clone()).collect();
        try_archive(&tar(&chosen));
    }

    #[test]
    fn changed_headers_stay_inside(
        order in prop::collection::vec(0usize..19, 1..12),
        changes in prop::collection::vec((0usize..12, 0usize..512, any::<u8>()), 1..6),
    ) {
        let all = parts();
        let mut chosen: Vec<_> = order.iter().map(|at| all[*at].clone()).collect();
        for (part, at, byte) in changes {
            let count = chosen.len();
            let part = &mut chosen[part % count];
            part[at] = byte;
            // The checksum is right again, or nothing would be looked at.
            part[148..156].fill(b' ');
            let sum: u32 = part[..512].iter().map(|byte| u32::from(*byte)).sum();
            part[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        try_archive(&tar(&chosen));
    }

    #[test]
    fn any_bytes_are_answered(data in prop::collection::vec(any::<u8>(), 0..4096)) {
        try_archive(&data);
        let directory = tempfile::tempdir().expect("a directory");
        let _any_answer = unpack(directory.path(), &data[..], None, &Limits::default());
    }
}

#[test]
fn a_directory_keeps_its_time_when_something_in_it_is_replaced() {
    let deep = "e/".repeat(20);
    for (name, parts) in [
        (
            "a link by a file",
            vec![symlink("d/a", "b"), file("d/a", "x")],
        ),
        (
            "a directory by a file",
            vec![dir("d/a"), file("d/a/b", ""), file("d/a", "x")],
        ),
        (
            "a directory by a link",
            vec![dir("d/a"), symlink("d/a", "b")],
        ),
        // So many new directories that the one of the target leaves the cache meanwhile.
        (
            "a link from far",
            vec![file("d/a", "x"), hard(&format!("{deep}h"), "d/a")],
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let parts: Vec<_> = [vec![dir("d")], parts].concat();
        let limits = Limits::default();
        unpack(directory.path(), &tar(&parts)[..], None, &limits).expect("an honest layer");
        let facts = fs::metadata(directory.path().join("d")).expect("d");
        // As `Head::new` has it.
        assert_eq!(facts.mtime(), 0o10_000_000_000, "{name}");
    }
}
