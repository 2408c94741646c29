//! What the fuzz targets share.
//!
//! A target is a program that libFuzzer calls with bytes of its own making, from `corpus/TARGET` on. What it must
//! not do is panic; each target also asserts what has to hold of whatever it accepts.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::OnceLock;

use image::layer::{Limits, Options, OverlayAttrs, Owners};
use image::{Staging, Store};

#[path = "../../crates/image/tests/common/tarball.rs"]
#[allow(unreachable_pub, reason = "a module of other programs")]
mod tarball;

pub mod seeds;

/// Small enough for thousands of runs in a second.
pub const LIMITS: Limits = Limits {
    entries: 256,
    depth: 64,
    bytes: 1 << 20,
    compressed: 1 << 20,
    plain: 4 << 20,
    ratio: 250,
    ratio_from: 1 << 20,
    zstd_window_log: 20,
};

/// Writes the right checksum into each block that could be a header: no chance would ever find one.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    for block in all.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    all
}

/// A store of this process, below the directory for temporary files.
pub fn store() -> &'static Store {
    static STORE: OnceLock<(tempfile::TempDir, Store)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        (directory, store)
    });
    store
}

/// An empty directory, and how to apply a layer to it with those of `lowers` below.
pub fn staged(
    lowers: &[Staging<'_>],
    apply: impl FnOnce(&Staging<'_>, &Options<'_>),
) -> Staging<'static> {
    let staging = store().stage().expect("a directory");
    let options = Options {
        owners: Owners::Caller,
        overlay: OverlayAttrs::User,
        lowers: lowers.iter().map(|lower| lower.as_fd()).collect(),
    };
    apply(&staging, &options);
    staging
}

/// Whatever a layer held, nothing of it lies beside its directory, and the directory can be removed.
pub fn cleared(staged: impl IntoIterator<Item = Staging<'static>>) {
    for staging in staged {
        staging.discard().expect("removed");
    }
    let ingest = store().path().join("ingest");
    assert_eq!(names(&ingest), [""; 0], "left in {ingest:?}");
}

/// The names in a directory.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}
