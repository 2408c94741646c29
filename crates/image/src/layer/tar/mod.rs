//! The entries of a tar archive, one after the other, without a seek and in bounded memory.
//!
//! Reads v7, ustar, GNU and pax headers. Where two readers of tar could disagree about what an archive
//! holds, this one refuses: an archive is then one thing for whoever scans it and whoever unpacks it.

mod entry;
mod header;
mod pax;
mod sparse;

use std::io::{BufRead, ErrorKind};

pub use entry::{Entry, Kind};
use header::{BLOCK, Dialect, Header};
use pax::{Pax, PaxSparse};
pub use sparse::Region;

use super::error::{Error, Rule};

/// Bytes of one extended header.
const MAX_PAX: u64 = 1 << 20;
/// Bytes of one GNU long name.
const MAX_LONG: u64 = 64 << 10;
/// Attributes of one entry.
const MAX_XATTRS: usize = 64;
/// Bytes of one attribute: XATTR_SIZE_MAX.
const MAX_XATTR: usize = 64 << 10;
/// The largest size that the octal field of a header holds.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// Headers that come before the one they belong to.
#[derive(Default)]
struct Before {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// An archive being read.
pub struct Archive<R> {
    reader: R,
    /// Bytes read so far.
    at: u64,
    /// Stored bytes of the current entry that are not read yet.
    left: u64,
    /// Zeros after them.
    padding: u64,
    global: Pax,
    done: bool,
}

impl<R: BufRead> Archive<R> {
    /// An archive that starts with the next byte of `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            at: 0,
            left: 0,
            padding: 0,
            global: Pax::default(),
            done: false,
        }
    }

    /// The next entry; passes over what is left of the one before. After `None` the stream is at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] and [`Error::Refused`] with the rule that is broken, [`Error::End`],
    /// [`Error::Input`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut before = Before::default();
        loop {
            self.skip_rest()?;
            let start = self.at;
            let malformed = |rule| Error::Malformed { at: start, rule };
            let mut block = [0u8; BLOCK];
            // The writer of Go, when it is not closed, leaves the blocks of zeros out (umoci's `insert` does that), and
            // every reader takes such an archive; whether it is whole is what the digests say.
            let is_over = start > 0 && self.is_over()?;
            if !is_over {
                self.fill(&mut block)?;
            }
            if is_over || block == [0u8; BLOCK] {
                if before.pax.is_some() || before.name.is_some() || before.link.is_some() {
                    return Err(malformed(Rule::Dangling));
                }
                if !is_over {
                    self.trailer()?;
                }
                self.done = true;
                return Ok(None);
            }
            let header = Header::check(&block).map_err(malformed)?;
            match header.typeflag() {
                b'x' | b'g' | b'L' | b'K' => {
                    self.extension(&header, &mut before)
                        .map_err(|error| match error {
                            Failed::Rule(rule) => malformed(rule),
                            Failed::Error(error) => error,
                        })?;
                }
                _ => return self.entry(&header, before, start).map(Some),
            }
        }
    }

    /// The next stored bytes of the current entry, empty at their end; [`Archive::consume`] takes them.
    ///
    /// # Errors
    ///
    /// [`Error::End`], [`Error::Input`].
    pub fn data(&mut self) -> Result<&[u8], Error> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let at = self.at;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let available = fill_buf(&mut self.reader)?;
        if available.is_empty() {
            return Err(Error::End { at });
        }
        let length = available.len().min(left);
        Ok(&available[..length])
    }

    /// Takes `count` of the bytes that [`Archive::data`] gave.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count as u64 <= self.left, "more taken than given");
        self.reader.consume(count);
        self.at += count as u64;
        self.left -= count as u64;
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        loop {
            let count = self.data()?.len();
            if count == 0 {
                break;
            }
            self.consume(count);
        }
        self.left = std::mem::take(&mut self.padding);
        while self.left > 0 && !self.is_over()? {
            let count = self.data()?.len();
            self.consume(count);
        }
        self.left = 0;
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, Error> {
        Ok(fill_buf(&mut self.reader)?.is_empty())
    }

    fn fill(&mut self, mut out: &mut [u8]) -> Result<(), Error> {
        while !out.is_empty() {
            let available = fill_buf(&mut self.reader)?;
            let count = available.len().min(out.len());
            if count == 0 {
                return Err(Error::End { at: self.at });
            }
            out[..count].copy_from_slice(&available[..count]);
            self.reader.consume(count);
            self.at += count as u64;
            out = &mut out[count..];
        }
        Ok(())
    }

    /// After the first block of zeros: a second one, then nothing but zeros.
    fn trailer(&mut self) -> Result<(), Error> {
        let mut block = [0u8; BLOCK];
        let start = self.at;
        self.fill(&mut block)?;
        let refused = |at| Error::Malformed {
            at,
            rule: Rule::Trailer,
        };
        if block != [0u8; BLOCK] {
            return Err(refused(start));
        }
        loop {
            let at = self.at;
            let available = fill_buf(&mut self.reader)?;
            let count = available.len();
            if count == 0 {
                return Ok(());
            }
            if available.iter().any(|byte| *byte != 0) {
                return Err(refused(at));
            }
            self.reader.consume(count);
            self.at += count as u64;
        }
    }

    /// The data of the current header, which must be short, as one piece.
    fn whole(&mut self, size: u64, max: u64, rule: Rule) -> Result<Vec<u8>, Failed> {
        if size > max {
            return Err(Failed::Rule(rule));
        }
        let mut data = Vec::new();
        self.left = size;
        self.padding = padding(size);
        loop {
            let piece = self.data().map_err(Failed::Error)?;
            let count = piece.len();
            if count == 0 {
                return Ok(data);
            }
            data.extend_from_slice(piece);
            self.consume(count);
        }
    }

    /// A header that tells something about the one after it.
    fn extension(&mut self, header: &Header<'_>, before: &mut Before) -> Result<(), Failed> {
        let size = header.size().map_err(Failed::Rule)?;
        let typeflag = header.typeflag();
        if matches!(typeflag, b'x' | b'g') {
            let data = self.whole(size, MAX_PAX, Rule::PaxSize)?;
            if typeflag == b'g' {
                let global = Pax::parse_global(&data, sparse::MAX_REGIONS).map_err(Failed::Rule)?;
                self.global.uid = global.uid.or(self.global.uid);
                self.global.gid = global.gid.or(self.global.gid);
                self.global.mtime = global.mtime.or(self.global.mtime);
                return Ok(());
            }
            if before.pax.is_some() {
                return Err(Failed::Rule(Rule::PaxTwice));
            }
            before.pax = Some(Pax::parse(&data, sparse::MAX_REGIONS).map_err(Failed::Rule)?);
        } else {
            let mut data = self.whole(size, MAX_LONG, Rule::LongSize)?;
            if let Some(end) = data.iter().position(|byte| *byte == 0) {
                data.truncate(end);
            }
            let place = match typeflag {
                b'L' => &mut before.name,
                _ => &mut before.link,
            };
            if place.replace(data).is_some() {
                return Err(Failed::Rule(Rule::LongTwice));
            }
        }
        if before.pax.is_some() && (before.name.is_some() || before.link.is_some()) {
            return Err(Failed::Rule(Rule::Mixed));
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header<'_>, before: Before, start: u64) -> Result<Entry, Error> {
        let mut pax = before.pax.unwrap_or_default();
        let path = pax
            .path
            .take()
            .or(before.name)
            .unwrap_or_else(|| header.name());
        let sparse_name = pax.sparse.as_mut().and_then(|sparse| sparse.name.take());
        let path = sparse_name.unwrap_or(path);
        let link = pax.linkpath.take().or(before.link);
        let link = link.unwrap_or_else(|| header.link().to_vec());
        if path.is_empty() {
            return Err(Error::Malformed {
                at: start,
                rule: Rule::NameEmpty,
            });
        }
        let mut entry = self
            .facts(header, &pax, path.clone())
            .map_err(|rule| Error::refused(&path, rule))?;
        entry.link = link;
        entry.xattrs = std::mem::take(&mut pax.xattrs);
        let result = self.body(header, &pax, &mut entry);
        result.map_err(|failed| match failed {
            Failed::Rule(rule) => Error::refused(&path, rule),
            Failed::Error(error) => error,
        })?;
        Ok(entry)
    }

    fn facts(&self, header: &Header<'_>, pax: &Pax, path: Vec<u8>) -> Result<Entry, Rule> {
        let kind = entry::kind(header, &path)?;
        let uid = pax
            .uid
            .or(self.global.uid)
            .map_or_else(|| header.uid(), Ok)?;
        let gid = pax
            .gid
            .or(self.global.gid)
            .map_or_else(|| header.gid(), Ok)?;
        let mtime = match pax.mtime.or(self.global.mtime) {
            Some(time) => time,
            None => (entry::seconds(header.mtime()?), 0),
        };
        Ok(Entry {
            path,
            link: Vec::new(),
            kind,
            mode: entry::mode(header.mode()?, kind)?,
            uid: entry::id(uid)?,
            gid: entry::id(gid)?,
            mtime: entry::storable(mtime),
            xattrs: Vec::new(),
            size: 0,
            sparse: None,
        })
    }

    /// Size and sparse map; leaves the reader at the first stored byte of the file.
    fn body(&mut self, header: &Header<'_>, pax: &Pax, entry: &mut Entry) -> Result<(), Failed> {
        let said = header.size().map_err(Failed::Rule)?;
        let stored = match pax.size {
            // The octal field cannot hold it, so writers leave 0 there.
            Some(size) if size > MAX_OCTAL && said == 0 => size,
            Some(size) if size != said => return Err(Failed::Rule(Rule::SizeConflict)),
            _ => said,
        };
        if entry.kind != Kind::File {
            if stored != 0 || pax.sparse.is_some() {
                return Err(Failed::Rule(Rule::DataOfNothing));
            }
            return Ok(());
        }
        self.left = stored;
        self.padding = padding(stored);
        entry.size = stored;
        if header.typeflag() == b'S' {
            if header.dialect() != Dialect::Gnu || pax.sparse.is_some() {
                return Err(Failed::Rule(Rule::Sparse));
            }
            self.old_sparse(header, entry)
        } else if let Some(sparse) = &pax.sparse {
            self.pax_sparse(sparse, entry)
        } else {
            Ok(())
        }
    }

    /// Old GNU format: regions in the header and in blocks after it that its size does not count.
    fn old_sparse(&mut self, header: &Header<'_>, entry: &mut Entry) -> Result<(), Failed> {
        let stored = self.left;
        let (mut pairs, mut more, real_size) = header.sparse().map_err(Failed::Rule)?;
        while more {
            let mut block = [0u8; BLOCK];
            self.fill(&mut block).map_err(Failed::Error)?;
            pairs.extend(header::regions(&block[..504]).map_err(Failed::Rule)?);
            more = block[504] != 0;
            if pairs.len() > sparse::MAX_REGIONS {
                return Err(Failed::Rule(Rule::SparseCount));
            }
            // A block that says that another follows is full.
            if more && block[20 * 24] == 0 {
                return Err(Failed::Rule(Rule::Sparse));
            }
        }
        entry.size = real_size;
        let regions = sparse::regions(pairs, real_size, stored).map_err(Failed::Rule)?;
        entry.sparse = Some(regions);
        Ok(())
    }

    /// 0.0 and 0.1 have the map in the extended header, 1.0 at the start of the data.
    fn pax_sparse(&mut self, said: &PaxSparse, entry: &mut Entry) -> Result<(), Failed> {
        let real_size = said.real_size.ok_or(Failed::Rule(Rule::Sparse))?;
        let map = match (said.major, said.minor) {
            (0, 0 | 1) => {
                let pairs = said.map.len() as u64 / 2;
                if said.count.is_some_and(|count| count != pairs) {
                    return Err(Failed::Rule(Rule::Sparse));
                }
                said.map.clone()
            }
            (1, 0) if said.map.is_empty() => self.map_in_data()?,
            _ => return Err(Failed::Rule(Rule::Sparse)),
        };
        let pairs = sparse::pairs(&map).map_err(Failed::Rule)?;
        let regions = sparse::regions(pairs, real_size, self.left).map_err(Failed::Rule)?;
        entry.size = real_size;
        entry.sparse = Some(regions);
        Ok(())
    }

    /// Decimal numbers, a newline after each: how many regions, then offset and length of each. Zeros fill
    /// the last block.
    fn map_in_data(&mut self) -> Result<Vec<u64>, Failed> {
        let wrong = || Failed::Rule(Rule::Sparse);
        let mut numbers: Vec<u64> = Vec::new();
        let mut digits: Vec<u8> = Vec::new();
        let mut wanted = 1usize;
        while numbers.len() < wanted {
            if self.left < BLOCK as u64 {
                return Err(wrong());
            }
            let mut block = [0u8; BLOCK];
            self.fill(&mut block).map_err(Failed::Error)?;
            self.left -= BLOCK as u64;
            for byte in block {
                if numbers.len() == wanted {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(wrong());
                    }
                    continue;
                }
                let number = pax::decimal(&digits).map_err(|_malformed| wrong())?;
                digits.clear();
                if numbers.is_empty() {
                    if number > sparse::MAX_REGIONS as u64 {
                        return Err(Failed::Rule(Rule::SparseCount));
                    }
                    wanted += 2 * number as usize;
                }
                numbers.push(number);
            }
        }
        numbers.remove(0);
        Ok(numbers)
    }
}

/// A broken rule whose place the caller knows, or an error that is complete.
enum Failed {
    Rule(Rule),
    Error(Error),
}

fn fill_buf<R: BufRead>(reader: &mut R) -> Result<&[u8], Error> {
    // A first call that only waits out interruptions: its result could not be returned from a loop.
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(super::unpack::input_error(&error)),
        }
    }
    reader
        .fill_buf()
        .map_err(|error| super::unpack::input_error(&error))
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}
