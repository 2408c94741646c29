//! Chain IDs: the name of an unpacked layer, by the [config.md] of the image specification.
//!
//! An archive alone does not say what becomes of it: a hard link to a file of a layer below is a copy of
//! that file, and a directory that only a layer below has is made like that one. So a layer is shared by
//! images that have the same layers below it, and by no others.
//!
//! [config.md]: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid

use std::fmt;

use crate::digest::Digest;

/// A layer together with all that are below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(Digest);

impl ChainId {
    /// Those of an image's layers, of which `diff_ids` are the archives, lowest first.
    pub fn all(diff_ids: &[Digest]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            all.push(Self(match all.last() {
                Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
                None => diff_id.clone(),
            }));
        }
        all
    }

    /// As the store has it.
    pub(crate) fn of_name(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest that it is.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_another_name_on_other_layers() {
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
        let abc = ChainId::all(&[a.clone(), b.clone(), c.clone()]);
        assert_eq!(*abc[0].digest(), a);
        let two = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(*abc[1].digest(), two);
        assert_eq!(
            *abc[2].digest(),
            Digest::of(format!("{two} {c}").as_bytes())
        );
        assert_ne!(ChainId::all(&[b, c])[1], abc[2]);
        assert_eq!(ChainId::all(&[]), []);
    }
}
