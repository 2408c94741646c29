//! A blob that comes, as others in this process see it.
//!
//! Who brings it says how far the file is written and when it begins anew, before the file is touched: so what was read is
//! known to be of one attempt. Whether that attempt was any good shows when the blob is whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How far a blob is.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Another number whenever the bytes begin anew.
    attempt: u64,
    /// As long as this process has the turn.
    file: Option<Arc<File>>,
    written: u64,
    size: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Failed,
}

/// What [`Coming::layer`](crate::Coming::layer) waited for.
#[derive(Debug)]
pub enum Came<'a> {
    /// The blob is in the store.
    Whole,
    /// This process is bringing it.
    Growing(Growing<'a>),
}

/// The bytes of a blob as they come, from its beginning.
///
/// A read waits for what is not there yet. It ends when as many bytes were read as the blob is to have: whether they are
/// the right ones is not known then. It fails with [`io::ErrorKind::ConnectionAborted`] when what was read so far is
/// thrown away, or no more will come.
#[derive(Debug)]
pub struct Growing<'a> {
    growth: &'a Growth,
    file: Arc<File>,
    attempt: u64,
    size: u64,
    at: u64,
}

impl Growth {
    /// Bytes come, or go on to come after those that are in the file.
    pub(super) fn begin(&self, file: File, written: u64, size: u64) {
        self.change(|state| {
            state.attempt += 1;
            state.file = Some(Arc::new(file));
            (state.written, state.size) = (written, size);
        });
    }

    /// So many are in the file.
    pub(super) fn grown(&self, written: u64) {
        self.change(|state| state.written = written);
    }

    /// They are about to be thrown away.
    pub(super) fn restart(&self) {
        self.change(|state| {
            state.attempt += 1;
            state.written = 0;
        });
    }

    /// The file goes, too.
    pub(super) fn discard(&self) {
        self.change(|state| {
            state.attempt += 1;
            state.file = None;
        });
    }

    /// The blob is in the store, and in use.
    pub(crate) fn whole(&self) {
        self.end(End::Whole);
    }

    /// It will not come, unless it is there.
    pub(crate) fn fail(&self) {
        self.end(End::Failed);
    }

    fn end(&self, end: End) {
        self.change(|state| {
            state.end.get_or_insert(end);
            state.file = None;
        });
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<T>(&self, mut what: impl FnMut(&State) -> Option<T>) -> T {
        let mut state = self.lock();
        loop {
            if let Some(seen) = what(&state) {
                return seen;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until something can be read of the blob, or it is whole; `None` if it will not come.
    pub(crate) fn wait(&self) -> Option<Came<'_>> {
        self.wait_for(|state| match (state.end, &state.file) {
            (Some(End::Failed), _) => Some(None),
            (Some(End::Whole), _) => Some(Some(Came::Whole)),
            (None, Some(file)) => Some(Some(Came::Growing(Growing {
                growth: self,
                file: Arc::clone(file),
                attempt: state.attempt,
                size: state.size,
                at: 0,
            }))),
            // Its turn has not come, or another process has it.
            (None, None) => None,
        })
    }

    /// Waits until the blob is in the store; `false` if it will not come.
    pub(crate) fn wait_whole(&self) -> bool {
        self.wait_for(|state| state.end) == End::Whole
    }
}

impl Growing<'_> {
    /// Waits for bytes after those that were read; how many there are in all, `None` if it is over with them.
    fn more(&self) -> Option<u64> {
        self.growth.wait_for(|state| {
            if self.is_over(state) {
                return Some(None);
            }
            (state.written > self.at || self.at == self.size).then_some(Some(state.written))
        })
    }

    fn is_over(&self, state: &State) -> bool {
        state.attempt != self.attempt || state.end == Some(End::Failed)
    }
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
        let more = self.more().ok_or_else(aborted)?.saturating_sub(self.at);
        let most = buffer
            .len()
            .min(usize::try_from(more).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        // They may have been thrown away, and others written, since it was said that they are there.
        if self.is_over(&self.growth.lock()) || (count == 0 && most > 0) {
            return Err(aborted());
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
