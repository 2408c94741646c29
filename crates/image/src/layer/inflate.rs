//! Compressions of layers: told by their first bytes, held against what the media type says, undone with
//! bounded memory.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use super::error::{Bound, Error, worded};
use super::options::Limits;
use super::unpack::input_error;

worded! {
    /// How a layer is compressed, as its media type says.
    Compression {
        /// `…tar`.
        Plain = "uncompressed",
        /// `…tar+gzip`, `…tar.gzip`.
        Gzip = "gzip",
        /// `…tar+zstd`.
        Zstd = "zstd",
    }
}

worded! {
    /// What the first bytes of a stream say.
    Found {
        /// None of the others.
        Plain = "uncompressed",
        /// RFC 1952.
        Gzip = "gzip",
        /// RFC 8878; a skippable frame counts as well.
        Zstd = "zstd",
        /// xz.
        Xz = "xz",
        /// bzip2.
        Bzip2 = "bzip2",
        /// lz4.
        Lz4 = "lz4",
        /// zip.
        Zip = "zip",
    }
}

impl Found {
    /// By the magic numbers. A tar archive starts with the name of its first entry: one whose name begins like
    /// this is taken for what it looks like, and refused.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Self::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            _ => Self::Plain,
        }
    }

    /// The compression to undo.
    ///
    /// # Errors
    ///
    /// [`Error::Compression`] when `declared` is another one, [`Error::Unsupported`].
    pub fn agree(self, declared: Option<Compression>) -> Result<Compression, Error> {
        let found = match self {
            Self::Plain => Compression::Plain,
            Self::Gzip => Compression::Gzip,
            Self::Zstd => Compression::Zstd,
            _ if declared.is_none() => return Err(Error::Unsupported { found: self }),
            _ => Compression::Plain,
        };
        match declared {
            Some(declared) if declared != found || !self.is_layer() => Err(Error::Compression {
                declared,
                found: self,
            }),
            _ => Ok(found),
        }
    }

    fn is_layer(self) -> bool {
        matches!(self, Self::Plain | Self::Gzip | Self::Zstd)
    }
}

/// Counts what a decoder takes.
pub(super) struct Counted<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.taken.set(self.taken.get() + count as u64);
    }
}

enum Decoder<R: BufRead> {
    Plain(R),
    // Reads member after member and takes anything but another member as damage.
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

/// The uncompressed bytes of a stream.
pub(crate) struct Inflate<'a, R: BufRead> {
    decoder: Decoder<Counted<R>>,
    compression: Compression,
    limits: &'a Limits,
    taken: Rc<Cell<u64>>,
    given: u64,
}

impl<'a, R: BufRead> Inflate<'a, R> {
    pub(crate) fn new(
        mut input: R,
        declared: Option<Compression>,
        limits: &'a Limits,
    ) -> Result<Self, Error> {
        let start = input.fill_buf().map_err(|error| input_error(&error))?;
        let compression = Found::of(start).agree(declared)?;
        let taken = Rc::new(Cell::new(0));
        let counted = Counted {
            inner: input,
            taken: Rc::clone(&taken),
        };
        let decoder = match compression {
            Compression::Plain => Decoder::Plain(counted),
            Compression::Gzip => {
                Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(counted)))
            }
            Compression::Zstd => {
                let damaged = |_error| Error::Damaged { compression, at: 0 };
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(counted).map_err(damaged)?;
                decoder
                    .window_log_max(limits.zstd_window_log)
                    .map_err(damaged)?;
                Decoder::Zstd(decoder)
            }
        };
        Ok(Self {
            decoder,
            compression,
            limits,
            taken,
            given: 0,
        })
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// Fills `out` as far as the stream goes; less than its length only at the end.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let mut count = 0;
        while count < out.len() {
            let space = &mut out[count..];
            let result = match &mut self.decoder {
                Decoder::Plain(reader) => reader.read(space),
                Decoder::Gzip(reader) => reader.read(space),
                Decoder::Zstd(reader) => reader.read(space),
            };
            match result {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        self.given += count as u64;
        self.check()?;
        Ok(count)
    }

    fn check(&self) -> Result<(), Error> {
        let limits = self.limits;
        if self.given > limits.plain {
            return Err(Error::Limit {
                bound: Bound::Plain,
                limit: limits.plain,
            });
        }
        let allowed = limits.ratio.saturating_mul(self.taken.get());
        if self.given > limits.ratio_from && self.given > allowed {
            return Err(Error::Limit {
                bound: Bound::Ratio,
                limit: limits.ratio,
            });
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Error {
        match input_error(error) {
            stopped @ Error::Stopped => stopped,
            input if error.raw_os_error().is_some() => input,
            _ => Error::Damaged {
                compression: self.compression,
                at: self.given,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(
        data: &[u8],
        declared: Option<Compression>,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let mut inflate = Inflate::new(data, declared, limits)?;
        let mut out = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = inflate.fill(&mut buffer)?;
            if count == 0 {
                return Ok(out);
            }
            out.extend_from_slice(&buffer[..count]);
        }
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::read::GzEncoder::new(data, flate2::Compression::best());
        let mut out = Vec::new();
        encoder.read_to_end(&mut out).expect("to memory");
        out
    }

    fn damaged(compression: Compression, at: u64) -> Result<Vec<u8>, Error> {
        Err(Error::Damaged { compression, at })
    }

    #[test]
    fn members_of_gzip_follow_each_other_and_nothing_else_does() {
        let limits = Limits::default();
        let two = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(inflate(&two, None, &limits), Ok(b"onetwo".to_vec()));
        let junk = [gzip(b"one"), b"junk".to_vec()].concat();
        assert_eq!(inflate(&junk, None, &limits), damaged(Compression::Gzip, 0));
        let mut many = Vec::new();
        for _ in 0..100_000 {
            many.extend_from_slice(&gzip(b""));
        }
        assert_eq!(inflate(&many, None, &limits), Ok(Vec::new()));
    }

    #[test]
    fn checksum_and_size_of_a_gzip_member_count() {
        let good = gzip(b"some text");
        for back in [1, 5] {
            let mut bad = good.clone();
            let at = bad.len() - back;
            bad[at] ^= 1;
            let answer = inflate(&bad, None, &Limits::default());
            assert_eq!(answer, damaged(Compression::Gzip, 0), "byte {at}");
        }
        for length in 2..good.len() {
            let answer = inflate(&good[..length], None, &Limits::default());
            assert_eq!(answer, damaged(Compression::Gzip, 0), "cut to {length}");
        }
    }

    #[test]
    fn an_endless_name_in_a_gzip_header_is_damage() {
        let mut data = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
        data.resize(1 << 20, b'a');
        assert_eq!(
            inflate(&data, None, &Limits::default()),
            damaged(Compression::Gzip, 0)
        );
    }

    #[test]
    fn a_zstd_window_beyond_the_limit_is_refused() {
        use std::io::Write as _;
        let make = |log| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
            encoder.window_log(log).expect("a window");
            encoder.write_all(&[7; 1000]).expect("to memory");
            encoder.finish().expect("to memory")
        };
        let limits = Limits::default();
        assert_eq!(inflate(&make(25), None, &limits), Ok(vec![7; 1000]));
        let answer = inflate(&make(26), None, &limits);
        assert_eq!(answer, damaged(Compression::Zstd, 0));
        let cut = &make(20)[..10];
        assert_eq!(inflate(cut, None, &limits), damaged(Compression::Zstd, 0));
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..], &make(20)].concat();
        assert_eq!(inflate(&skippable, None, &limits), Ok(vec![7; 1000]));
        let junk = [&make(20)[..], b"junk"].concat();
        assert_eq!(inflate(&junk, None, &limits), damaged(Compression::Zstd, 0));
    }

    #[test]
    fn bombs_end_at_the_ratio_and_at_the_size() {
        let bomb = gzip(&vec![0; 8 << 20]);
        let limits = Limits {
            ratio_from: 1 << 20,
            ..Limits::default()
        };
        let limit = |bound, limit| Err(Error::Limit { bound, limit });
        assert_eq!(inflate(&bomb, None, &limits), limit(Bound::Ratio, 250));
        let limits = Limits {
            plain: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(inflate(&bomb, None, &limits), limit(Bound::Plain, 1 << 20));
    }

    #[test]
    fn the_bytes_must_be_what_the_media_type_says() {
        let limits = Limits::default();
        let answer = |data: &[u8], declared| inflate(data, Some(declared), &limits).err();
        for (declared, found, data) in [
            (Compression::Gzip, Found::Plain, &b"text"[..]),
            (Compression::Gzip, Found::Zstd, b"\x28\xb5\x2f\xfd\0"),
            (Compression::Zstd, Found::Gzip, b"\x1f\x8b\x08\0"),
            (Compression::Plain, Found::Gzip, b"\x1f\x8b\x08\0"),
            (Compression::Plain, Found::Xz, b"\xfd7zXZ\0\0"),
            (Compression::Gzip, Found::Xz, b"\xfd7zXZ\0\0"),
        ] {
            let expected = Error::Compression { declared, found };
            assert_eq!(answer(data, declared), Some(expected));
        }
        assert_eq!(
            inflate(b"\xfd7zXZ\0\0", None, &limits),
            Err(Error::Unsupported { found: Found::Xz })
        );
    }
}
