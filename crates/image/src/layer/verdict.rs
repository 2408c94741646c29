//! How a child that unpacks a layer tells its parent what came of it: one message of fixed size.
//!
//! The child sends numbers and one bounded name, the parent owns the words. What does not read as a
//! verdict is none: the child handles hostile bytes, so its answer is outside data as well.

use rustix::io::Errno;

use super::error::{Bound, Call, Error, Rule, Shown};
use super::inflate::{Compression, Found};
use super::options::Applied;
use super::unpack::Unpacked;

/// Bytes of a verdict; fewer than PIPE_BUF, so it is written and read in one piece.
pub const VERDICT: usize = 512;

const MAGIC: [u8; 4] = *b"ctl\x01";
const KIND: usize = 4;
const FIRST: usize = 5;
const SECOND: usize = 6;
const LENGTH: usize = 7;
const ERRNO: usize = 8;
const VALUE: usize = 16;
const DIGESTS: usize = 24;
const COUNTS: usize = 88;
const NAME: usize = 256;

/// A verdict, on its way between processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(pub [u8; VERDICT]);

impl Verdict {
    /// What is sent for `result`.
    pub fn of(result: &Result<Unpacked, Error>) -> Self {
        let mut out = Self([0; VERDICT]);
        out.0[..4].copy_from_slice(&MAGIC);
        match result {
            Ok(unpacked) => out.unpacked(unpacked),
            Err(error) => out.error(error),
        }
        out
    }

    /// What was sent.
    ///
    /// # Errors
    ///
    /// The child's, or [`Error::NoVerdict`].
    pub fn read(&self) -> Result<Unpacked, Error> {
        if self.0[..4] != MAGIC {
            return Err(Error::NoVerdict);
        }
        match self.0[KIND] {
            0 => Ok(self.to_unpacked()),
            _ => Err(self.to_error().unwrap_or(Error::NoVerdict)),
        }
    }

    fn unpacked(&mut self, unpacked: &Unpacked) {
        self.0[DIGESTS..DIGESTS + 32].copy_from_slice(&unpacked.compressed);
        self.0[DIGESTS + 32..COUNTS].copy_from_slice(&unpacked.plain);
        let mut counts = counts(&unpacked.applied).to_vec();
        counts.extend([unpacked.compressed_size, unpacked.plain_size]);
        for (at, count) in counts.iter().enumerate() {
            self.put(COUNTS + 8 * at, *count);
        }
    }

    fn to_unpacked(&self) -> Unpacked {
        let digest = |at: usize| {
            let mut digest = [0; 32];
            digest.copy_from_slice(&self.0[at..at + 32]);
            digest
        };
        let count = |at: usize| self.get(COUNTS + 8 * at);
        Unpacked {
            compressed: digest(DIGESTS),
            plain: digest(DIGESTS + 32),
            applied: Applied {
                entries: count(0),
                bytes: count(1),
                files: count(2),
                directories: count(3),
                symlinks: count(4),
                hard_links: count(5),
                fifos: count(6),
                whiteouts: count(7),
                devices_skipped: count(8),
                xattrs_skipped: count(9),
                root_opaque: count(10) != 0,
            },
            compressed_size: count(11),
            plain_size: count(12),
        }
    }

    fn error(&mut self, error: &Error) {
        let mut set = |kind, first, second, value, errno: Option<Errno>, name: &[u8]| {
            self.0[KIND] = kind;
            self.0[FIRST] = first;
            self.0[SECOND] = second;
            // `Shown` holds at most 255 bytes.
            self.0[LENGTH] = name.len() as u8;
            self.0[NAME..NAME + name.len()].copy_from_slice(name);
            let errno = errno.map_or(0, Errno::raw_os_error);
            self.0[ERRNO..ERRNO + 4].copy_from_slice(&errno.to_le_bytes());
            self.put(VALUE, value);
        };
        match error {
            Error::Refused { entry, rule } => set(1, rule.number(), 0, 0, None, entry.bytes()),
            Error::Malformed { at, rule } => set(2, rule.number(), 0, *at, None, b""),
            Error::End { at } => set(3, 0, 0, *at, None, b""),
            Error::Limit { bound, limit } => set(4, bound.number(), 0, *limit, None, b""),
            Error::Call { entry, call, errno } => {
                set(5, call.number(), 0, 0, Some(*errno), entry.bytes());
            }
            Error::Compression { declared, found } => {
                set(6, declared.number(), found.number(), 0, None, b"");
            }
            Error::Unsupported { found } => set(7, 0, found.number(), 0, None, b""),
            Error::Damaged { compression, at } => {
                set(8, compression.number(), 0, *at, None, b"");
            }
            Error::Input { errno } => set(9, 0, 0, 0, Some(*errno), b""),
            Error::Sandbox { call, errno } => {
                set(10, call.number(), 0, 0, Some(*errno), b"");
            }
            Error::NoVerdict | Error::Stopped => set(255, 0, 0, 0, None, b""),
        }
    }

    fn to_error(&self) -> Option<Error> {
        let (first, second, value) = (self.0[FIRST], self.0[SECOND], self.get(VALUE));
        let name = &self.0[NAME..NAME + usize::from(self.0[LENGTH])];
        let entry = Shown::new(name);
        let errno = || {
            let bytes = self.0[ERRNO..ERRNO + 4].try_into().ok()?;
            let number = i32::from_le_bytes(bytes);
            // What the kernel's interface allows; rustix does not take others.
            (1..4096)
                .contains(&number)
                .then(|| Errno::from_raw_os_error(number))
        };
        Some(match self.0[KIND] {
            1 => Error::Refused {
                entry,
                rule: Rule::from_number(first)?,
            },
            2 => Error::Malformed {
                at: value,
                rule: Rule::from_number(first)?,
            },
            3 => Error::End { at: value },
            4 => Error::Limit {
                bound: Bound::from_number(first)?,
                limit: value,
            },
            5 => Error::Call {
                entry,
                call: Call::from_number(first)?,
                errno: errno()?,
            },
            6 => Error::Compression {
                declared: Compression::from_number(first)?,
                found: Found::from_number(second)?,
            },
            7 => Error::Unsupported {
                found: Found::from_number(second)?,
            },
            8 => Error::Damaged {
                compression: Compression::from_number(first)?,
                at: value,
            },
            9 => Error::Input { errno: errno()? },
            10 => Error::Sandbox {
                call: Call::from_number(first)?,
                errno: errno()?,
            },
            _ => return None,
        })
    }

    fn put(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn get(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }
}

fn counts(applied: &Applied) -> [u64; 11] {
    [
        applied.entries,
        applied.bytes,
        applied.files,
        applied.directories,
        applied.symlinks,
        applied.hard_links,
        applied.fifos,
        applied.whiteouts,
        applied.devices_skipped,
        applied.xattrs_skipped,
        applied.root_opaque.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_read() {
        let errors = [
            Error::refused(b"a/\x1b/b", Rule::Acl),
            Error::refused(&[b'x'; 300], Rule::DotDot),
            Error::Malformed {
                at: 1 << 40,
                rule: Rule::Checksum,
            },
            Error::End { at: 7 },
            Error::Limit {
                bound: Bound::Ratio,
                limit: 9,
            },
            Error::call(b"x", Call::Chown)(Errno::INVAL),
            Error::Compression {
                declared: Compression::Gzip,
                found: Found::Xz,
            },
            Error::Unsupported { found: Found::Zip },
            Error::Damaged {
                compression: Compression::Zstd,
                at: 3,
            },
            Error::Input { errno: Errno::IO },
            Error::Sandbox {
                call: Call::Enter,
                errno: Errno::PERM,
            },
        ];
        for error in errors {
            let sent = Verdict::of(&Err(error.clone()));
            assert_eq!(sent.read(), Err(error));
        }
        let unpacked = Unpacked {
            compressed: [1; 32],
            compressed_size: 2,
            plain: [3; 32],
            plain_size: 4,
            applied: Applied {
                entries: 5,
                xattrs_skipped: 6,
                root_opaque: true,
                ..Applied::default()
            },
        };
        assert_eq!(Verdict::of(&Ok(unpacked.clone())).read(), Ok(unpacked));
    }

    #[test]
    fn rubbish_is_no_verdict() {
        assert_eq!(Verdict([0; VERDICT]).read(), Err(Error::NoVerdict));
        assert_eq!(Verdict([255; VERDICT]).read(), Err(Error::NoVerdict));
        for kind in 1..=255 {
            let mut bytes = [255; VERDICT];
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[KIND] = kind;
            let error = Verdict(bytes).read().expect_err("not a success");
            let by_number_alone = matches!(kind, 3);
            assert_eq!(error == Error::NoVerdict, !by_number_alone, "kind {kind}");
        }
    }
}
