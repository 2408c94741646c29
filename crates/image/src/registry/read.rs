//! Documents and blobs, from a registry.

use std::io::Read as _;
use std::time::Instant;

use super::http::Reply;
use super::retry::Attempts;
use super::{Place, Registry};
use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::json::MAX_DOCUMENT;
use crate::media::{ACCEPT, Kind, essence};
use crate::reference::Reference;
use crate::store::Ingest;

const CHUNK: usize = 128 * 1024;
/// So much between two failures, and the attempts are counted from the beginning.
const PROGRESS: u64 = 1 << 20;

impl Registry {
    /// What a name leads to, by one HEAD; `None` if the registry does not say.
    ///
    /// # Errors
    ///
    /// [`Error::Status`], 404 if there is no such image; [`Error::Transport`], [`Error::Answer`].
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        self.resolve_while(reference, &mut || true)
    }

    /// The same, as long as `go_on` says so: it is asked while there is a wait between two attempts.
    pub(crate) fn resolve_while(
        &self,
        reference: &Reference,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Digest>, Error> {
        self.anywhere(reference, go_on, |place, _| {
            let url = place.url("manifests", &reference.selector());
            let reply = self.ask(place, "HEAD", &url, &accept())?;
            match reply.status {
                200 => {}
                405 => return Ok(None),
                _ => return Err(reply.refusal()),
            }
            let said = reply.header("docker-content-digest");
            let said = said.map(|said| {
                said.parse::<Digest>()
                    .map_err(|error| reply.answer(error.to_string()))
            });
            let said = said.transpose()?;
            match (reference.digest(), said) {
                (Some(wanted), Some(said)) if *wanted != said => {
                    Err(reply.answer(format!("leads to {said}")))
                }
                (_, said) => Ok(said),
            }
        })
    }

    /// A manifest or an index: what it is, and its bytes, which have the digest of the descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is not what was asked for by digest; else as [`resolve`](Self::resolve).
    pub fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), Error> {
        self.manifest_while(reference, &mut || true)
    }

    /// The same, as long as `go_on` says so.
    pub(crate) fn manifest_while(
        &self,
        reference: &Reference,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(Descriptor, Vec<u8>), Error> {
        self.anywhere(reference, go_on, |place, until| {
            let url = place.url("manifests", &reference.selector());
            let reply = self.ask(place, "GET", &url, &accept())?;
            if reply.status != 200 {
                return Err(reply.refusal());
            }
            let media_type = essence(reply.header("content-type").unwrap_or_default()).to_owned();
            if Kind::of(&media_type).is_none() {
                let shown = crate::error::shown(&media_type);
                return Err(reply.answer(format!("is {shown:?}, no image and no index")));
            }
            let bytes = reply.bytes(MAX_DOCUMENT, until)?;
            let digest = match reference.digest() {
                Some(wanted) => {
                    let mut hasher = Hasher::new(wanted.algorithm());
                    hasher.update(&bytes);
                    let got = hasher.finish();
                    if got != *wanted {
                        return Err(Error::Mismatch {
                            wanted: wanted.clone(),
                            got,
                        });
                    }
                    got
                }
                None => Digest::of(&bytes),
            };
            Ok((
                Descriptor::new(&media_type, digest, bytes.len() as u64),
                bytes,
            ))
        })
    }

    /// Brings the rest of a blob. `progress` hears how many bytes there are, and answers whether to go on; it is
    /// also asked several times a second while there is a wait between two attempts.
    ///
    /// What came is kept by the claim when this ends with an error. Answers whether all of it came in one
    /// piece: where it did not, a wrong digest may be the fault of an earlier piece.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] if more comes than the descriptor says, [`Error::GivenUp`] if `progress` wants no more;
    /// else as [`resolve`](Self::resolve).
    pub fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        into: &mut Ingest<'_>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, Error> {
        let places = self.places(reference)?;
        let mut last = None;
        let mut in_one_piece = into.written() == 0;
        for (at, place) in places.iter().enumerate() {
            let is_last = at + 1 == places.len();
            let attempts = || {
                if is_last {
                    Attempts::new(&self.settings)
                } else {
                    Attempts::one()
                }
            };
            let mut left = attempts();
            loop {
                let before = into.written();
                let error = match self.blob_once(place, digest, into, progress) {
                    // A mirror that has something else keeps nobody from asking the registry.
                    Ok(()) if !is_last && !into.is_right() => {
                        into.restart()?;
                        in_one_piece = true;
                        break;
                    }
                    Ok(()) => return Ok(in_one_piece),
                    Err(Error::Size { .. }) if !is_last => {
                        into.restart()?;
                        in_one_piece = true;
                        break;
                    }
                    Err(error) => error,
                };
                in_one_piece &= into.written() == 0;
                if into.written() >= before.saturating_add(PROGRESS) {
                    left = attempts();
                }
                let mut go_on = || progress(into.written());
                if let Err(error) = left.again(error, digest, &mut go_on) {
                    last = Some(error);
                    break;
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::Absent {
            digest: digest.clone(),
        }))
    }

    fn blob_once(
        &self,
        place: &Place,
        digest: &Digest,
        into: &mut Ingest<'_>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), Error> {
        if into.written() == into.size() {
            return Ok(());
        }
        let url = place.url("blobs", &digest.to_string());
        let from = into.written();
        let range = [("range", format!("bytes={from}-"))];
        let mut reply = self.ask(place, "GET", &url, if from == 0 { &[] } else { &range })?;
        let is_rest = from > 0 && reply.status == 206 && is_range(&reply, from, into.size());
        if from > 0 && !is_rest && matches!(reply.status, 200 | 206 | 416) {
            // All of it, another part than asked for, or none: then from the beginning.
            into.restart()?;
            if reply.status == 206 || reply.status == 416 {
                reply = self.ask(place, "GET", &url, &[])?;
            }
        }
        if reply.status != 200 && !is_rest {
            return Err(reply.refusal());
        }
        let (method, shown) = (reply.method, reply.url.to_string());
        let failed = |source| Error::Transport {
            method,
            url: shown.clone(),
            source,
        };
        let mut body = reply.reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = body
                .read(&mut buffer)
                .map_err(|error| failed(Box::new(error)))?;
            if count == 0 {
                break;
            }
            into.append(&buffer[..count])?;
            if !progress(into.written()) {
                return Err(Error::GivenUp {
                    what: digest.to_string(),
                });
            }
        }
        match into.written() == into.size() {
            true => Ok(()),
            false => Err(failed(
                format!("ended after {} of {} bytes", into.written(), into.size()).into(),
            )),
        }
    }

    /// Asks the mirrors and then the registry itself, for no longer than a document may take.
    fn anywhere<T>(
        &self,
        reference: &Reference,
        go_on: &mut dyn FnMut() -> bool,
        mut what: impl FnMut(&Place, Instant) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let until = self.settings.deadline();
        let places = self.places(reference)?;
        let (own, mirrors) = places.split_last().expect("the registry itself is a place");
        for mirror in mirrors {
            if let Ok(value) = what(mirror, until) {
                return Ok(value);
            }
        }
        Attempts::new(&self.settings)
            .until(until)
            .run(reference, go_on, || what(own, until))
    }
}

fn accept() -> [(&'static str, String); 1] {
    [("accept", ACCEPT.join(", "))]
}

/// Whether a 206 is the rest that was asked for: `bytes 5-9/10`.
fn is_range(reply: &Reply, from: u64, size: u64) -> bool {
    let expected = format!("bytes {from}-{}/{size}", size.saturating_sub(1));
    reply.header("content-range").map(str::trim) == Some(expected.as_str())
}
