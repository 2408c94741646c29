//! Writing an archive: ustar headers, and a pax header before each that does not hold everything.
//!
//! The same entries give the same bytes: nothing of the time or of the process gets in.

use std::io::{self, Write};

use super::super::tar::{Entry, Kind};

const BLOCK: usize = 512;
/// What seven octal digits hold.
const MAX_ID: u32 = 0o777_7777;
/// What eleven octal digits hold.
const MAX_LONG: u64 = 0o777_7777_7777;

/// An archive that is written entry by entry, without compression.
#[derive(Debug)]
pub struct Tarball<W>(W);

impl<W: Write> Tarball<W> {
    /// One without entries.
    pub fn new(out: W) -> Self {
        Self(out)
    }

    /// Writes the header of an entry. The data of a file comes next, as much as `entry.size` says, and then
    /// [`Tarball::pad`].
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        header(&mut self.0, entry)
    }

    /// Writes data of the entry.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Ends the data of an entry, which were `size` bytes.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn pad(&mut self, size: u64) -> io::Result<()> {
        pad(&mut self.0, size)
    }

    /// Ends the archive.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn end(&mut self) -> io::Result<()> {
        end(&mut self.0)?;
        self.0.flush()
    }
}

/// Writes the header of `entry`; its data comes after it, then [`pad`].
pub(crate) fn header(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let records = records(entry);
    if !records.is_empty() {
        let mut block = Block::new(b"PaxHeaders/entry", b'x');
        block.octal(124..136, records.len() as u64);
        block.write(out)?;
        out.write_all(&records)?;
        pad(out, records.len() as u64)?;
    }
    let flag = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice { .. } => b'3',
        Kind::BlockDevice { .. } => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let mut block = Block::new(&entry.path, flag);
    block.text(157..257, &entry.link);
    block.octal(100..108, entry.mode.into());
    block.octal(108..116, entry.uid.min(MAX_ID).into());
    block.octal(116..124, entry.gid.min(MAX_ID).into());
    // A size that does not fit is 0 here and stands in the pax header.
    let fits = entry.size <= MAX_LONG;
    block.octal(124..136, if fits { entry.size } else { 0 });
    let seconds = u64::try_from(entry.mtime.0).unwrap_or(0);
    block.octal(136..148, seconds.min(MAX_LONG));
    block.write(out)
}

/// Zeros up to the next block after `size` bytes of data.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let over = (size % BLOCK as u64) as usize;
    match over {
        0 => Ok(()),
        _ => out.write_all(&[0; BLOCK][over..]),
    }
}

/// The two blocks of zeros after the last entry.
pub(crate) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn records(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| record(&mut out, key, value);
    if entry.path.len() > 100 {
        add(b"path", &entry.path);
    }
    if entry.link.len() > 100 {
        add(b"linkpath", &entry.link);
    }
    if entry.size > MAX_LONG {
        add(b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if id > MAX_ID {
            add(key.as_bytes(), id.to_string().as_bytes());
        }
    }
    let (seconds, nanos) = entry.mtime;
    if nanos != 0 || !(0..=MAX_LONG as i64).contains(&seconds) {
        add(b"mtime", time(seconds, nanos).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    out
}

/// A decimal fraction; before 1970 the nanoseconds count towards zero.
fn time(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (_, 0) => seconds.to_string(),
        (..0, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        _ => format!("{seconds}.{nanos:09}"),
    }
}

fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Blank, equals sign and newline; then the digits of a length that counts them as well.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(name: &[u8], flag: u8) -> Self {
        let mut block = Self([0; BLOCK]);
        block.text(0..100, name);
        for (field, value) in [(100..108, 0o644), (108..116, 0), (116..124, 0)] {
            block.octal(field, value);
        }
        block.octal(136..148, 0);
        block.0[156] = flag;
        block.text(257..265, b"ustar\x0000");
        block.octal(329..337, 0);
        block.octal(337..345, 0);
        block
    }

    /// As much of `text` as there is place for: where it is cut, the pax header has the whole.
    fn text(&mut self, field: std::ops::Range<usize>, text: &[u8]) {
        let length = text.len().min(field.len());
        self.0[field.start..field.start + length].copy_from_slice(&text[..length]);
    }

    fn octal(&mut self, field: std::ops::Range<usize>, value: u64) {
        let width = field.len() - 1;
        self.text(field, format!("{value:0width$o}\0").as_bytes());
    }

    fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.text(148..156, format!("{sum:06o}\0 ").as_bytes());
        out.write_all(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tar::Archive;
    use super::*;

    fn entry() -> Entry {
        Entry {
            path: b"a/b".to_vec(),
            link: Vec::new(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
            size: 0,
            sparse: None,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let long = [b"d/".repeat(200), vec![0xff; 9]].concat();
        for wanted in [
            entry(),
            Entry {
                path: long.clone(),
                uid: 4_000_000_000,
                gid: 3_000_000,
                mtime: (-2, 500_000_000),
                xattrs: vec![(b"user.a".to_vec(), b"\0\n=".to_vec())],
                ..entry()
            },
            Entry {
                kind: Kind::HardLink,
                link: long,
                mtime: (-1, 1),
                ..entry()
            },
            Entry {
                kind: Kind::Symlink,
                link: b"t".to_vec(),
                mtime: (1 << 33, 7),
                ..entry()
            },
            Entry {
                kind: Kind::Fifo,
                ..entry()
            },
        ] {
            let mut out = Vec::new();
            header(&mut out, &wanted).expect("to memory");
            end(&mut out).expect("to memory");
            let read = Archive::new(&out[..]).next_entry();
            assert_eq!(read, Ok(Some(wanted)));
        }
        let huge = Entry {
            size: 1 << 40,
            ..entry()
        };
        let mut out = Vec::new();
        header(&mut out, &huge).expect("to memory");
        assert_eq!(Archive::new(&out[..]).next_entry(), Ok(Some(huge)));
    }
}
