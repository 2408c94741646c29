//! Netlink messages and attributes ([`netlink(7)`]), written and read.
//!
//! Integers of nf_tables are big endian whatever the machine; lengths and types of the frame are
//! the machine's own.
//!
//! [`netlink(7)`]: https://man7.org/linux/man-pages/man7/netlink.7.html

/// `struct nlmsghdr` and, behind it, `struct nfgenmsg`.
pub(crate) const HEADER: usize = 16;
pub(crate) const NFGEN: usize = 4;

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// Writes messages one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// One message: its headers, and what `body` writes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        nfgen: [u8; NFGEN],
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(nfgen);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.header(kind, value.len());
        self.bytes.extend(value);
        self.pad();
    }

    /// With the zero byte that the kernel wants behind every string.
    pub(crate) fn string(&mut self, kind: u16, value: &str) {
        self.header(kind, value.len() + 1);
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// The caller keeps the inside below 64 KiB: the length has 16 bits.
    pub(crate) fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.header(kind | libc::NLA_F_NESTED as u16, 0);
        inside(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn header(&mut self, kind: u16, length: usize) {
        self.bytes.extend(((length + 4) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

/// The attributes of a message or of a nest, in order. What is cut short ends them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attrs<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & libc::NLA_TYPE_MASK as u16;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attrs<'a> {
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        { self }
            .find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }

    pub(crate) fn nest(self, kind: u16) -> Attrs<'a> {
        Attrs(self.get(kind).unwrap_or_default())
    }

    pub(crate) fn be32(self, kind: u16) -> Option<u32> {
        let bytes = self.get(kind)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// Up to the zero byte. What is not UTF-8, which no name of ours is, is shown as well as can be.
    pub(crate) fn string(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|byte| *byte == 0);
        let bytes = &bytes[..end.unwrap_or(bytes.len())];
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// One message of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Behind `struct nlmsghdr`.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn attrs(&self) -> Attrs<'a> {
        Attrs(self.body.get(NFGEN..).unwrap_or_default())
    }

    pub(crate) fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or_default()
    }
}

/// The messages of one datagram. What is cut short ends them.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = u32_at(self.0, 0)? as usize;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            body: self.0.get(HEADER..length)?,
        };
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(message)
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u16::from_ne_bytes(*bytes))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_what_is_cut_short_ends() {
        let mut writer = Writer::default();
        writer.message(0xa00, 5, 7, [1, 0, 0, 0], |w| {
            w.string(1, "ctr");
            w.nested(2, |w| w.be32(3, 9));
        });
        let message = Messages(&writer.bytes).next().expect("message");
        assert_eq!(
            (message.kind, message.flags, message.sequence),
            (0xa00, 5, 7)
        );
        assert_eq!(message.family(), 1);
        assert_eq!(message.attrs().string(1).as_deref(), Some("ctr"));
        assert_eq!(message.attrs().nest(2).be32(3), Some(9));

        for cut in 0..writer.bytes.len() {
            assert!(Messages(&writer.bytes[..cut]).next().is_none(), "{cut}");
        }
        let body = &writer.bytes[HEADER + NFGEN..];
        for cut in 0..body.len() {
            for (_, value) in Attrs(&body[..cut]) {
                assert!(value.len() < cut);
            }
        }
    }

    #[test]
    fn a_length_below_its_header_ends_the_walk() {
        assert!(Attrs(&[3, 0, 1, 0, 0, 0, 0, 0]).next().is_none());
        assert!(Messages(&[0; 32]).next().is_none());
    }
}
