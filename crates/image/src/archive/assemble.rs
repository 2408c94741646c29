//! An image out of another one, layers of our own making and changes of its configuration.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::change::{self, Change};
use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, shown};
use crate::json::{self, FREE};
use crate::layer::{Compression, Found};
use crate::manifest::Manifest;
use crate::media::{
    OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST, layer_compression,
};
use crate::platform::Platform;
use crate::pull::{Pulled, read_manifest};
use crate::reference::Reference;
use crate::store::{Blob, Record, Store};

/// An image that is to be made.
#[non_exhaustive]
#[derive(Debug)]
pub struct Draft<'a> {
    /// Its name, which has no digest.
    pub name: &'a Reference,
    /// The image that it is made of.
    pub base: Option<&'a Pulled>,
    /// What it is made for where there is no base; this machine, at first.
    pub platform: Platform,
    /// The layers above the base's, lowest first: archives without compression, as
    /// [`layer::diff`](crate::layer::diff) writes them.
    pub layers: Vec<Blob>,
    /// What its configuration has otherwise than the base's.
    pub changes: &'a [Change],
    /// Who made it.
    pub author: Option<&'a str>,
    /// What the maker says about it.
    pub comment: Option<&'a str>,
    /// The command that made it.
    pub created_by: Option<&'a str>,
    /// When; without it no time gets into the image, and the same parts give the same digest.
    pub created: Option<SystemTime>,
}

impl<'a> Draft<'a> {
    /// With neither base nor layers.
    pub fn new(name: &'a Reference) -> Self {
        Self {
            name,
            base: None,
            platform: Platform::host(),
            layers: Vec::new(),
            changes: &[],
            author: None,
            comment: None,
            created_by: None,
            created: None,
        }
    }
}

/// Writes the configuration and the manifest of a new image. It has its name only when [`Store::tag`] gives it.
///
/// Keys of the base's configuration that this crate does not know stay as they are. The history gets an entry for each
/// layer, or one that made none.
///
/// # Errors
///
/// [`Error::Reference`] for a name with a digest, [`Error::Config`] for a change that cannot be honoured,
/// [`Error::Document`] for more layers than an image has, or one that is packed; [`Error::Absent`] and
/// [`Error::Mismatch`] for a store that has lost something of the base; [`Error::Call`].
pub fn assemble(store: &Store, draft: Draft<'_>) -> Result<Pulled, Error> {
    if draft.name.digest().is_some() {
        return Err(Error::Reference {
            text: shown(&draft.name.to_string()),
            why: "what is made here has the digest that comes out, and takes none before",
        });
    }
    let mut held = Vec::new();
    let mut layers = Vec::new();
    for layer in draft.base.iter().flat_map(|base| &base.manifest.layers) {
        held.push(there(store, &layer.digest)?);
        layers.push(in_words_of_oci(layer)?);
    }
    for layer in &draft.layers {
        let blob = there(store, layer.digest())?;
        layers.push(Descriptor::new(
            OCI_LAYER,
            blob.digest().clone(),
            blob.size(),
        ));
        held.push(plain(blob)?);
    }
    let bytes = serialize("config", &config(store, &draft)?)?;
    let config = Descriptor::new(OCI_CONFIG, Digest::of(&bytes), bytes.len() as u64);
    let manifest = Manifest::new(config, layers);
    // Nothing is written that would not be read.
    let parsed = ImageConfig::parse(&manifest, &bytes)?;
    let document = serialize("manifest", &manifest)?;
    let size = document.len() as u64;
    let at = Descriptor::new(OCI_MANIFEST, Digest::of(&document), size);
    let manifest = read_manifest(&at, &document)?;
    held.push(store.put(&manifest.config, &bytes)?);
    held.push(store.put(&at, &document)?);
    let record = Record::new(draft.name.clone(), &at, &at, parsed.platform.clone());
    Ok(Pulled {
        record,
        manifest,
        config: parsed,
        held,
        was_present: false,
    })
}

fn serialize(what: &str, value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|source| Error::Json {
        what: what.to_owned(),
        source,
    })
}

fn there(store: &Store, digest: &Digest) -> Result<Blob, Error> {
    store.blob(digest)?.ok_or_else(|| Error::Absent {
        digest: digest.clone(),
    })
}

/// A base of Docker's has Docker's words for the same things, which an OCI manifest does not mix with its own.
fn in_words_of_oci(layer: &Descriptor) -> Result<Descriptor, Error> {
    let compression = layer_compression(&layer.media_type).map_err(|why| Error::Document {
        what: format!("layer {}", layer.digest),
        why: why.to_owned(),
    })?;
    let media_type = match compression {
        Compression::Plain => OCI_LAYER,
        Compression::Gzip => OCI_LAYER_GZIP,
        Compression::Zstd => OCI_LAYER_ZSTD,
    };
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        ..layer.clone()
    })
}

/// The digest of such a layer is its diffID, too.
fn plain(mut blob: Blob) -> Result<Blob, Error> {
    let mut start = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut blob, 16), &mut start).map_err(
        |error| {
            crate::error::call(crate::error::errno(&error), || {
                format!("read({})", blob.digest())
            })
        },
    )?;
    match Found::of(&start) {
        Found::Plain => Ok(blob),
        found => Err(Error::Document {
            what: format!("layer {}", blob.digest()),
            why: format!("is {found}, and a new layer is an archive without compression"),
        }),
    }
}

/// The configuration as JSON.
fn config(store: &Store, draft: &Draft<'_>) -> Result<Value, Error> {
    let mut image: Map<String, Value> = match draft.base {
        Some(base) => {
            let digest = &base.manifest.config.digest;
            // It was checked when it became an image; what is not ours in it is kept.
            json::parse(&format!("config {digest}"), &FREE, &store.document(digest)?)?
        }
        None => of_nothing(&draft.platform),
    };
    // What Docker noted about the making of the base is not true of this one.
    for key in ["container", "container_config", "id", "parent"] {
        image.remove(key);
    }
    let created = draft.created.map(rfc3339);
    for (key, value) in [("created", created.as_deref()), ("author", draft.author)] {
        match value {
            Some(value) => image.insert(key.to_owned(), json!(value)),
            None => image.remove(key),
        };
    }
    change::apply(object(&mut image, "config"), draft.changes);
    let ids = draft.layers.iter().map(|layer| json!(layer.digest()));
    list(object(&mut image, "rootfs"), "diff_ids").extend(ids);
    let mut step = Map::new();
    for (key, value) in [
        ("created", created.as_deref()),
        ("created_by", draft.created_by),
        ("author", draft.author),
        ("comment", draft.comment),
    ] {
        step.extend(value.map(|value| (key.to_owned(), json!(value))));
    }
    if draft.layers.is_empty() {
        step.insert("empty_layer".to_owned(), json!(true));
    }
    let count = draft.layers.len().max(1);
    let steps = std::iter::repeat_n(Value::Object(step), count);
    list(&mut image, "history").extend(steps);
    Ok(Value::Object(image))
}

fn of_nothing(platform: &Platform) -> Map<String, Value> {
    let mut image = Map::new();
    let mut set = |key: &str, value| image.insert(key.to_owned(), value);
    set("os", json!(platform.os));
    set("architecture", json!(platform.architecture));
    if !platform.variant.is_empty() {
        set("variant", json!(platform.variant));
    }
    set("rootfs", json!({"type": "layers", "diff_ids": []}));
    image
}

/// The object below a key, where Go may have written null.
fn object<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let place = of.entry(key).or_insert(Value::Null);
    if !place.is_object() {
        *place = json!({});
    }
    place.as_object_mut().expect("it was made one")
}

/// The list below a key, likewise.
fn list<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let place = of.entry(key).or_insert(Value::Null);
    if !place.is_array() {
        *place = json!([]);
    }
    place.as_array_mut().expect("it was made one")
}

/// A time in UTC by [RFC 3339]; what lies before 1970 is 1970.
///
/// [RFC 3339]: https://www.rfc-editor.org/rfc/rfc3339
fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        days + 1
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_date_1() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
