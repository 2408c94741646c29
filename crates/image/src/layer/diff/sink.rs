//! Who hears of the differences: an archive, or a list.

use std::io::{self, Write};

use super::super::tar::Entry;
use super::Difference;
use super::write::Tarball;

/// Takes what differs, in order.
pub(super) trait Sink {
    /// Whether it takes the bytes of files.
    const CONTENTS: bool;

    fn entry(&mut self, how: Difference, entry: &Entry) -> io::Result<()>;

    /// `path` is gone, which an archive says by `mark`.
    fn gone(&mut self, path: &[u8], mark: &Entry) -> io::Result<()>;

    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// So many bytes were the data.
    fn pad(&mut self, size: u64) -> io::Result<()>;

    fn end(&mut self) -> io::Result<()>;
}

impl<W: Write> Sink for Tarball<W> {
    const CONTENTS: bool = true;

    fn entry(&mut self, _how: Difference, entry: &Entry) -> io::Result<()> {
        Self::entry(self, entry)
    }

    fn gone(&mut self, _path: &[u8], mark: &Entry) -> io::Result<()> {
        Self::entry(self, mark)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        Self::data(self, bytes)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        Self::pad(self, size)
    }

    fn end(&mut self) -> io::Result<()> {
        Self::end(self)
    }
}

/// The list.
pub(super) struct Told<'a>(pub(super) &'a mut dyn FnMut(Difference, &[u8]) -> io::Result<()>);

impl Sink for Told<'_> {
    const CONTENTS: bool = false;

    fn entry(&mut self, how: Difference, entry: &Entry) -> io::Result<()> {
        match entry.path.strip_suffix(b"/").unwrap_or(&entry.path) {
            b"." => Ok(()),
            path => (self.0)(how, path),
        }
    }

    fn gone(&mut self, path: &[u8], _mark: &Entry) -> io::Result<()> {
        (self.0)(Difference::Deleted, path)
    }

    fn data(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn pad(&mut self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
