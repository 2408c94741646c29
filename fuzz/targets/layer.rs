//! A layer as it comes, compressed or not, made a directory.
#![no_main]

use std::os::fd::AsFd as _;

use image::layer::Unpack;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = fuzz::with_checksums(bytes);
    let staging = fuzz::staged(&[], |staging, options| {
        let unpack = Unpack {
            root: staging.as_fd(),
            compression: None,
            limits: &fuzz::LIMITS,
            options,
        };
        if let Ok(unpacked) = unpack.run(&bytes[..]) {
            assert_eq!(unpacked.compressed_size, bytes.len() as u64);
            assert!(unpacked.plain_size <= fuzz::LIMITS.plain);
            assert!(unpacked.applied.bytes <= fuzz::LIMITS.bytes);
            assert!(unpacked.applied.entries <= fuzz::LIMITS.entries);
        }
    });
    fuzz::cleared([staging]);
});
