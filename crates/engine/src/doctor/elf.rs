//! Enough of [`elf(5)`] to say why the kernel would not run a program.
//!
//! The checks are those of [`load_elf_binary`], in its order. All of it is pure, over bytes that
//! may be hostile: fields are read by checked offsets, and nothing is sized by what a file says.
//!
//! [`elf(5)`]: https://man7.org/linux/man-pages/man5/elf.5.html
//! [`load_elf_binary`]: https://elixir.bootlin.com/linux/v6.12/source/fs/binfmt_elf.c

/// Magic number at the start of the file.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// Program headers the kernel reads at most, in bytes (`ELF_MIN_ALIGN` aside, 64 KiB).
const MAX_HEADERS: usize = 65_536;

/// Longest path of an interpreter, `PATH_MAX`.
const MAX_INTERPRETER: u64 = 4096;

const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const ET_CORE: u16 = 4;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

pub(super) const EM_386: u16 = 3;
pub(super) const EM_ARM: u16 = 40;
pub(super) const EM_X86_64: u16 = 62;
pub(super) const EM_AARCH64: u16 = 183;

/// The file header, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_64_bit: bool,
    big_endian: bool,
    pub(super) machine: u16,
    kind: u16,
    headers_at: u64,
    header_size: u16,
    header_count: u16,
}

/// Where to read the program headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// What the program headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The path of the dynamic loader lies here.
    pub(super) interpreter: Option<Span>,
    /// Bytes the file must have for what is loaded from it.
    pub(super) needs_bytes: u64,
}

/// A file in one byte order.
struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Reader<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut field: [u8; N] = self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()?;
        if self.big_endian {
            field.reverse();
        }
        Some(field)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// An address-sized field.
    fn word(&self, at: usize, is_64_bit: bool) -> Option<u64> {
        if is_64_bit {
            self.array(at).map(u64::from_le_bytes)
        } else {
            self.u32(at).map(u64::from)
        }
    }
}

/// Reads the header from the first bytes of a file that starts with [`MAGIC`].
pub(super) fn header(bytes: &[u8]) -> Result<Header, &'static str> {
    const SHORT: &str = "the file ends within its ELF header";
    let is_64_bit = match bytes.get(4).ok_or(SHORT)? {
        1 => false,
        2 => true,
        _ => return Err("its ELF class is neither 32 nor 64 bit"),
    };
    let big_endian = match bytes.get(5).ok_or(SHORT)? {
        1 => false,
        2 => true,
        _ => return Err("its ELF byte order is neither little nor big endian"),
    };
    let read = Reader { bytes, big_endian };
    let field =
        |at64: usize, at32: usize| read.u16(if is_64_bit { at64 } else { at32 }).ok_or(SHORT);
    Ok(Header {
        is_64_bit,
        big_endian,
        kind: field(16, 16)?,
        machine: field(18, 18)?,
        headers_at: read
            .word(if is_64_bit { 32 } else { 28 }, is_64_bit)
            .ok_or(SHORT)?,
        header_size: field(54, 42)?,
        header_count: field(56, 44)?,
    })
}

impl Header {
    /// What it is when it is no program.
    pub(super) fn not_a_program(&self) -> Option<&'static str> {
        match self.kind {
            ET_EXEC | ET_DYN => None,
            ET_REL => Some("an object file that was not linked"),
            ET_CORE => Some("a core dump"),
            _ => Some("an ELF file of an unknown type"),
        }
    }

    /// Where the program headers are.
    pub(super) fn program_headers(&self) -> Result<Span, &'static str> {
        if self.header_size != self.size_of_header() {
            return Err("its program headers have a wrong size");
        }
        if self.header_count == 0 {
            return Err("it has no program headers");
        }
        let length = usize::from(self.header_size) * usize::from(self.header_count);
        if length > MAX_HEADERS {
            return Err("it has too many program headers");
        }
        Ok(Span {
            offset: self.headers_at,
            length,
        })
    }

    fn size_of_header(&self) -> u16 {
        if self.is_64_bit { 56 } else { 32 }
    }

    /// Reads the program headers from what [`Header::program_headers`] pointed at.
    pub(super) fn layout(&self, bytes: &[u8], span: Span) -> Result<Layout, &'static str> {
        if bytes.len() < span.length {
            return Err("the file ends within its program headers");
        }
        let mut layout = Layout {
            interpreter: None,
            needs_bytes: 0,
        };
        let mut loads = 0;
        for header in bytes.chunks_exact(usize::from(self.size_of_header())) {
            const SHORT: &str = "the file ends within its program headers";
            let read = Reader {
                bytes: header,
                big_endian: self.big_endian,
            };
            let (offset_at, size_at) = if self.is_64_bit { (8, 32) } else { (4, 16) };
            let kind = read.u32(0).ok_or(SHORT)?;
            let offset = read.word(offset_at, self.is_64_bit).ok_or(SHORT)?;
            let size = read.word(size_at, self.is_64_bit).ok_or(SHORT)?;
            match kind {
                PT_LOAD => {
                    loads += 1;
                    let end = offset
                        .checked_add(size)
                        .ok_or("a segment of it has no end")?;
                    layout.needs_bytes = layout.needs_bytes.max(end);
                }
                PT_INTERP if layout.interpreter.is_none() => {
                    let length = usize::try_from(size)
                        .ok()
                        .filter(|_| (2..=MAX_INTERPRETER).contains(&size))
                        .ok_or("the path of its loader is empty or too long")?;
                    layout.interpreter = Some(Span { offset, length });
                }
                _ => {}
            }
        }
        if loads == 0 {
            return Err("nothing of it is to be loaded");
        }
        Ok(layout)
    }
}

/// The path that a `PT_INTERP` segment holds: everything up to its terminating NUL.
pub(super) fn interpreter(bytes: &[u8], span: Span) -> Result<&[u8], &'static str> {
    if bytes.len() < span.length {
        return Err("the file ends within the path of its loader");
    }
    let (last, _) = bytes
        .split_last()
        .ok_or("the path of its loader is empty")?;
    if *last != 0 {
        return Err("the path of its loader is not terminated");
    }
    bytes
        .split(|byte| *byte == 0)
        .next()
        .filter(|path| !path.is_empty())
        .ok_or("the path of its loader is empty")
}

/// A machine as people call it.
pub(super) fn machine_name(machine: u16, is_64_bit: bool, big_endian: bool) -> String {
    match (machine, is_64_bit) {
        (2, _) => "sparc".into(),
        (EM_386, _) => "i386 (32-bit x86)".into(),
        (8, false) => {
            if big_endian {
                "mips".into()
            } else {
                "mipsel".into()
            }
        }
        (8, true) => {
            if big_endian {
                "mips64".into()
            } else {
                "mips64el".into()
            }
        }
        (20, _) => "ppc (32-bit PowerPC)".into(),
        (21, _) => {
            if big_endian {
                "ppc64".into()
            } else {
                "ppc64le".into()
            }
        }
        (22, _) => "s390x".into(),
        (EM_ARM, _) => "arm (32-bit)".into(),
        (43, _) => "sparc64".into(),
        (EM_X86_64, true) => "x86_64".into(),
        (EM_X86_64, false) => "x32 (x86_64 with 32-bit pointers)".into(),
        (EM_AARCH64, _) => "aarch64".into(),
        (243, true) => "riscv64".into(),
        (243, false) => "riscv32".into(),
        (258, _) => "loongarch64".into(),
        (247, _) => "eBPF".into(),
        (other, _) => format!("machine {other} (e_machine)"),
    }
}

impl Header {
    /// Its machine as people call it.
    pub(super) fn machine_name(&self) -> String {
        machine_name(self.machine, self.is_64_bit, self.big_endian)
    }
}
