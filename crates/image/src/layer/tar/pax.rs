//! Extended headers of POSIX [pax(1)], with the records that GNU tar and star add.
//!
//! A record is `LENGTH SPACE KEY=VALUE NEWLINE`, the length counting itself. A length that lies would make
//! two readers see different records, so it is refused.
//!
//! [pax(1)]: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html

use super::super::error::Rule;
use super::{MAX_XATTR, MAX_XATTRS};

/// What an extended header says about the entry after it.
#[derive(Debug, Default, Clone)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i128>,
    pub(super) gid: Option<i128>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<PaxSparse>,
}

/// GNU.sparse.*: formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default, Clone)]
pub(super) struct PaxSparse {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths in turn, as they come.
    pub(super) map: Vec<u64>,
    /// `GNU.sparse.numblocks`.
    pub(super) count: Option<u64>,
}

impl Pax {
    /// Reads all records of one header.
    pub(super) fn parse(mut data: &[u8], max_regions: usize) -> Result<Self, Rule> {
        let mut pax = Self::default();
        while !data.is_empty() {
            let (body, rest) = record(data)?;
            let equals = body.iter().position(|byte| *byte == b'=');
            let equals = equals.filter(|at| *at > 0).ok_or(Rule::PaxRecord)?;
            pax.set(&body[..equals], &body[equals + 1..], max_regions)?;
            data = rest;
        }
        Ok(pax)
    }

    /// The records of a global header that are defaults for entries.
    pub(super) fn parse_global(data: &[u8], max_regions: usize) -> Result<Self, Rule> {
        let pax = Self::parse(data, max_regions)?;
        let of_one_entry = pax.path.is_some()
            || pax.linkpath.is_some()
            || pax.size.is_some()
            || pax.sparse.is_some()
            || !pax.xattrs.is_empty();
        if of_one_entry {
            return Err(Rule::Global);
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8], max_regions: usize) -> Result<(), Rule> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.set_xattr(name, value);
        }
        if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            return self.set_sparse(name, value, max_regions);
        }
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.linkpath = Some(name(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?.into()),
            b"gid" => self.gid = Some(decimal(value)?.into()),
            b"mtime" => self.mtime = Some(time(value)?),
            // POSIX: what is not known is passed over. atime, ctime and the names of owners are among it.
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), Rule> {
        // XATTR_NAME_MAX.
        if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > MAX_XATTR {
            return Err(Rule::XattrSize);
        }
        self.xattrs.retain(|(other, _)| other != name);
        if self.xattrs.len() == MAX_XATTRS {
            return Err(Rule::XattrCount);
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn set_sparse(&mut self, key: &[u8], value: &[u8], max_regions: usize) -> Result<(), Rule> {
        let sparse = self.sparse.get_or_insert_default();
        match key {
            b"major" => sparse.major = decimal(value)?,
            b"minor" => sparse.minor = decimal(value)?,
            b"name" => sparse.name = Some(name(value)?),
            b"size" | b"realsize" => sparse.real_size = Some(decimal(value)?),
            b"numblocks" => sparse.count = Some(decimal(value)?),
            b"offset" => sparse.push(decimal(value)?, 0, max_regions)?,
            b"numbytes" => sparse.push(decimal(value)?, 1, max_regions)?,
            b"map" => {
                for part in value.split(|byte| *byte == b',') {
                    let parity = sparse.map.len() % 2;
                    sparse.push(decimal(part)?, parity, max_regions)?;
                }
            }
            _ => return Err(Rule::Sparse),
        }
        Ok(())
    }
}

impl PaxSparse {
    /// `parity`: 0 for an offset, 1 for a length; they must alternate.
    fn push(&mut self, value: u64, parity: usize, max_regions: usize) -> Result<(), Rule> {
        if self.map.len() % 2 != parity {
            return Err(Rule::Sparse);
        }
        if self.map.len() >= 2 * max_regions {
            return Err(Rule::SparseCount);
        }
        self.map.push(value);
        Ok(())
    }
}

/// The first record without its length and newline, and what follows it.
fn record(data: &[u8]) -> Result<(&[u8], &[u8]), Rule> {
    // A length has at most seven digits: the header is limited to 1 MiB.
    let space = data.iter().take(8).position(|byte| *byte == b' ');
    let space = space.ok_or(Rule::PaxRecord)?;
    let length = decimal(&data[..space]).map_err(|_malformed| Rule::PaxRecord)?;
    let length = usize::try_from(length).map_err(|_large| Rule::PaxRecord)?;
    let body = data.get(space + 1..length).ok_or(Rule::PaxRecord)?;
    let body = body.strip_suffix(b"\n").ok_or(Rule::PaxRecord)?;
    Ok((body, &data[length..]))
}

fn name(value: &[u8]) -> Result<Vec<u8>, Rule> {
    if value.contains(&0) {
        return Err(Rule::NameNul);
    }
    if value.is_empty() {
        return Err(Rule::NameEmpty);
    }
    Ok(value.to_vec())
}

pub(super) fn decimal(text: &[u8]) -> Result<u64, Rule> {
    if text.is_empty() {
        return Err(Rule::PaxValue);
    }
    text.iter().try_fold(0u64, |value, digit| {
        if !digit.is_ascii_digit() {
            return Err(Rule::PaxValue);
        }
        value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .ok_or(Rule::PaxValue)
    })
}

/// Seconds with any number of decimals; cut to nanoseconds, rounded down.
fn time(text: &[u8]) -> Result<(i64, u32), Rule> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text
        .iter()
        .position(|byte| *byte == b'.')
        .unwrap_or(text.len());
    let seconds = text[..dot].iter().try_fold(0i64, |value, digit| {
        if !digit.is_ascii_digit() {
            return Err(Rule::PaxValue);
        }
        Ok(value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0')))
    })?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if text.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return Err(Rule::PaxValue);
    }
    let nanos = fraction
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(9)
        .fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    Ok(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_whose_length_lies_is_refused() {
        for data in [
            &b"12 path=ab\n"[..],
            b"10 path=ab\n",
            b"0 path=ab\n",
            b"4 a=\n",
            b"99 path=ab\n",
            b"11 path ab\n",
            b"11 path=abc",
            b" path=ab\n",
            b"00000000011 path=ab\n",
            b"6 =ab\n",
            b"18446744073709551616 path=ab\n",
        ] {
            let answer = Pax::parse(data, 8).map(|pax| pax.path);
            assert_eq!(answer, Err(Rule::PaxRecord), "{}", data.escape_ascii());
        }
        assert_eq!(
            Pax::parse(b"11 path=ab\n", 8).map(|pax| pax.path),
            Ok(Some(b"ab".to_vec()))
        );
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let pax = Pax::parse(b"10 path=a\n10 path=b\n", 8).expect("well formed");
        assert_eq!(pax.path, Some(b"b".to_vec()));
    }

    #[test]
    fn times_are_cut_to_nanoseconds_and_rounded_down() {
        for (text, value) in [
            (&b"12"[..], Ok((12, 0))),
            (b"12.5", Ok((12, 500_000_000))),
            (b"1.99999999999", Ok((1, 999_999_999))),
            (b"-1.5", Ok((-2, 500_000_000))),
            (b"99999999999999999999", Ok((i64::MAX, 0))),
            (b"", Err(Rule::PaxValue)),
            (b"1e9", Err(Rule::PaxValue)),
            (b"--1", Err(Rule::PaxValue)),
        ] {
            assert_eq!(time(text), value, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_global_header_cannot_name_an_entry() {
        assert_eq!(
            Pax::parse_global(b"11 path=ab\n", 8).map(|pax| pax.path),
            Err(Rule::Global)
        );
        assert_eq!(
            Pax::parse_global(b"9 uid=77\n", 8).map(|pax| pax.uid),
            Ok(Some(77))
        );
    }
}
