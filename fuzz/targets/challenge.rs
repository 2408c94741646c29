//! `WWW-Authenticate`: whatever a registry says, it is a challenge that is known or an error.
#![no_main]

use image::{Challenge, parse_challenge};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(Challenge::Bearer { realm, .. }) = parse_challenge(text) {
        assert!(
            realm.len() + "Bearer realm=".len() <= text.len(),
            "{text:?}"
        );
    }
});
