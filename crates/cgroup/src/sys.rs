//! bpf(2): no crate among the dependencies wraps it.
#![allow(unsafe_code, reason = "bpf(2) takes a union of structs, by pointer")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// `struct bpf_insn` of [`linux/bpf.h`](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    /// Destination register in the low half, source in the high half: the order of C bit fields
    /// on a little-endian machine. `Insn::new` knows about the other.
    registers: u8,
    pub(crate) off: i16,
    pub(crate) imm: i32,
}

impl Insn {
    pub(crate) fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        let registers = if cfg!(target_endian = "little") {
            src << 4 | dst
        } else {
            dst << 4 | src
        };
        Self {
            code,
            registers,
            off,
            imm,
        }
    }

    #[cfg(test)]
    pub(crate) fn dst(self) -> u8 {
        if cfg!(target_endian = "little") {
            self.registers & 0xf
        } else {
            self.registers >> 4
        }
    }

    #[cfg(test)]
    pub(crate) fn src(self) -> u8 {
        if cfg!(target_endian = "little") {
            self.registers >> 4
        } else {
            self.registers & 0xf
        }
    }
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_QUERY: libc::c_long = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// `union bpf_attr` as `BPF_PROG_LOAD` reads it, up to the name.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `union bpf_attr` as `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` read it.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// `union bpf_attr` as `BPF_PROG_QUERY` reads and writes it.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

/// # Safety
///
/// `attr` is a prefix of `union bpf_attr` without padding, and every pointer in it is valid for what
/// `command` does with it until the call returns.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads, and for a query writes, `size_of::<T>()` bytes at `attr`, which is
    // borrowed mutably for the call; the pointers inside are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    }
    Ok(result)
}

/// `BPF_PROG_LOAD` of a program for the devices of a group.
pub(crate) fn load_device_program(insns: &[Insn]) -> Result<OwnedFd, Errno> {
    let license = c"MIT";
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(insns.len()).ok().ok_or(Errno::TOOBIG)?,
        insns: insns.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: *b"ctr_devices\0\0\0\0\0",
        ..Load::default()
    };
    // SAFETY: `insns` and `license` are borrowed until the end of the function; the kernel copies
    // `insn_cnt` instructions and the license up to its NUL, and writes to neither.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    let fd = i32::try_from(fd).ok().ok_or(Errno::BADF)?;
    // SAFETY: BPF_PROG_LOAD returns a new descriptor (close-on-exec) that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `BPF_PROG_ATTACH` beside those of others, or in place of `replaced`.
pub(crate) fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: raw(group),
        attach_bpf_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | replaced.map_or(0, |_| BPF_F_REPLACE),
        replace_bpf_fd: replaced.map_or(0, raw),
    };
    // SAFETY: the attributes hold no pointer; the descriptors are borrowed, so open.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// `BPF_PROG_DETACH`.
pub(crate) fn detach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: raw(group),
        attach_bpf_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: as for attaching.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// `BPF_PROG_QUERY`: the ids of the programs attached to this very group.
pub(crate) fn query_device_programs(group: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    // BPF_CGROUP_MAX_PROGS: there cannot be more.
    let mut ids = [0u32; 64];
    let mut attr = Query {
        target_fd: raw(group),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..Query::default()
    };
    // SAFETY: the kernel writes at most `prog_cnt` ids of four bytes to `ids`, which lives on this
    // stack and is not looked at before the call has returned.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    let count = (attr.prog_cnt as usize).min(ids.len());
    Ok(ids[..count].to_vec())
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}
