//! bpf(2).

#![allow(unsafe_code, reason = "bpf(2) has no wrapper")]

use std::io;

const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;

/// The part of `union bpf_attr` that BPF_PROG_GET_NEXT_ID uses.
#[repr(C)]
#[derive(Default)]
struct NextId {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Ids of all loaded programs, since Linux 4.13. Needs CAP_SYS_ADMIN (EPERM).
pub(crate) fn bpf_program_ids() -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut attr = NextId::default();
    loop {
        // SAFETY: the kernel reads and writes within the size it is told, which is the local's own.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_GET_NEXT_ID,
                &raw mut attr,
                size_of_val(&attr),
            )
        };
        if answer == 0 {
            ids.push(attr.next_id);
            attr = NextId {
                start_id: attr.next_id,
                ..NextId::default()
            };
            continue;
        }
        let error = io::Error::last_os_error();
        // The end of the list.
        return if error.raw_os_error() == Some(libc::ENOENT) {
            Ok(ids)
        } else {
            Err(error)
        };
    }
}
