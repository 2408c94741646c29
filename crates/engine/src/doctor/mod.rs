//! Why a program could not be started, from what lies in the container's own tree.
//!
//! `execve(2)` has a dozen reasons and few errnos: `ENOENT` is also the answer when the *loader* of a
//! program that is there is missing, `ENOEXEC` when the program is for another machine. So when it
//! has failed, [`explain`] looks at what it was given and says which reason it was.
//!
//! Nothing is executed or followed out of the container's root, nothing is written, and what is read
//! is bounded: 4 KiB of a file, its program headers, and some thousand names of directories for
//! suggestions. Shared libraries are not looked at: their absence is the loader's to report.

mod access;
mod diagnosis;
mod elf;
mod format;
mod inspect;
pub(crate) mod near;
mod search;
mod shebang;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use diagnosis::{Diagnosis, Sizes};

use crate::spec::Origin;
use inspect::Inspector;

/// Longest argument or variable, `MAX_ARG_STRLEN`: 32 pages. With pages of 64 KiB it is more, and
/// then the doctor blames one string where the sum is to blame.
const MAX_STRING_BYTES: usize = 32 * 4096;

/// What was to be executed, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's `/` as open directories (`O_PATH` will do): one, or the layers of an overlay, topmost first.
    pub layers: &'a [BorrowedFd<'a>],
    /// argv.
    pub argv: &'a [String],
    /// Environment, as name and value; the `PATH` in it is what a name without a slash is looked
    /// for in.
    pub env: &'a [(String, String)],
    /// Working directory, absolute, in the container.
    pub workdir: &'a Path,
    /// Who was to execute it, if it matters.
    pub who: Option<&'a Who>,
    /// The container's mounts.
    pub mounts: &'a [MountPoint],
    /// The machine.
    pub machine: Machine,
}

/// A user in the numbers that [`fstat(2)`] shows *the caller* for the container's files: after the id
/// map where the root is seen from outside.
///
/// [`fstat(2)`]: https://man7.org/linux/man-pages/man2/fstat.2.html
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Other groups.
    pub groups: Vec<u32>,
    /// Has `CAP_DAC_OVERRIDE`, which passes every directory, and every file that has any `x`.
    pub overrides: bool,
}

/// A mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where it is, absolute, in the container.
    pub at: PathBuf,
    /// Nothing may be executed from it.
    pub noexec: bool,
    /// Who asked for it.
    pub origin: Origin,
}

/// A machine that programs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Machine {
    /// The one this was compiled for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The one this was compiled for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// As `uname -m` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// `e_machine` of its own and of its 32-bit programs.
    fn elf(self) -> (u16, u16) {
        match self {
            Self::X86_64 => (elf::EM_X86_64, elf::EM_386),
            Self::Aarch64 => (elf::EM_AARCH64, elf::EM_ARM),
        }
    }
}

/// Says why `execve` failed with `errno`.
///
/// Always finds something to say; when the file looks as it should it is [`Diagnosis::Other`].
pub fn explain(request: &Request<'_>, errno: Errno) -> Diagnosis {
    let Some(name) = request.argv.first().filter(|name| !name.is_empty()) else {
        return Diagnosis::EmptyCommand;
    };
    if errno == Errno::TOOBIG {
        return Diagnosis::TooLong(sizes(request.argv, request.env));
    }
    let inspector = Inspector::new(request, errno);
    let path = match search::locate(request, &inspector, name) {
        search::Located::At(path) => path,
        search::Located::Nowhere(diagnosis) => return diagnosis,
    };
    if errno == Errno::TXTBSY {
        return Diagnosis::Busy { path };
    }
    inspector
        .inspect(&path)
        .unwrap_or(Diagnosis::Other { path, errno })
}

/// Says why a program that was executed died at once, when its file tells: a 32-bit program under a
/// seccomp filter (`native_only`) that answers only this machine's own system calls, or one that is
/// shorter than its headers say. `None`: the file is not to blame.
pub fn explain_death(request: &Request<'_>, native_only: bool) -> Option<Diagnosis> {
    let name = request.argv.first().filter(|name| !name.is_empty())?;
    let inspector = Inspector::new(request, Errno::NOEXEC);
    let search::Located::At(path) = search::locate(request, &inspector, name) else {
        return None;
    };
    inspector.inspect_started(&path, native_only)
}

fn sizes(argv: &[String], env: &[(String, String)]) -> Sizes {
    let arguments = argv
        .iter()
        .enumerate()
        .map(|(i, text)| (format!("argument {i}"), text.len() + 1));
    // NAME=VALUE and its NUL.
    let variables = env.iter().map(|(name, value)| {
        (
            format!("variable {}", near::clip(name)),
            name.len() + value.len() + 2,
        )
    });
    let too_long = arguments
        .clone()
        .chain(variables.clone())
        .max_by_key(|(_, bytes)| *bytes)
        .filter(|(_, bytes)| *bytes > MAX_STRING_BYTES);
    Sizes {
        arguments: argv.len(),
        argument_bytes: arguments.map(|(_, bytes)| bytes).sum(),
        variables: env.len(),
        variable_bytes: variables.map(|(_, bytes)| bytes).sum(),
        too_long,
    }
}
