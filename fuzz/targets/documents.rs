//! The JSON documents of images. The first byte says which.
#![no_main]

use image::{Descriptor, Digest, Document, ImageConfig, Manifest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What is read is written so that it reads the same.
fn document(media_type: &str, bytes: &[u8]) {
    let Ok(document) = Document::parse("it", media_type, bytes) else {
        return;
    };
    let written = match &document {
        Document::Manifest(manifest) => serde_json::to_vec(manifest),
        Document::Index(index) => serde_json::to_vec(index),
    };
    let written = written.expect("JSON");
    let again = Document::parse("it", media_type, &written).expect("our own words");
    assert_eq!(again, document);
}

fn config(bytes: &[u8]) {
    let part = |media_type| Descriptor::new(media_type, Digest::of(b"x"), 1);
    for layers in 1..3 {
        let manifest = Manifest::new(part(CONFIG), vec![part(LAYER); layers]);
        if let Ok(config) = ImageConfig::parse(&manifest, bytes) {
            assert_eq!(config.diff_ids.len(), layers);
            let strings = config.entrypoint.iter().chain(&config.cmd);
            assert!(
                strings
                    .chain(config.env.iter().flat_map(|(a, b)| [a, b]))
                    .all(|text| !text.contains('\0'))
            );
            assert!(
                config
                    .volumes
                    .iter()
                    .all(|at| at.starts_with('/') && !at.split('/').any(|part| part == ".."))
            );
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((b'0', rest)) => document(MANIFEST, rest),
        Some((b'1', rest)) => document(INDEX, rest),
        Some((_, rest)) => config(rest),
        None => {}
    }
});
