//! From compressed bytes to a directory: hash, inflate, hash again and write, each in a thread of its own.
//!
//! Inflating is the longest of these, so everything else hides behind it where there are two processors.
//! The threads hand each other buffers of which there is a fixed number, so memory does not grow with the
//! layer. They are joined before [`Unpack::run`] returns.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::apply;
use super::error::{Bound, Call, Error};
use super::inflate::{Compression, Inflate};
use super::options::{Applied, Limits, Options};

/// Bytes of a buffer: large enough that handing it over costs nothing, small enough for the cache of one
/// processor.
const BUFFER: usize = 256 << 10;
/// Buffers of compressed bytes.
const COMPRESSED: usize = 8;
/// Buffers of uncompressed bytes.
const PLAIN: usize = 24;

/// A layer to be unpacked.
#[derive(Debug)]
pub struct Unpack<'a> {
    /// The empty directory that it becomes.
    pub root: BorrowedFd<'a>,
    /// What the media type says; `None` to go by the first bytes.
    pub compression: Option<Compression>,
    /// How much it may be.
    pub limits: &'a Limits,
    /// How it is applied.
    pub options: &'a Options<'a>,
}

/// What a layer was. The directory may be published when the digests are those of the descriptor and of the
/// image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpacked {
    /// SHA-256 of the bytes that were read.
    pub compressed: [u8; 32],
    /// How many they were.
    pub compressed_size: u64,
    /// SHA-256 of the archive: what the configuration of an image calls a diffID.
    pub plain: [u8; 32],
    /// How long the archive is, bytes.
    pub plain_size: u64,
    /// What was in it.
    pub applied: Applied,
}

impl Unpack<'_> {
    /// Reads `input` to its end.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](super::apply), and [`Error::Compression`], [`Error::Unsupported`], [`Error::Damaged`] for
    /// the stream around the archive.
    pub fn run(&self, input: impl Read) -> Result<Unpacked, Error> {
        let (compressed, source) = pipe(COMPRESSED);
        let (plain, archive) = pipe(PLAIN);
        let (to_hash, hashed) = sync_channel(PLAIN + 1);
        std::thread::scope(|scope| {
            let inflating = spawn(scope, "inflate", move || {
                self.inflate(source, plain, to_hash)
            })?;
            let hashing = spawn(scope, "hash", move || hash(&hashed))?;
            let writing = spawn(scope, "write", move || {
                apply::apply(self.root, archive, self.limits, self.options)
            })?;
            let read = self.read(input, compressed);
            let (inflated, hashed, written) = (join(inflating), join(hashing), join(writing));
            // One failure stops the others; which of them is the cause shows by its not being `Stopped`.
            let written = written.as_ref();
            for error in [read.as_ref().err(), written.err(), inflated.as_ref().err()] {
                if let Some(error) = error.filter(|error| **error != Error::Stopped) {
                    return Err(error.clone());
                }
            }
            let (compressed, compressed_size) = read?;
            let (plain, plain_size) = match inflated? {
                Compression::Plain => (compressed, compressed_size),
                _ => hashed,
            };
            Ok(Unpacked {
                compressed,
                compressed_size,
                plain,
                plain_size,
                applied: written.map_err(Error::clone)?.clone(),
            })
        })
    }

    fn read(&self, mut input: impl Read, out: Outlet) -> Result<([u8; 32], u64), Error> {
        let mut digest = Sha256::new();
        let mut size = 0u64;
        loop {
            let mut buffer = out.buffer()?;
            let count = read_full(&mut input, &mut buffer)?;
            if count == 0 {
                out.end()?;
                return Ok((digest.finalize().into(), size));
            }
            digest.update(&buffer[..count]);
            size += count as u64;
            if size > self.limits.compressed {
                return Err(Error::Limit {
                    bound: Bound::Compressed,
                    limit: self.limits.compressed,
                });
            }
            out.send(out.piece(buffer, count))?;
        }
    }

    fn inflate(
        &self,
        source: Inlet,
        out: Outlet,
        to_hash: SyncSender<Arc<Piece>>,
    ) -> Result<Compression, Error> {
        let mut inflate = Inflate::new(source, self.compression, self.limits)?;
        let compression = inflate.compression();
        loop {
            let mut buffer = out.buffer()?;
            let count = inflate.fill(&mut buffer)?;
            if count == 0 {
                out.end()?;
                return Ok(compression);
            }
            let piece = out.piece(buffer, count);
            // The same bytes as were read have the digest that is taken there.
            if compression != Compression::Plain {
                to_hash
                    .send(Arc::clone(&piece))
                    .map_err(|_gone| Error::Stopped)?;
            }
            out.send(piece)?;
        }
    }
}

fn hash(pieces: &Receiver<Arc<Piece>>) -> ([u8; 32], u64) {
    let mut digest = Sha256::new();
    let mut size = 0;
    for piece in pieces {
        digest.update(piece.data());
        size += piece.count as u64;
    }
    (digest.finalize().into(), size)
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    let thread = Builder::new().name(name.into()).spawn_scoped(scope, body);
    thread.map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
        Error::call(name.as_bytes(), Call::Thread)(errno)
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut count = 0;
    while count < buffer.len() {
        match input.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(input_error(&error)),
        }
    }
    Ok(count)
}

/// A filled buffer, shared by those who read it; goes home after the last of them.
struct Piece {
    buffer: Box<[u8]>,
    count: usize,
    home: Sender<Box<[u8]>>,
}

impl Piece {
    fn data(&self) -> &[u8] {
        &self.buffer[..self.count]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Fails when nobody fills buffers any more.
        let _gone = self.home.send(std::mem::take(&mut self.buffer));
    }
}

/// Where full buffers go in.
struct Outlet {
    full: SyncSender<Option<Arc<Piece>>>,
    free: Receiver<Box<[u8]>>,
    home: Sender<Box<[u8]>>,
}

impl Outlet {
    fn buffer(&self) -> Result<Box<[u8]>, Error> {
        self.free.recv().map_err(|_gone| Error::Stopped)
    }

    fn piece(&self, buffer: Box<[u8]>, count: usize) -> Arc<Piece> {
        let home = self.home.clone();
        Arc::new(Piece {
            buffer,
            count,
            home,
        })
    }

    fn send(&self, piece: Arc<Piece>) -> Result<(), Error> {
        self.full.send(Some(piece)).map_err(|_gone| Error::Stopped)
    }

    /// Says that the stream is complete: without it the other side takes it for broken off.
    fn end(&self) -> Result<(), Error> {
        self.full.send(None).map_err(|_gone| Error::Stopped)
    }
}

/// Where they come out, as a stream.
struct Inlet {
    full: Receiver<Option<Arc<Piece>>>,
    piece: Option<Arc<Piece>>,
    at: usize,
    ended: bool,
}

impl Inlet {
    fn rest(&self) -> &[u8] {
        self.piece
            .as_deref()
            .and_then(|piece| piece.data().get(self.at..))
            .unwrap_or_default()
    }
}

impl BufRead for Inlet {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest().is_empty() && !self.ended {
            // Given back before waiting for another.
            self.piece = None;
            self.at = 0;
            match self.full.recv() {
                Ok(Some(piece)) => self.piece = Some(piece),
                Ok(None) => self.ended = true,
                Err(_gone) => return Err(io::Error::other(BrokenOff)),
            }
        }
        Ok(self.rest())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Inlet {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// `count` buffers that go round.
fn pipe(count: usize) -> (Outlet, Inlet) {
    let (home, free) = channel();
    for _ in 0..count {
        let _open = home.send(vec![0u8; BUFFER].into_boxed_slice());
    }
    // One more for the end, so that nobody waits to put one in.
    let (sender, full) = sync_channel(count + 1);
    let outlet = Outlet {
        full: sender,
        free,
        home,
    };
    let inlet = Inlet {
        full,
        piece: None,
        at: 0,
        ended: false,
    };
    (outlet, inlet)
}

/// The thread before this one in the pipeline failed.
#[derive(Debug)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off")
    }
}

impl std::error::Error for BrokenOff {}

/// What a failure to read the stream is.
pub(super) fn input_error(error: &io::Error) -> Error {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<BrokenOff>()) {
        return Error::Stopped;
    }
    // What was inflated before it came here.
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        return error.clone();
    }
    Error::Input {
        errno: Errno::from_io_error(error).unwrap_or(Errno::IO),
    }
}
