//! Images, to a registry.
//!
//! A blob that the registry has is not sent: it is asked for it, and where another repository there has it,
//! asked to take it from that one. What is sent has the digest that its document says, byte for byte.

use std::io::{self, Read};

use super::http::Ask;
use super::retry::Attempts;
use super::url::Url;
use super::{Place, Registry};
use crate::descriptor::Descriptor;
use crate::error::{Error, shown};
use crate::manifest::Manifest;
use crate::reference::Reference;
use crate::store::Store;

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    Present,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Whole,
}

impl Registry {
    /// Sends an image under a name: the blobs that are missing, and then the manifest. `from` is another
    /// repository of the same registry that may have the blobs. `progress` hears of each blob how it got
    /// there.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`] for a blob that the store does not have, [`Error::Damaged`]; [`Error::Status`],
    /// [`Error::Transport`], [`Error::Answer`].
    pub fn push(
        &self,
        store: &Store,
        at: &Descriptor,
        name: &Reference,
        from: Option<&Reference>,
        progress: &mut dyn FnMut(&Descriptor, Sent),
    ) -> Result<(), Error> {
        let bytes = store.document(&at.digest)?;
        let manifest = crate::pull::read_manifest(at, &bytes)?;
        let mut scopes = vec![format!("repository:{}:pull,push", name.repository())];
        let from = from.filter(|from| {
            from.registry() == name.registry() && from.repository() != name.repository()
        });
        scopes.extend(from.map(|from| format!("repository:{}:pull", from.repository())));
        let place = self.place(name.registry(), name.repository(), &scopes)?;
        for part in parts(&manifest) {
            let sent = Attempts::new(&self.settings).run(&part.digest, &mut || true, || {
                self.send_blob(&place, store, part, from)
            })?;
            progress(part, sent);
        }
        Attempts::new(&self.settings).run(name, &mut || true, || {
            self.send_manifest(&place, name, at, &bytes)
        })
    }

    fn send_blob(
        &self,
        place: &Place,
        store: &Store,
        part: &Descriptor,
        from: Option<&Reference>,
    ) -> Result<Sent, Error> {
        let digest = &part.digest;
        let reply = self.ask(place, "HEAD", &place.url("blobs", &digest.to_string()), &[])?;
        match reply.status {
            200 => return Ok(Sent::Present),
            404 => {}
            _ => return Err(reply.refusal()),
        }
        let mut url = place.url("blobs", "uploads/");
        if let Some(from) = from {
            url = url
                .with("mount", &digest.to_string())
                .with("from", from.repository());
        }
        let reply = self.ask(place, "POST", &url, &[("content-length", "0".to_owned())])?;
        match reply.status {
            201 => return Ok(Sent::Mounted),
            202 => {}
            _ => return Err(reply.refusal()),
        }
        let location = reply.header("location").unwrap_or_default();
        let to = reply.url.lead(&place.base, location).map_err(|why| {
            reply.answer(format!(
                "gives the place {:?}, which {why}",
                shown(location)
            ))
        })?;
        self.upload(place, store, part, &to.with("digest", &digest.to_string()))?;
        Ok(Sent::Whole)
    }

    /// The whole blob in one request: its length is known, and no registry refuses that.
    fn upload(
        &self,
        place: &Place,
        store: &Store,
        part: &Descriptor,
        to: &Url,
    ) -> Result<(), Error> {
        let blob = store.blob(&part.digest)?.ok_or_else(|| Error::Absent {
            digest: part.digest.clone(),
        })?;
        let blob = blob.of_size(part.size)?;
        let length = blob.size();
        let mut reader = Exact(blob.take(length));
        let reply = self.put(place, to, "application/octet-stream", &mut reader, length)?;
        match reply.status {
            201 => Ok(()),
            _ => Err(reply.refusal()),
        }
    }

    fn send_manifest(
        &self,
        place: &Place,
        name: &Reference,
        at: &Descriptor,
        mut bytes: &[u8],
    ) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let to = place.url("manifests", name.tag().unwrap_or(&at.digest.to_string()));
        // The last blob may have taken longer than its token lives: this renews it. The answer is no matter.
        self.ask(place, "HEAD", &to, &[("accept", at.media_type.clone())])?;
        let reply = self.put(place, &to, &at.media_type, &mut bytes, length)?;
        if reply.status != 201 {
            return Err(reply.refusal());
        }
        match reply.header("docker-content-digest") {
            Some(said) if said != at.digest.to_string() => {
                Err(reply.answer(format!("has it as {:?}", shown(said))))
            }
            _ => Ok(()),
        }
    }

    /// With the authorization that the requests before it were given: a body cannot be sent twice.
    fn put(
        &self,
        place: &Place,
        url: &Url,
        media_type: &str,
        body: &mut dyn Read,
        length: u64,
    ) -> Result<super::Reply, Error> {
        let header = self.tokens.cached(&place.base, &place.scopes);
        let authorization = header.as_deref().filter(|_| url.is_of_origin(&place.base));
        let headers = [("content-type", media_type.to_owned())];
        // Of a shorter life, as the rest of what is asked.
        let body: &mut dyn Read = &mut *body;
        let body = Some((body, length));
        self.http.send(Ask {
            method: "PUT",
            url,
            headers: &headers,
            authorization,
            body,
        })
    }
}

/// The configuration and the layers, each once.
fn parts(manifest: &Manifest) -> Vec<&Descriptor> {
    let mut parts: Vec<&Descriptor> = Vec::new();
    for part in [&manifest.config].into_iter().chain(&manifest.layers) {
        if !parts.iter().any(|before| before.digest == part.digest) {
            parts.push(part);
        }
    }
    parts
}

/// A reader that says so when its file ends early.
struct Exact<R>(io::Take<R>);

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.0.limit() > 0 && !buffer.is_empty() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            count => Ok(count),
        }
    }
}
