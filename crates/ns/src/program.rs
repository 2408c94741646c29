//! What `execve(2)` is called with, made ready before the clone.

use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::ptr;

/// A program, its arguments and its environment, as the pointer arrays that `execve(2)` takes.
///
/// `candidates` are tried in order as `execvp(3)` does: one that does not exist or may not be
/// executed is passed over, and when none is left "permission denied" is reported rather than "no
/// such file". A script without `#!` is not given to a shell: its ENOEXEC is reported.
#[derive(Debug)]
pub struct Program {
    candidates: Vec<CString>,
    argv: Array,
    envp: Array,
}

/// Strings and the NULL-terminated array of pointers to them.
#[derive(Debug)]
struct Array {
    strings: Vec<CString>,
    /// Point into the heap buffers of `strings`, which do not move when the `Vec` does.
    pointers: Vec<*const c_char>,
}

impl Array {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self { strings, pointers }
    }
}

impl Program {
    /// Prepare the arrays. Paths are those the child sees, after its set-up.
    #[must_use]
    pub fn new(candidates: Vec<CString>, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        Self {
            candidates,
            argv: Array::new(argv),
            envp: Array::new(envp),
        }
    }

    /// The paths, in the order they are tried.
    #[must_use]
    pub fn candidates(&self) -> &[CString] {
        &self.candidates
    }

    /// The arguments, from argv\[0\].
    #[must_use]
    pub fn argv(&self) -> &[CString] {
        &self.argv.strings
    }

    /// The environment.
    #[must_use]
    pub fn envp(&self) -> &[CString] {
        &self.envp.strings
    }

    pub(crate) fn candidate(&self, index: usize) -> Option<&CStr> {
        self.candidates.get(index).map(CString::as_c_str)
    }

    pub(crate) fn argv_ptr(&self) -> *const *const c_char {
        self.argv.pointers.as_ptr()
    }

    pub(crate) fn envp_ptr(&self) -> *const *const c_char {
        self.envp.pointers.as_ptr()
    }

    pub(crate) fn path(&self, index: u32) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let path = usize::try_from(index)
            .ok()
            .and_then(|index| self.candidate(index));
        std::ffi::OsStr::from_bytes(path.unwrap_or_default().to_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrays_end_with_null_and_survive_a_move() {
        let program = Program::new(
            vec![c"/bin/sh".into()],
            vec![c"sh".into(), c"-c".into()],
            vec![c"A=1".into()],
        );
        let moved = Box::new(program);
        assert_eq!(moved.argv.pointers.len(), 3);
        assert_eq!(moved.argv.pointers[1], moved.argv.strings[1].as_ptr());
        assert!(moved.argv.pointers[2].is_null());
        assert_eq!(moved.envp.pointers.len(), 2);
        assert_eq!(moved.path(0), PathBuf::from("/bin/sh"));
    }
}
