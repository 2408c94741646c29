//! A layer that is unpacked while it is downloaded.
//!
//! ```text
//! download threads ─▶ ingest/DIGEST ─▶ feeder thread ─▶ pipe ─▶ the process that unpacks
//!        │ commit: digest right                                   │ verdict: both digests right
//!        ▼                                                        ▼
//!   blobs/…/DIGEST ──────────────── both ──────────────▶ layers/CHAIN
//! ```
//!
//! What comes may be wrong, and be thrown away. Then so is what was made of it, and the layer is unpacked from its blob once
//! that is whole, as one that was there before.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use image::{Came, Coming, Growing, Layer};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::one::One;
use super::{Error, Heard};

/// Of the feeder's buffer, and of the pipe: as much as the other side takes at once, and more than comes at once.
const CHUNK: usize = 256 << 10;

impl One<'_> {
    /// Unpacks the layer, whose blob is there or comes.
    pub(super) fn as_it_comes(
        &self,
        coming: &Coming<'_>,
        heard: Heard<'_>,
    ) -> Result<Layer, Error> {
        let came = coming.layer(self.at).ok_or_else(|| self.given_up())?;
        if let Came::Growing(growing) = came
            && let Some(layer) = self.attempt(coming, growing, heard)?
        {
            return Ok(layer);
        }
        match coming.whole(self.at) {
            true => self.unpack(&|| !coming.is_over(), heard),
            false => Err(self.given_up()),
        }
    }

    /// `None`: that one has failed, and the blob may be right nevertheless.
    fn attempt(
        &self,
        coming: &Coming<'_>,
        growing: Growing<'_>,
        heard: Heard<'_>,
    ) -> Result<Option<Layer>, Error> {
        let staging = self.store.stage()?;
        // What has digests of its own is not published before the blob, whose digest may be of another kind.
        let done = self.stream(staging.path(), growing, coming, heard);
        if done.is_ok() && coming.whole(self.at) {
            return Ok(Some(staging.publish(self.id)?));
        }
        // The cause shows when it fails once more.
        self.discard(staging);
        Ok(None)
    }

    fn stream(
        &self,
        root: std::path::PathBuf,
        growing: Growing<'_>,
        coming: &Coming<'_>,
        heard: Heard<'_>,
    ) -> Result<(), Error> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| super::sandbox::failed("pipe2", errno))?;
        // Without it the pipe is smaller, and works: the sum of an ordinary user's pipes is limited.
        let _ = fcntl_setpipe_size(&ours, CHUNK);
        let fed = AtomicU64::new(0);
        thread::scope(|scope| {
            let feeder = scope.spawn(|| feed(growing, ours, &fed));
            let mut tell = || {
                heard(self.at, self.part, fed.load(Ordering::Relaxed));
                !coming.is_over()
            };
            let filled = self.fill(root, theirs.as_fd(), &mut tell);
            // A feeder that waits for room sees that nobody reads.
            drop(theirs);
            match feeder.join() {
                Ok(_) => filled,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Hides behind the cause, which is the pull's own error.
    fn given_up(&self) -> Error {
        Error::Image(image::Error::GivenUp {
            what: self.part.digest.to_string(),
        })
    }
}

/// Ends when all is said, when no more comes, or when nobody listens. What was cut off has other digests.
fn feed(mut growing: Growing<'_>, pipe: OwnedFd, fed: &AtomicU64) -> std::io::Result<()> {
    let mut pipe = File::from(pipe);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = growing.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        pipe.write_all(&buffer[..count])?;
        fed.fetch_add(count as u64, Ordering::Relaxed);
    }
}
