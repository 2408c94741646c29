//! One 512-byte header block: v7, ustar and GNU, as in [tar(5)] and POSIX pax(1).
//!
//! [tar(5)]: https://man.freebsd.org/cgi/man.cgi?query=tar&sektion=5

use super::super::error::Rule;

/// Size of a block, bytes.
pub(super) const BLOCK: usize = 512;

/// Which of the old formats a header is in: they use the bytes from 345 on differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Gnu,
}

/// A block whose checksum was right.
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// # Errors
    ///
    /// [`Rule::Checksum`]; both sums are taken: some old programs added signed bytes.
    pub(super) fn check(block: &'a [u8; BLOCK]) -> Result<Self, Rule> {
        let said = number(&block[148..156]).map_err(|_malformed| Rule::Checksum)?;
        let mut unsigned: i128 = 0;
        let mut signed: i128 = 0;
        for (at, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            };
            unsigned += i128::from(byte);
            signed += i128::from(byte.cast_signed());
        }
        if said == unsigned || said == signed {
            Ok(Self(block))
        } else {
            Err(Rule::Checksum)
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            // Solaris and old GNU write other versions; the layout is ustar's all the same.
            magic if magic.starts_with(b"ustar") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.0[156]
    }

    /// The name, with ustar's prefix before it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        let prefix = text(&self.0[345..500]);
        if self.dialect() != Dialect::Ustar || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    pub(super) fn mode(&self) -> Result<i128, Rule> {
        number(&self.0[100..108])
    }

    pub(super) fn uid(&self) -> Result<i128, Rule> {
        number(&self.0[108..116])
    }

    pub(super) fn gid(&self) -> Result<i128, Rule> {
        number(&self.0[116..124])
    }

    pub(super) fn size(&self) -> Result<u64, Rule> {
        unsigned(number(&self.0[124..136])?)
    }

    pub(super) fn mtime(&self) -> Result<i128, Rule> {
        number(&self.0[136..148])
    }

    /// Major and minor number; v7 has none.
    pub(super) fn device(&self) -> Result<(u32, u32), Rule> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let narrow = |value: i128| u32::try_from(value).map_err(|_large| Rule::Number);
        Ok((
            narrow(number(&self.0[329..337])?)?,
            narrow(number(&self.0[337..345])?)?,
        ))
    }

    /// The four regions of an old GNU sparse header, whether more follow, and the real size.
    pub(super) fn sparse(&self) -> Result<(Regions, bool, u64), Rule> {
        let regions = regions(&self.0[386..482])?;
        Ok((
            regions,
            self.0[482] != 0,
            unsigned(number(&self.0[483..495])?)?,
        ))
    }
}

/// Offsets and lengths, not yet checked.
pub(super) type Regions = Vec<(u64, u64)>;

/// The regions in an old GNU sparse header or in one of the blocks after it. The first empty slot is
/// the end.
pub(super) fn regions(slots: &[u8]) -> Result<Regions, Rule> {
    let mut regions = Vec::new();
    for slot in slots.chunks_exact(24) {
        if slot[0] == 0 {
            break;
        }
        regions.push((
            unsigned(number(&slot[..12])?)?,
            unsigned(number(&slot[12..])?)?,
        ));
    }
    Ok(regions)
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

pub(super) fn unsigned(value: i128) -> Result<u64, Rule> {
    if value < 0 {
        return Err(Rule::Negative);
    }
    u64::try_from(value).map_err(|_large| Rule::Number)
}

/// Octal digits, blanks around them, or GNU's base-256 with the top bit of the first byte set. An empty
/// field is 0.
fn number(field: &[u8]) -> Result<i128, Rule> {
    if field[0] & 0x80 != 0 {
        return base256(field);
    }
    let start = field
        .iter()
        .position(|byte| *byte != b' ')
        .unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits
        .iter()
        .position(|byte| *byte == 0 || *byte == b' ')
        .unwrap_or(digits.len());
    // What follows the terminator is not looked at: GNU tar leaves bytes there.
    digits[..end]
        .iter()
        .try_fold(0i128, |value, digit| match digit {
            b'0'..=b'7' => Ok(value * 8 + i128::from(digit - b'0')),
            _ => Err(Rule::Number),
        })
}

/// Two's complement, big endian, the top bit being the mark.
fn base256(field: &[u8]) -> Result<i128, Rule> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = match (at, negative) {
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        // Twelve bytes fit into i128 with room to spare, so nothing is shifted out.
        value = (value << 8) | i128::from(byte);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_blank_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b"  644 \0\0", Ok(0o644)),
            (b"\0\0\0\0\0\0\0\0", Ok(0)),
            (b"77777777", Ok(0o7777_7777)),
            (b"\x80\0\0\0\0\0\x01\0", Ok(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2)),
            (b"-1\0\0\0\0\0\0", Err(Rule::Number)),
            (b"0x1f\0\0\0\0", Err(Rule::Number)),
            (b"129\0\0\0\0\0", Err(Rule::Number)),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }
}
