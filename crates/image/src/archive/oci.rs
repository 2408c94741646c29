//! The index of an image layout, by the [image layout] of the specification.
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::collections::BTreeMap;

use serde::Deserialize;

use super::names::Candidate;
use super::{CONTAINERD_NAME, INDEX, OCI_LAYOUT, REF_NAME, refuse};
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::json::{self, FREE, Keys};
use crate::manifest::{Document, Index};
use crate::media::OCI_INDEX;
use crate::reference::Reference;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

static LAYOUT: Keys = Keys::object(&[("imageLayoutVersion", &FREE)]);

/// The images of a layout. Descriptors of one name are one image for several platforms.
pub(super) fn candidates(
    layout: &[u8],
    index: &[u8],
) -> Result<Vec<Candidate<Vec<Descriptor>>>, Error> {
    let layout: Layout = json::parse(OCI_LAYOUT, &LAYOUT, layout)?;
    if layout.image_layout_version != "1.0.0" {
        let why = format!("is of version {:?}, not 1.0.0", layout.image_layout_version);
        return Err(refuse(OCI_LAYOUT, why));
    }
    let Document::Index(index) = Document::parse(INDEX, OCI_INDEX, index)? else {
        return Err(refuse(INDEX, "is a manifest"));
    };
    group(index)
}

fn group(index: Index) -> Result<Vec<Candidate<Vec<Descriptor>>>, Error> {
    let mut groups: BTreeMap<(Option<Reference>, Option<String>), Vec<Descriptor>> =
        BTreeMap::new();
    let mut nameless = Vec::new();
    for descriptor in index.manifests {
        match names(&descriptor)? {
            (None, None) => nameless.push(Candidate {
                names: Vec::new(),
                tag: None,
                image: vec![descriptor],
            }),
            key => {
                let group = groups.entry(key).or_default();
                let other = group.iter().find(|one| one.platform == descriptor.platform);
                match other {
                    Some(one) if one.digest != descriptor.digest => {
                        let (a, b) = (&one.digest, &descriptor.digest);
                        let why = format!("gives the same name to {a} and {b}");
                        return Err(refuse(INDEX, why));
                    }
                    Some(_) => {}
                    None => group.push(descriptor),
                }
            }
        }
    }
    let named = groups.into_iter().map(|((name, tag), image)| Candidate {
        names: name.into_iter().collect(),
        tag,
        image,
    });
    Ok(named.chain(nameless).collect())
}

/// The full name of a descriptor, or else the tag.
fn names(descriptor: &Descriptor) -> Result<(Option<Reference>, Option<String>), Error> {
    let note = |key| descriptor.annotations.get(key);
    if let Some(name) = note(CONTAINERD_NAME) {
        let name = name
            .parse()
            .map_err(|error: Error| refuse(INDEX, error.to_string()))?;
        return Ok((Some(name), None));
    }
    let Some(text) = note(REF_NAME) else {
        return Ok((None, None));
    };
    // The specification lets it be anything; a word alone is a tag to every tool.
    let full = text.contains([':', '/', '@']).then(|| text.parse().ok());
    Ok(match full.flatten() {
        Some(name) => (Some(name), None),
        None => (None, Some(text.clone())),
    })
}
