//! Documents that are good, and documents that are refused.

use std::error::Error as _;

use serde_json::{Value, json};

use super::*;
use crate::media::DOCKER_LIST;

fn descriptor(media_type: &str, letter: char) -> Value {
    json!({
        "mediaType": media_type,
        "digest": format!("sha256:{}", String::from(letter).repeat(64)),
        "size": 7,
    })
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, 'a'),
        "layers": [descriptor(LAYER, 'b')],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, 'a')],
        "annotations": null,
    })
}

fn with(mut value: Value, key: &str, to: Value) -> Value {
    value[key] = to;
    value
}

fn read(media_type: &str, value: &Value) -> Result<Document, Error> {
    Document::parse("it", media_type, value.to_string().as_bytes())
}

#[track_caller]
fn refused(media_type: &str, value: &Value, why: &str) {
    let error = read(media_type, value).expect_err(why);
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    let full = format!("{error}: {source}");
    assert!(full.contains(why), "{full}");
}

#[test]
fn both_families_are_read() {
    let Document::Manifest(read_back) = read(OCI_MANIFEST, &manifest()).expect("a manifest") else {
        panic!("a manifest");
    };
    assert_eq!(read_back.layers.len(), 1);
    let Document::Index(read_back) =
        read(&format!("{OCI_INDEX}; charset=utf-8"), &index()).expect("an index")
    else {
        panic!("an index");
    };
    assert_eq!(read_back.manifests.len(), 1);
    let mut docker = with(manifest(), "mediaType", json!(DOCKER_MANIFEST));
    docker["config"] = descriptor(DOCKER_CONFIG, 'a');
    docker["layers"] = json!([descriptor(
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        'b'
    )]);
    read(DOCKER_MANIFEST, &docker).expect("Docker's manifest");
    let list = with(index(), "mediaType", json!(DOCKER_LIST));
    read(DOCKER_LIST, &list).expect("Docker's list");
}

#[test]
fn what_we_write_is_what_we_read() {
    let Document::Manifest(first) = read(OCI_MANIFEST, &manifest()).expect("a manifest") else {
        panic!("a manifest");
    };
    let again = serde_json::to_value(&first).expect("JSON");
    assert_eq!(again, manifest());
}

#[test]
fn a_document_need_not_repeat_its_type_and_layers_may_repeat() {
    let mut value = manifest();
    value
        .as_object_mut()
        .expect("an object")
        .remove("mediaType");
    value["layers"] = json!([descriptor(LAYER, 'b'), descriptor(LAYER, 'b')]);
    read(OCI_MANIFEST, &value).expect("a manifest");
}

#[test]
fn ambiguous_documents_are_refused() {
    let both = with(manifest(), "manifests", json!([]));
    refused(OCI_MANIFEST, &both, "a manifest and an index at once");
    refused(
        OCI_INDEX,
        &with(both, "mediaType", json!(OCI_INDEX)),
        "a manifest and an index at once",
    );
    refused(
        OCI_INDEX,
        &with(index(), "layers", json!([])),
        "a manifest and an index at once",
    );
    refused(OCI_INDEX, &manifest(), "was announced as");
    refused(OCI_MANIFEST, &index(), "was announced as");
    refused(DOCKER_MANIFEST, &manifest(), "was announced as");
    let text = manifest().to_string().replacen('{', "{\"layers\":[],", 1);
    let error = Document::parse("it", OCI_MANIFEST, text.as_bytes()).expect_err("a key twice");
    assert!(matches!(error, Error::Json { .. }), "{error}");
}

#[test]
fn what_is_no_image_says_what_it_is() {
    refused("text/html", &json!("<html>"), "it is not the JSON document");
    refused(
        "text/html",
        &with(manifest(), "mediaType", Value::Null),
        "is no image and no index",
    );
    refused(
        OCI_MANIFEST,
        &json!({"schemaVersion": 1, "fsLayers": []}),
        "schema 1",
    );
    let jws = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    refused(jws, &json!({"schemaVersion": 1}), "schema 1");
    refused(
        OCI_MANIFEST,
        &with(manifest(), "schemaVersion", json!(3)),
        "must be 2",
    );
    refused(
        OCI_MANIFEST,
        &with(manifest(), "schemaVersion", json!("2")),
        "invalid type",
    );
    let artifact = with(
        manifest(),
        "config",
        descriptor("application/vnd.cncf.helm.config.v1+json", 'a'),
    );
    refused(
        OCI_MANIFEST,
        &artifact,
        "an artifact of type \"application/vnd.cncf.helm.config.v1+json\"",
    );
    refused(
        OCI_MANIFEST,
        &with(manifest(), "config", Value::Null),
        "has a config and layers",
    );
}

#[test]
fn counts_and_sizes_are_bounded() {
    refused(
        OCI_MANIFEST,
        &with(manifest(), "layers", json!([])),
        "has 0 layers",
    );
    let many = vec![descriptor(LAYER, 'b'); 129];
    refused(
        OCI_MANIFEST,
        &with(manifest(), "layers", json!(many)),
        "has 129 layers",
    );
    let many = vec![descriptor(OCI_MANIFEST, 'b'); 1025];
    refused(
        OCI_INDEX,
        &with(index(), "manifests", json!(many)),
        "has 1025 manifests",
    );
    let mut large = manifest();
    large["config"]["size"] = json!(100 << 20);
    refused(OCI_MANIFEST, &large, "its config has 104857600 bytes");
    for size in [json!(-1), json!(1.5), json!("7"), Value::Null] {
        let mut wrong = manifest();
        wrong["layers"][0]["size"] = size;
        refused(OCI_MANIFEST, &wrong, "invalid");
    }
    let mut large = manifest();
    large["layers"][0]["size"] = json!(u64::MAX);
    refused(OCI_MANIFEST, &large, "more bytes than a file");
}

#[test]
fn layers_are_checked_one_by_one() {
    let of = |layer: Value| with(manifest(), "layers", json!([layer]));
    refused(
        OCI_MANIFEST,
        &of(descriptor(LAYER, 'a')),
        "both its config and a layer",
    );
    refused(
        OCI_MANIFEST,
        &of(descriptor(&format!("{LAYER}+encrypted"), 'b')),
        "is encrypted",
    );
    refused(
        OCI_MANIFEST,
        &of(descriptor("text/plain", 'b')),
        "is no layer",
    );
    let mut climbing = manifest();
    climbing["layers"][0]["digest"] = json!("sha256:../../etc/passwd");
    refused(OCI_MANIFEST, &climbing, "64 hexadecimal");
}

#[test]
fn a_key_that_others_would_take_for_ours_is_refused() {
    json::knows_all_of::<Raw>(&KEYS);
    for key in ["Manifests", "MANIFESTS", "Layers", "layerS"] {
        let both = with(manifest(), key, json!([]));
        refused(OCI_MANIFEST, &both, "for readers that ignore case");
    }
    let mut inner = manifest();
    inner["layers"][0]["Digest"] = descriptor(LAYER, 'c')["digest"].take();
    refused(OCI_MANIFEST, &inner, "\"Digest\" is \"digest\"");
    let mut of_index = index();
    of_index["manifests"][0]["platform"] = json!({ "os": "linux", "Architecture": "arm64" });
    refused(OCI_INDEX, &of_index, "is \"architecture\"");
    let own = with(
        manifest(),
        "annotations",
        json!({ "Digest": "a", "digest": "b" }),
    );
    read(OCI_MANIFEST, &own).expect("the maker's own keys");
}

/// Serde reads a list as an object's values in the order of our source, and Go refuses it.
#[test]
fn a_list_is_no_object() {
    let mut list = manifest();
    let whole = list["config"].take();
    list["config"] = json!([whole["mediaType"], whole["digest"], 7, {}, null]);
    refused(OCI_MANIFEST, &list, "a list where an object must be");
}
