//! JSON of others, read within bounds.
//!
//! A digest says that a document is the one that was meant; it does not say that it is sane. So size and
//! depth are looked at before anything is built of it, and a key that comes twice is refused: readers
//! differ in which of the two they take ([CVE-2021-41190] came of that family). So is a key that differs from
//! one of ours only by its letters' case: Go's [encoding/json] takes it for ours, and we would pass it over.
//!
//! [encoding/json]: https://pkg.go.dev/encoding/json#Unmarshal
//! [CVE-2021-41190]: https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess,
};
use serde::de::{IgnoredAny, Visitor};

use crate::error::{Error, shown};

/// Of a manifest, an index or a configuration, bytes: what registries take at most, too.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// Lists and objects in each other.
const MAX_DEPTH: u32 = 32;

/// The keys that we read in an object, and what is below them.
#[derive(Debug)]
pub(crate) struct Keys {
    /// A key, and the keys of the object that it leads to.
    known: &'static [(&'static str, &'static Keys)],
    /// The keys of whatever any other key leads to.
    others: Option<&'static Keys>,
    /// Of a list, those of its objects.
    items: Option<&'static Keys>,
}

/// No keys of ours: a text, a number, or an object with the maker's own keys.
pub(crate) static FREE: Keys = Keys::object(&[]);

impl Keys {
    /// Of an object.
    pub(crate) const fn object(known: &'static [(&'static str, &'static Self)]) -> Self {
        Self {
            known,
            others: None,
            items: None,
        }
    }

    /// Of an object whose keys are the maker's own, and lead to objects of one kind.
    pub(crate) const fn each(others: &'static Self) -> Self {
        Self {
            known: &[],
            others: Some(others),
            items: None,
        }
    }

    /// Of a list of objects of one kind.
    pub(crate) const fn list(items: &'static Self) -> Self {
        Self {
            known: &[],
            others: None,
            items: Some(items),
        }
    }

    fn is_object(&self) -> bool {
        !self.known.is_empty() || self.others.is_some()
    }

    /// What is below a key; `Err` is ours, spelled otherwise.
    fn below(&self, key: &str) -> Result<&'static Keys, &'static str> {
        let known = self.known.iter();
        if let Some((_, below)) = known.clone().find(|(known, _)| *known == key) {
            return Ok(below);
        }
        let key = folded(key);
        match known.clone().find(|(known, _)| folded(known) == key) {
            Some((known, _)) => Err(known),
            None => Ok(self.others.unwrap_or(&FREE)),
        }
    }
}

/// As Go compares keys: two letters beyond ASCII fold to ASCII's.
fn folded(key: &str) -> String {
    let one = |letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(one).collect()
}

/// Reads a document, whose objects have `keys`.
///
/// # Errors
///
/// [`Error::Document`] if it is too large, [`Error::Json`] for all else, each naming `what`.
pub(crate) fn parse<T: DeserializeOwned>(
    what: &str,
    keys: &'static Keys,
    bytes: &[u8],
) -> Result<T, Error> {
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
    Checked { depth: 0, keys }
        .deserialize(&mut reader)
        .map_err(json)?;
    reader.end().map_err(json)?;
    serde_json::from_slice(bytes).map_err(json)
}

/// Walks a value and keeps nothing of it but the keys of the objects it is in.
#[derive(Clone, Copy)]
struct Checked {
    depth: u32,
    keys: &'static Keys,
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
            ..self
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
        // Serde would take its elements for the values of our keys, in the order of our source.
        if self.keys.is_object() {
            return Err(A::Error::custom("a list where an object must be"));
        }
        let keys = self.keys.items.unwrap_or(&FREE);
        let inner = Self {
            keys,
            ..self.deeper()?
        };
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            if seen.contains(&key) {
                // The rest is skipped by nobody: the error ends the walk.
                object.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format!("the key {key:?} comes twice")));
            }
            let keys = match self.keys.below(&key) {
                Ok(keys) => keys,
                Err(known) => {
                    object.next_value::<IgnoredAny>()?;
                    let key = shown(&key);
                    return Err(A::Error::custom(format!(
                        "the key {key:?} is {known:?} for readers that ignore case"
                    )));
                }
            };
            seen.insert(key);
            object.next_value_seed(Checked { keys, ..inner })?;
        }
        Ok(())
    }
}

/// The keys that a type reads, by its own account: tables of keys are held against it.
#[cfg(test)]
#[track_caller]
pub(crate) fn knows_all_of<T: DeserializeOwned>(keys: &Keys) {
    #[derive(Debug)]
    struct Asked;
    impl<'de> Deserializer<'de> for Asked {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("is no struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom(fields.join(" ")))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let read = T::deserialize(Asked)
        .err()
        .expect("nothing to read")
        .to_string();
    let known: Vec<&str> = keys.known.iter().map(|(key, _)| *key).collect();
    assert_eq!(known.join(" "), read);
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    static INNER: Keys = Keys::object(&[("diskSize", &FREE)]);
    static LIST: Keys = Keys::list(&INNER);
    static OURS: Keys = Keys::object(&[
        ("list", &LIST),
        ("one", &INNER),
        ("labels", &FREE),
        ("any", &ANY),
    ]);
    static ANY: Keys = Keys::each(&INNER);

    #[test]
    fn a_key_of_ours_in_another_case_is_refused_where_it_is_ours() {
        refused(b"{\"List\":[]}", "\"List\" is \"list\"");
        refused(b"{\"list\":[],\"LIST\":[]}", "\"LIST\" is \"list\"");
        refused(b"{\"list\":[{\"disksize\":1}]}", "is \"diskSize\"");
        refused("{\"li\u{17f}t\":1}".as_bytes(), "is \"list\"");
        refused(
            "{\"one\":{\"dis\u{212a}Size\":1}}".as_bytes(),
            "is \"diskSize\"",
        );
        refused(b"{\"any\":{\"x\":{\"DiskSize\":1}}}", "is \"diskSize\"");
        let fine = br#"{"labels":{"List":1,"LIST":2},"diskSIZE":1,"any":{"Disksize":1,"b":{"c":1}},"other":{"ANY":1}}"#;
        parse::<serde_json::Value>("a manifest", &OURS, fine).expect("the maker's own keys");
    }

    #[test]
    fn a_list_is_no_object_of_ours() {
        refused(b"[]", "a list where an object must be");
        refused(b"{\"one\":[1]}", "a list where an object must be");
        refused(b"{\"list\":[[1]]}", "a list where an object must be");
        refused(b"{\"any\":{\"x\":[1]}}", "a list where an object must be");
        let fine = br#"{"list":[{"diskSize":[[1]]}],"labels":[[1]]}"#;
        parse::<serde_json::Value>("a manifest", &OURS, fine).expect("lists of others");
    }

    #[track_caller]
    fn refused(bytes: &[u8], why: &str) {
        let error =
            parse::<serde_json::Value>("a manifest", &OURS, bytes).expect_err("hostile JSON");
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
        let text = format!("{{\"labels\":{}", "[".repeat(10_000));
        refused(text.as_bytes(), "more than 32");
        refused("{\"a\":".repeat(33).as_bytes(), "more than 32");
        refused(&vec![b' '; MAX_DOCUMENT as usize + 1], "more than 4194304");
    }

    #[test]
    fn thirty_two_in_each_other_are_read() {
        let text = "[".repeat(32) + &"]".repeat(32);
        parse::<serde_json::Value>("a manifest", &FREE, text.as_bytes()).expect("32 lists");
    }
}
