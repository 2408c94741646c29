//! Archives written byte by byte: no library stands between a test and what it wants to say wrongly.

#![allow(dead_code, reason = "each test program uses a part of it")]

/// A header, every field as raw bytes.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) block: [u8; 512],
    pub(crate) data: Vec<u8>,
    /// Added to the checksum.
    pub(crate) off: u32,
}

pub(crate) fn octal(value: u64, width: usize) -> Vec<u8> {
    format!("{value:0width$o}\0", width = width - 1).into_bytes()
}

pub(crate) fn base256(value: i128, width: usize) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let mut field = bytes[16 - width..].to_vec();
    field[0] |= 0x80;
    field
}

impl Head {
    pub(crate) fn new(name: &[u8], flag: u8) -> Self {
        let mut head = Self {
            block: [0; 512],
            data: Vec::new(),
            off: 0,
        };
        head.put(0, name);
        head.put(100, b"0000644\0");
        head.put(108, b"0000000\0");
        head.put(116, b"0000000\0");
        head.put(124, b"00000000000\0");
        head.put(136, b"10000000000\0");
        head.block[156] = flag;
        head.put(257, b"ustar\x0000");
        head
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        self.with(100, &octal(mode.into(), 8))
    }

    pub(crate) fn owner(self, uid: u32, gid: u32) -> Self {
        self.with(108, &octal(uid.into(), 8))
            .with(116, &octal(gid.into(), 8))
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.with(157, target)
    }

    pub(crate) fn device(self, major: u64, minor: u64) -> Self {
        self.with(329, &octal(major, 8)).with(337, &octal(minor, 8))
    }

    pub(crate) fn gnu(self) -> Self {
        self.with(257, b"ustar  \0")
    }

    pub(crate) fn v7(self) -> Self {
        self.with(257, &[0; 8])
    }

    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self.with(124, &octal(data.len() as u64, 12))
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.with(124, &octal(size, 12))
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.put(148, b"        ");
        let sum: u32 = self.block.iter().map(|byte| u32::from(*byte)).sum();
        self.put(148, format!("{:06o}\0 ", sum + self.off).as_bytes());
        let mut out = self.block.to_vec();
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

pub(crate) fn file(name: &str, data: &str) -> Vec<u8> {
    Head::new(name.as_bytes(), b'0')
        .data(data.as_bytes())
        .bytes()
}

pub(crate) fn dir(name: &str) -> Vec<u8> {
    Head::new(name.as_bytes(), b'5').mode(0o755).bytes()
}

pub(crate) fn symlink(name: &str, target: &str) -> Vec<u8> {
    linked(Head::new(name.as_bytes(), b'2'), target)
}

pub(crate) fn hard(name: &str, target: &str) -> Vec<u8> {
    linked(Head::new(name.as_bytes(), b'1'), target)
}

/// The field has 100 bytes; the path of a temporary directory may be longer.
fn linked(head: Head, target: &str) -> Vec<u8> {
    let target = target.as_bytes();
    if target.len() <= 100 {
        return head.link(target).bytes();
    }
    let mut bytes = long(b'K', target);
    bytes.extend(head.link(&target[..100]).bytes());
    bytes
}

pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

pub(crate) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let data: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key.as_bytes(), value))
        .collect();
    Head::new(b"PaxHeaders/x", b'x').data(&data).bytes()
}

pub(crate) fn long(flag: u8, name: &[u8]) -> Vec<u8> {
    let data = [name, b"\0"].concat();
    Head::new(b"././@LongLink", flag).gnu().data(&data).bytes()
}

/// The parts, and the end of an archive.
pub(crate) fn tar<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let mut out: Vec<u8> = parts
        .iter()
        .flat_map(|part| part.as_ref().to_vec())
        .collect();
    out.resize(out.len() + 1024, 0);
    out
}
