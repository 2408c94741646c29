//! Names of images, digests and platforms: each has one spelling, which means the same again.
#![no_main]

use image::{Digest, Platform, Reference};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        for spelled in [reference.to_string(), reference.familiar()] {
            let again: Reference = spelled.parse().expect("its own spelling");
            assert_eq!(again, reference, "{spelled}");
        }
        assert!(
            !reference
                .repository()
                .split('/')
                .any(|part| matches!(part, "" | "." | ".."))
        );
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        let again: Platform = platform.to_string().parse().expect("its own spelling");
        assert_eq!(again, platform);
    }
});
