//! JSON of others, read within bounds.
//!
//! A digest says that a document is the one that was meant; it does not say that it is sane. So size and
//! depth are looked at before anything is built of it, and a key that comes twice is refused: readers
//! differ in which of the two they take ([CVE-2021-41190] came of that family).
//!
//! [CVE-2021-41190]: https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess,
};
use serde::de::{IgnoredAny, Visitor};

use crate::error::Error;

/// Of a manifest, an index or a configuration, bytes: what registries take at most, too.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// Lists and objects in each other.
const MAX_DEPTH: u32 = 32;

/// Reads a document.
///
/// # Errors
///
/// [`Error::Document`] if it is too large, [`Error::Json`] for all else, each naming `what`.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        let why = format!("has {} bytes, more than {MAX_DOCUMENT}", bytes.len());
        return Err(Error::Document {
            what: what.to_owned(),
            why,
        });
    }
    let json = |source| Error::Json {
        what: what.to_owned(),
        source,
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Checked { depth: 0 }
        .deserialize(&mut reader)
        .map_err(json)?;
    reader.end().map_err(json)?;
    serde_json::from_slice(bytes).map_err(json)
}

/// Walks a value and keeps nothing of it but the keys of the objects it is in.
#[derive(Clone, Copy)]
struct Checked {
    depth: u32,
}

impl Checked {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!(
                "more than {MAX_DEPTH} lists and objects in each other"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            if keys.contains(&key) {
                // The rest is skipped by nobody: the error ends the walk.
                object.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format!("the key {key:?} comes twice")));
            }
            keys.insert(key);
            object.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[track_caller]
    fn refused(bytes: &[u8], why: &str) {
        let error = parse::<serde_json::Value>("a manifest", bytes).expect_err("hostile JSON");
        let full = format!(
            "{error}: {}",
            error.source().map(ToString::to_string).unwrap_or_default()
        );
        assert!(full.starts_with("a manifest"), "{full}");
        assert!(full.contains(why), "{full}");
    }

    #[test]
    fn hostile_documents_are_refused() {
        refused(b"", "EOF");
        refused(b"<html>", "expected value");
        refused(b"{} {}", "trailing");
        refused(b"{\"a\":1,\"b\":[{\"c\":1,\"c\":2}]}", "\"c\" comes twice");
        refused(b"{\"a\":1,\"\\u0061\":2}", "\"a\" comes twice");
        refused(b"{\"a\":NaN}", "expected value");
        refused(b"{\"a\":\"\\ud800\"}", "hex escape");
        refused(b"{\"a\":\"\xff\"}", "");
        refused("[".repeat(10_000).as_bytes(), "more than 32");
        refused("{\"a\":".repeat(33).as_bytes(), "more than 32");
        refused(&vec![b' '; MAX_DOCUMENT as usize + 1], "more than 4194304");
    }

    #[test]
    fn thirty_two_in_each_other_are_read() {
        let text = "[".repeat(32) + &"]".repeat(32);
        parse::<serde_json::Value>("a manifest", text.as_bytes()).expect("32 lists");
    }
}
