//! Archives of images, made entry by entry.

use image::{Digest, Platform};

use crate::tarball::{Head, file, tar};

/// An image of two layers in the parts of an archive.
pub(crate) struct Parts {
    pub(crate) layers: [Vec<u8>; 2],
    pub(crate) config: String,
}

impl Parts {
    pub(crate) fn new() -> Self {
        let layers = ["one", "two"].map(|name| tar(&[file(name, name)]));
        let ids = [0, 1].map(|at: usize| Digest::of(&layers[at]).to_string());
        let platform = Platform::host();
        let config = format!(
            r#"{{"os":"linux","architecture":"{}","rootfs":{{"type":"layers","diff_ids":{ids:?}}}}}"#,
            platform.architecture
        );
        Self { layers, config }
    }

    pub(crate) fn blob(bytes: &[u8]) -> Vec<u8> {
        Head::new(Self::path(bytes).as_bytes(), b'0')
            .data(bytes)
            .bytes()
    }

    pub(crate) fn path(bytes: &[u8]) -> String {
        format!("blobs/sha256/{}", Digest::of(bytes).hex())
    }

    pub(crate) fn descriptor(media_type: &str, bytes: &[u8], more: &str) -> String {
        let (digest, size) = (Digest::of(bytes), bytes.len());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{more}}}"#)
    }

    pub(crate) fn manifest(&self) -> String {
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let config = "application/vnd.oci.image.config.v1+json";
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{},{}]}}"#,
            Self::descriptor(config, self.config.as_bytes(), ""),
            Self::descriptor(layer, &self.layers[0], ""),
            Self::descriptor(layer, &self.layers[1], ""),
        )
    }

    pub(crate) fn index(&self, name: &str) -> String {
        let note = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let one = Self::descriptor(manifest, self.manifest().as_bytes(), &note);
        format!(r#"{{"schemaVersion":2,"manifests":[{one}]}}"#)
    }

    /// All that an image layout holds, index and layout last.
    pub(crate) fn layout(&self) -> Vec<Vec<u8>> {
        vec![
            Self::blob(&self.layers[0]),
            Self::blob(&self.layers[1]),
            Self::blob(self.config.as_bytes()),
            Self::blob(self.manifest().as_bytes()),
            file("index.json", &self.index("a:1")),
            file("oci-layout", LAYOUT),
        ]
    }

    pub(crate) fn docker(&self, config: &str, tag: &str, layers: [&str; 2]) -> Vec<u8> {
        let text = format!(r#"[{{"Config":"{config}","RepoTags":["{tag}"],"Layers":{layers:?}}}]"#);
        file("manifest.json", &text)
    }
}

pub(crate) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
