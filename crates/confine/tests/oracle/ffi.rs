//! The few functions of libseccomp this needs, declared here because the crate `libseccomp` links the shared
//! library, which a static program cannot load.

#![allow(unsafe_code, reason = "calls into a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use confine::seccomp::{Action, Arch, Comparison, Condition};

/// `struct scmp_arg_cmp`
#[repr(C)]
struct ArgCompare {
    arg: c_uint,
    op: c_uint,
    datum_a: u64,
    datum_b: u64,
}

// Not bundled, so that it is the linker that looks for the archive, in its own directories.
#[link(name = "seccomp", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {
    fn seccomp_init(default: u32) -> *mut c_void;
    fn seccomp_release(context: *mut c_void);
    fn seccomp_arch_add(context: *mut c_void, arch: u32) -> c_int;
    fn seccomp_arch_remove(context: *mut c_void, arch: u32) -> c_int;
    fn seccomp_attr_set(context: *mut c_void, attribute: c_uint, value: u32) -> c_int;
    fn seccomp_rule_add_array(
        context: *mut c_void,
        action: u32,
        syscall: c_int,
        count: c_uint,
        conditions: *const ArgCompare,
    ) -> c_int;
    fn seccomp_export_bpf(context: *mut c_void, fd: c_int) -> c_int;
    fn seccomp_syscall_resolve_name_arch(arch: u32, name: *const c_char) -> c_int;
    fn seccomp_syscall_resolve_num_arch(arch: u32, number: c_int) -> *mut c_char;
}

/// `SCMP_FLTATR_ACT_BADARCH`
const FOREIGN_ACTION: c_uint = 2;
/// `SCMP_FLTATR_CTL_OPTIMIZE`
const OPTIMIZE: c_uint = 8;

fn check(result: c_int) {
    assert!(result >= 0, "libseccomp: errno {}", -result);
}

/// The number of a name. Negative: a call of another architecture only. `None`: not known.
pub(crate) fn number(arch: Arch, name: &str) -> Option<i32> {
    let name = CString::new(name).unwrap();
    // SAFETY: `name` is a NUL-terminated string that lives until after the call, and is only read.
    let number = unsafe { seccomp_syscall_resolve_name_arch(arch.audit(), name.as_ptr()) };
    (number != -1).then_some(number)
}

/// The name of a number.
pub(crate) fn name(arch: Arch, number: u32) -> Option<String> {
    // SAFETY: no pointers go in; what comes out is NULL or a string of its own allocation.
    let name = unsafe { seccomp_syscall_resolve_num_arch(arch.audit(), number as c_int) };
    let name = NonNull::new(name)?;
    // SAFETY: not NULL, NUL-terminated, ours alone.
    let text = unsafe { CStr::from_ptr(name.as_ptr()) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: allocated by the C library's malloc, freed once, not used afterwards.
    unsafe { libc::free(name.as_ptr().cast()) };
    Some(text)
}

/// A filter in the making.
pub(crate) struct Context(NonNull<c_void>);

impl Context {
    /// For one architecture; `optimize` is 1 for a list and 2 for a tree.
    pub(crate) fn new(default: Action, foreign: Action, arch: Arch, optimize: u32) -> Self {
        // The actions and architectures of libseccomp have the kernel's numbers.
        // SAFETY: no pointers go in; what comes out is NULL or a context of our own.
        let context = Self(NonNull::new(unsafe { seccomp_init(default.to_ret()) }).unwrap());
        let raw = context.0.as_ptr();
        if arch != Arch::NATIVE {
            // SAFETY: `raw` is a live context.
            check(unsafe { seccomp_arch_add(raw, arch.audit()) });
            // SAFETY: `raw` is a live context.
            check(unsafe { seccomp_arch_remove(raw, Arch::NATIVE.audit()) });
        }
        // SAFETY: `raw` is a live context.
        check(unsafe { seccomp_attr_set(raw, FOREIGN_ACTION, foreign.to_ret()) });
        // SAFETY: `raw` is a live context.
        check(unsafe { seccomp_attr_set(raw, OPTIMIZE, optimize) });
        context
    }

    /// Adds a rule; all conditions must hold.
    pub(crate) fn add(&mut self, action: Action, syscall: i32, conditions: &[Condition]) {
        let array: Vec<ArgCompare> = conditions.iter().map(compare).collect();
        let count = array.len() as c_uint;
        // SAFETY: a live context, and `count` conditions that live until after the call and are only read.
        check(unsafe {
            let raw = self.0.as_ptr();
            seccomp_rule_add_array(raw, action.to_ret(), syscall, count, array.as_ptr())
        });
    }

    /// Writes the filter to a file.
    pub(crate) fn export(&self, file: &File) {
        // SAFETY: a live context; the descriptor is borrowed from `file`.
        check(unsafe { seccomp_export_bpf(self.0.as_ptr(), file.as_raw_fd()) });
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: a live context, not used after this.
        unsafe { seccomp_release(self.0.as_ptr()) };
    }
}

fn compare(condition: &Condition) -> ArgCompare {
    let (op, datum_a, datum_b) = match condition.is {
        Comparison::Ne(value) => (1, value, 0),
        Comparison::Lt(value) => (2, value, 0),
        Comparison::Le(value) => (3, value, 0),
        Comparison::Eq(value) => (4, value, 0),
        Comparison::Ge(value) => (5, value, 0),
        Comparison::Gt(value) => (6, value, 0),
        Comparison::MaskedEq { mask, value } => (7, mask, value),
    };
    ArgCompare {
        arg: c_uint::from(condition.arg),
        op,
        datum_a,
        datum_b,
    }
}
