//! What the doctor finds, in words.

use std::path::PathBuf;

use rustix::io::Errno;

use super::near::did_you_mean;
use crate::spec::Origin;

/// Exit code for a program that is not there.
const NOT_FOUND: u8 = 127;

/// Exit code for a program that is there and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// Why a program could not be started. `Display` is one sentence, with the paths of the container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Diagnosis {
    /// argv\[0\] is empty.
    #[error("the command is an empty string")]
    EmptyCommand,
    /// A name without a slash, found in no directory of `PATH`.
    #[error("{name:?} {}{}", nowhere(path.as_deref(), *directories), or_else(near, advice.as_deref()))]
    NotOnPath {
        /// argv\[0\].
        name: String,
        /// `PATH`, if the container has one.
        path: Option<String>,
        /// How many directories of it exist.
        directories: usize,
        /// Names in these directories that look alike.
        near: Vec<String>,
        /// What else was probably meant.
        advice: Option<String>,
    },
    /// A path that leads to nothing.
    #[error("{path:?} does not exist: there is no {at:?}{}", did_you_mean(near))]
    Missing {
        /// The program.
        path: PathBuf,
        /// The first component that is missing.
        at: PathBuf,
        /// Names beside it that look alike.
        near: Vec<String>,
    },
    /// A path that leads to nothing by a symlink.
    #[error("{path:?} does not exist: {link:?} is a symlink to {target:?}, and there is no {at:?}")]
    Dangling {
        /// The program.
        path: PathBuf,
        /// The symlink.
        link: PathBuf,
        /// As the symlink has it.
        target: PathBuf,
        /// The first component that is missing.
        at: PathBuf,
    },
    /// Symlinks without an end.
    #[error("{path:?} cannot be resolved: too many symlinks, {at:?} is one of them")]
    Loop {
        /// The program.
        path: PathBuf,
        /// A symlink of the loop.
        at: PathBuf,
    },
    /// A component in the middle of the path is no directory.
    #[error("{path:?} does not exist: {at:?} is not a directory")]
    NotADirectory {
        /// The program.
        path: PathBuf,
        /// The component.
        at: PathBuf,
    },
    /// A directory on the way that the user may not search.
    #[error(
        "{path:?} cannot be reached by {who}: directory {at:?} has mode {mode:04o}, owner {owner}"
    )]
    Unsearchable {
        /// The program.
        path: PathBuf,
        /// The directory.
        at: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its `uid:gid`.
        owner: String,
        /// The user's `uid:gid`.
        who: String,
    },
    /// Not a file at all.
    #[error("{path:?} is a {kind}, not a program")]
    NotAFile {
        /// The program.
        path: PathBuf,
        /// `directory`, `fifo` …
        kind: &'static str,
    },
    /// Nobody may execute it.
    #[error("{path:?} is not executable: its mode is {mode:04o}; chmod +x it")]
    NotExecutable {
        /// The program.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may execute it.
    #[error("{path:?} is not executable by {who}: its mode is {mode:04o}, owner {owner}")]
    NotExecutableBy {
        /// The program.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its `uid:gid`.
        owner: String,
        /// The user's `uid:gid`.
        who: String,
    },
    /// It lies on a mount that nothing may be executed from.
    #[error("{path:?} lies on a noexec mount{}", mounted_at(mount.as_ref(), *origin))]
    NoExec {
        /// The program.
        path: PathBuf,
        /// Where that mount is, when it is one of the container's list.
        mount: Option<PathBuf>,
        /// Who asked for it.
        origin: Origin,
    },
    /// Zero bytes.
    #[error("{path:?} is an empty file")]
    Empty {
        /// The program.
        path: PathBuf,
    },
    /// Text that does not say what is to run it.
    #[error(
        "{path:?} is a text file without an interpreter: its first line must be one like #!/bin/sh"
    )]
    NoShebang {
        /// The script.
        path: PathBuf,
    },
    /// Something before `#!`.
    #[error(
        "{path:?} starts with {what} before its #! line, so the kernel does not see that line; {cure}"
    )]
    HiddenShebang {
        /// The script.
        path: PathBuf,
        /// What stands there.
        what: &'static str,
        /// What to do.
        cure: &'static str,
    },
    /// `#!` and nothing the kernel takes.
    #[error("{path:?} has a #! line {why}")]
    BadShebang {
        /// The script.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Lines end as on Windows.
    #[error(
        "{path:?} has Windows line ends: its #! line asks for {interpreter:?}; save it with \\n alone \
         (dos2unix)"
    )]
    CarriageReturn {
        /// The script.
        path: PathBuf,
        /// What the kernel looked for.
        interpreter: PathBuf,
    },
    /// The interpreter of a script or of an ELF program cannot be used.
    #[error("{path:?} cannot run without its interpreter: {cause}")]
    Interpreter {
        /// The script.
        path: PathBuf,
        /// Why not.
        cause: Box<Diagnosis>,
    },
    /// Scripts that interpret scripts, too many of them.
    #[error("the #! lines form a chain that is too long: {}", chained(chain))]
    InterpreterChain {
        /// In order.
        chain: Vec<PathBuf>,
    },
    /// The dynamic loader is not there.
    #[error(
        "{path:?} is a {libc} program, and there is no {loader:?} in this root{}",
        has(present)
    )]
    MissingLoader {
        /// The program.
        path: PathBuf,
        /// The loader's path as the program has it.
        loader: PathBuf,
        /// `glibc`, `musl`, `dynamically linked`.
        libc: &'static str,
        /// Loaders that are there.
        present: Vec<String>,
    },
    /// A program for another machine.
    #[error("{path:?} is a program for {machine}, and this machine is {host}; {handler}")]
    WrongArchitecture {
        /// The program.
        path: PathBuf,
        /// What it is for.
        machine: String,
        /// What this is.
        host: &'static str,
        /// What is known about `binfmt_misc`.
        handler: &'static str,
    },
    /// The kernel runs no 32-bit programs.
    #[error("{path:?} is a 32-bit program ({machine}), and this kernel runs none")]
    No32Bit {
        /// The program.
        path: PathBuf,
        /// What it is for.
        machine: String,
    },
    /// It was executed, and the filter refused its first system call.
    #[error(
        "{path:?} is a 32-bit program ({machine}), and the seccomp filter lets only this machine's \
         own system calls pass"
    )]
    Seccomp32Bit {
        /// The program.
        path: PathBuf,
        /// What it is for.
        machine: String,
    },
    /// A program, but none of Linux.
    #[error("{path:?} is {what}, not a Linux program")]
    Foreign {
        /// The program.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Neither ELF nor text.
    #[error("{path:?} is no program: neither ELF nor a script (it starts with {start})")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its first bytes in hexadecimal.
        start: String,
    },
    /// An ELF file that cannot be right.
    #[error("{path:?} is a damaged ELF file: {why}")]
    Damaged {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Capabilities in the file that the container does not have.
    #[error(
        "{path:?} has file capabilities (setcap) that are outside of the container's bounding set"
    )]
    FileCapabilities {
        /// The program.
        path: PathBuf,
    },
    /// E2BIG.
    #[error("{0}")]
    TooLong(Sizes),
    /// ETXTBSY.
    #[error("{path:?} is open for writing somewhere, so it cannot be executed")]
    Busy {
        /// The program.
        path: PathBuf,
    },
    /// The file is as it should be.
    #[error("{path:?}: {errno}{}", other_advice(*errno))]
    Other {
        /// The program.
        path: PathBuf,
        /// What execve said.
        errno: Errno,
    },
}

/// Sizes of what execve was given, in bytes with their terminating NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// How many arguments.
    pub arguments: usize,
    /// Their bytes.
    pub argument_bytes: usize,
    /// How many environment variables.
    pub variables: usize,
    /// Their bytes.
    pub variable_bytes: usize,
    /// The longest of all, when it is too long by itself: what it is, and its bytes.
    pub too_long: Option<(String, usize)>,
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((what, bytes)) = &self.too_long {
            let limit = super::MAX_STRING_BYTES;
            return write!(
                f,
                "{what} is too long: {bytes} bytes, one string may have {limit}"
            );
        }
        write!(
            f,
            "arguments and environment are too long: {} arguments of {} bytes and {} variables of \
             {} bytes; together they may fill a quarter of the stack limit, and 6 MiB at most",
            self.arguments, self.argument_bytes, self.variables, self.variable_bytes
        )
    }
}

impl Diagnosis {
    /// What `ctr run` exits with: 127 when the program is not there, 126 when it is and cannot be
    /// executed, as POSIX shells have it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::EmptyCommand
            | Self::NotOnPath { .. }
            | Self::Missing { .. }
            | Self::Dangling { .. }
            | Self::NotADirectory { .. } => NOT_FOUND,
            Self::Other { errno, .. } if *errno == Errno::NOENT => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        }
    }

    /// The line that asked for what is in the way, when there is one.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::NoExec {
                mount: Some(_),
                origin,
                ..
            } => Some(*origin),
            Self::Interpreter { cause, .. } => cause.origin(),
            _ => None,
        }
    }
}

fn nowhere(path: Option<&str>, directories: usize) -> String {
    match (path, directories) {
        (None, _) => "cannot be looked for: the container has no PATH".to_owned(),
        (Some(path), 0) => format!("is not found: no directory of PATH={path} is in this root"),
        (Some(path), _) => format!("is in no directory of PATH={path}"),
    }
}

fn or_else(near: &[String], advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("; {advice}"),
        None => did_you_mean(near),
    }
}

fn mounted_at(mount: Option<&PathBuf>, origin: Origin) -> String {
    match (mount, origin) {
        (None, _) => String::new(),
        (Some(at), Origin::Default) => format!(": {at:?}, which is so by default"),
        (Some(at), Origin::Line(line)) => format!(": {at:?}, asked for in line {line}"),
        (Some(at), Origin::Image) => format!(": {at:?}, which the image asks for"),
    }
}

fn chained(chain: &[PathBuf]) -> String {
    let links: Vec<String> = chain.iter().map(|path| format!("{path:?}")).collect();
    links.join(" -> ")
}

fn has(present: &[String]) -> String {
    if present.is_empty() {
        return ", nor any other loader: the root has no dynamic C library".to_owned();
    }
    format!(", which has {}", present.join(" and "))
}

fn other_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS => {
            " although its mode and its mount allow it: Landlock rules, SELinux or AppArmor refuse it"
        }
        Errno::PERM => ": a seccomp filter or an LSM refuses to execute it",
        Errno::NOENT => " although it is there: a binfmt_misc handler's interpreter may be missing",
        _ => "",
    }
}
