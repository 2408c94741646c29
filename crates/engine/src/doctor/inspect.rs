//! One file that was to be executed: everything execve checks, in its order.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::elf::{self, Header};
use super::format;
use super::near::near;
use super::shebang::{self, Shebang};
use super::{Diagnosis, Machine, MountPoint, Request, Who};
use crate::tree::{Found, Tree, Walk, read_at};

/// Bytes read from the start of a file.
const HEAD: usize = 4096;

/// Programs in a chain of `#!` lines, the last one included: the kernel's `exec_binprm` gives up
/// with `ELOOP` at depth 6.
const MAX_CHAIN: usize = 6;

/// Dynamic loaders worth naming when another one is asked for.
const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-linux.so.2",
    "/lib/ld-linux-armhf.so.3",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
    "/lib/ld-musl-i386.so.1",
    "/lib/ld-musl-armhf.so.1",
];

/// Looks at files of one container.
pub(super) struct Inspector<'a> {
    pub(super) tree: Tree<'a>,
    workdir: &'a Path,
    pub(super) who: Option<&'a Who>,
    pub(super) mounts: &'a [MountPoint],
    machine: Machine,
    errno: Errno,
}

impl<'a> Inspector<'a> {
    pub(super) fn new(request: &Request<'a>, errno: Errno) -> Self {
        Self {
            tree: Tree::new(request.layers),
            workdir: request.workdir,
            who: request.who,
            mounts: request.mounts,
            machine: request.machine,
            errno,
        }
    }

    /// What a path leads to, if to anything.
    pub(super) fn kind(&self, path: &Path) -> Option<FileType> {
        match self.tree.walk(path) {
            Walk::Found(found) => Some(found.kind()),
            _ => None,
        }
    }

    /// What is wrong with `path`; `None` when nothing is found to be.
    pub(super) fn inspect(&self, path: &Path) -> Option<Diagnosis> {
        self.program(path, &mut Vec::new())
    }

    /// What can be wrong with a program that execve took.
    pub(super) fn inspect_started(&self, path: &Path, native_only: bool) -> Option<Diagnosis> {
        let Walk::Found(found) = self.tree.walk(path) else {
            return None;
        };
        let (fd, head) = self.head(&found)?;
        if let Shebang::Interpreter(interpreter) = shebang::parse(&head) {
            // One step is enough: what interprets scripts is seldom a script.
            let path = self.workdir.join(interpreter);
            let Walk::Found(found) = self.tree.walk(&path) else {
                return None;
            };
            let (fd, head) = self.head(&found)?;
            return self.started(&path, &fd, &head, native_only);
        }
        self.started(path, &fd, &head, native_only)
    }

    fn started(
        &self,
        path: &Path,
        fd: &OwnedFd,
        head: &[u8],
        native_only: bool,
    ) -> Option<Diagnosis> {
        if !head.starts_with(elf::MAGIC) {
            return None;
        }
        let header = elf::header(head).ok()?;
        if native_only && !self.is_native(&header) {
            let (path, machine) = (path.to_owned(), header.machine_name());
            return Some(Diagnosis::Seccomp32Bit { path, machine });
        }
        self.layout(path, fd, &header).err()
    }

    fn program(&self, path: &Path, chain: &mut Vec<PathBuf>) -> Option<Diagnosis> {
        chain.push(path.to_owned());
        if chain.len() > MAX_CHAIN {
            return Some(Diagnosis::InterpreterChain {
                chain: chain.clone(),
            });
        }
        let found = match self.tree.walk(path) {
            Walk::Found(found) => found,
            lost => return Some(self.lost(path, lost)),
        };
        if let Some(diagnosis) = self.permissions(path, &found) {
            return Some(diagnosis);
        }
        let path = path.to_owned();
        if found.stat.st_size == 0 {
            return Some(Diagnosis::Empty { path });
        }
        let (fd, head) = self.head(&found)?;
        if self.errno == Errno::PERM && has_file_capabilities(&fd) {
            return Some(Diagnosis::FileCapabilities { path });
        }
        if head.starts_with(elf::MAGIC) {
            return self.elf(&path, &fd, &head);
        }
        match shebang::parse(&head) {
            Shebang::Interpreter(interpreter) => self.script(path, interpreter, chain),
            Shebang::Empty => Some(Diagnosis::BadShebang {
                path,
                why: "that names no interpreter",
            }),
            Shebang::TooLong => Some(Diagnosis::BadShebang {
                path,
                why: "that is longer than 256 bytes",
            }),
            // Another format may have a binfmt_misc handler; only ENOEXEC says that none has.
            Shebang::None if self.errno == Errno::NOEXEC => Some(format::diagnose(path, &head)),
            Shebang::None => None,
        }
    }

    fn lost(&self, path: &Path, walk: Walk) -> Diagnosis {
        let path = path.to_owned();
        match walk {
            Walk::Missing {
                at,
                link: Some((link, target)),
            } => Diagnosis::Dangling {
                path,
                link,
                target,
                at,
            },
            Walk::Missing { at, link: None } => {
                let near = self.beside(&at);
                Diagnosis::Missing { path, at, near }
            }
            Walk::NotDirectory { at } => Diagnosis::NotADirectory { path, at },
            Walk::Loop { at } => Diagnosis::Loop { path, at },
            Walk::Found(_) | Walk::Failed(_) => Diagnosis::Other {
                path,
                errno: self.errno,
            },
        }
    }

    /// Names beside a missing one that look like it.
    fn beside(&self, missing: &Path) -> Vec<String> {
        let (Some(directory), Some(name)) = (missing.parent(), missing.file_name()) else {
            return Vec::new();
        };
        let names = self.tree.names(directory);
        near(&name.to_string_lossy(), names.iter().map(String::as_str))
    }

    fn head(&self, found: &Found) -> Option<(OwnedFd, Vec<u8>)> {
        let fd = self.tree.open_regular(&found.real).ok()?;
        let head = read_at(&fd, 0, HEAD).ok()?;
        Some((fd, head))
    }

    fn script(
        &self,
        path: PathBuf,
        interpreter: PathBuf,
        chain: &mut Vec<PathBuf>,
    ) -> Option<Diagnosis> {
        let program = self.workdir.join(&interpreter);
        match self.program(&program, chain)? {
            chain @ Diagnosis::InterpreterChain { .. } => Some(chain),
            Diagnosis::Missing { .. } | Diagnosis::Dangling { .. }
                if interpreter.as_os_str().as_encoded_bytes().ends_with(b"\r") =>
            {
                Some(Diagnosis::CarriageReturn { path, interpreter })
            }
            cause => Some(Diagnosis::Interpreter {
                path,
                cause: Box::new(cause),
            }),
        }
    }

    fn elf(&self, path: &Path, fd: &OwnedFd, head: &[u8]) -> Option<Diagnosis> {
        let damaged = |why: &str| Diagnosis::Damaged {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let header = match elf::header(head) {
            Ok(header) => header,
            Err(why) => return Some(damaged(why)),
        };
        if let Some(what) = header.not_a_program() {
            return Some(Diagnosis::Foreign {
                path: path.to_owned(),
                what,
            });
        }
        // A 32-bit program of this machine that the kernel takes needs its loader like any other.
        let taken =
            self.is_native(&header) || self.is_32_bit(&header) && self.errno != Errno::NOEXEC;
        if !taken {
            return self.not_native(path, &header);
        }
        let loader = match self.layout(path, fd, &header) {
            Ok(loader) => loader?,
            Err(diagnosis) => return Some(diagnosis),
        };
        self.loader(path, self.workdir.join(loader), &header)
    }

    fn is_32_bit(&self, header: &Header) -> bool {
        let (own, own_32_bit) = self.machine.elf();
        !header.is_64_bit && [own, own_32_bit].contains(&header.machine)
    }

    fn is_native(&self, header: &Header) -> bool {
        header.is_64_bit && header.machine == self.machine.elf().0
    }

    /// A program for another machine is not to blame unless execve says so: there may be a handler.
    fn not_native(&self, path: &Path, header: &Header) -> Option<Diagnosis> {
        let (path, machine) = (path.to_owned(), header.machine_name());
        let handler = match self.errno {
            Errno::NOEXEC if self.is_32_bit(header) => {
                return Some(Diagnosis::No32Bit { path, machine });
            }
            Errno::NOEXEC => "no binfmt_misc handler is registered for it",
            Errno::NOENT => {
                "its binfmt_misc handler is not in this root (register it with the F flag)"
            }
            _ => return None,
        };
        let host = self.machine.name();
        Some(Diagnosis::WrongArchitecture {
            path,
            machine,
            host,
            handler,
        })
    }

    /// Reads the program headers: the loader's path, if there is one.
    fn layout(
        &self,
        path: &Path,
        fd: &OwnedFd,
        header: &Header,
    ) -> Result<Option<PathBuf>, Diagnosis> {
        let damaged = |why: &str| Diagnosis::Damaged {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let read = |span: elf::Span| {
            read_at(fd, span.offset, span.length).map_err(|errno| damaged(&errno.to_string()))
        };
        let span = header.program_headers().map_err(damaged)?;
        let layout = header.layout(&read(span)?, span).map_err(damaged)?;
        let size = rustix::fs::fstat(fd).map_or(u64::MAX, |stat| stat.st_size.cast_unsigned());
        if layout.needs_bytes > size {
            let needs = layout.needs_bytes;
            return Err(damaged(&format!(
                "it is cut off, {size} bytes of at least {needs}"
            )));
        }
        let Some(span) = layout.interpreter else {
            return Ok(None);
        };
        let bytes = read(span)?;
        let loader = elf::interpreter(&bytes, span).map_err(damaged)?;
        Ok(Some(PathBuf::from(
            String::from_utf8_lossy(loader).into_owned(),
        )))
    }

    /// The dynamic loader must be there, executable, and for the same machine. It needs no loader
    /// itself: the kernel does not look for one.
    fn loader(&self, path: &Path, loader: PathBuf, header: &Header) -> Option<Diagnosis> {
        let path = path.to_owned();
        let found = match self.tree.walk(&loader) {
            Walk::Found(found) => found,
            Walk::Missing { .. } | Walk::NotDirectory { .. } => {
                let (libc, present) = (libc_of(&loader), self.loaders());
                return Some(Diagnosis::MissingLoader {
                    path,
                    loader,
                    libc,
                    present,
                });
            }
            lost => {
                let cause = Box::new(self.lost(&loader, lost));
                return Some(Diagnosis::Interpreter { path, cause });
            }
        };
        let cause = self.permissions(&loader, &found).or_else(|| {
            let (_, head) = self.head(&found)?;
            let fits = head.starts_with(elf::MAGIC)
                && elf::header(&head).is_ok_and(|its| its.machine_name() == header.machine_name());
            let why = format!("it is no loader for {}", header.machine_name());
            (!fits).then_some(Diagnosis::Damaged { path: loader, why })
        })?;
        Some(Diagnosis::Interpreter {
            path,
            cause: Box::new(cause),
        })
    }

    /// The loaders that are there.
    fn loaders(&self) -> Vec<String> {
        let is_file = |path: &&&str| self.kind(Path::new(path)) == Some(FileType::RegularFile);
        LOADERS
            .iter()
            .filter(is_file)
            .map(|path| (*path).to_owned())
            .collect()
    }
}

/// Whose loader this is, by its name.
fn libc_of(loader: &Path) -> &'static str {
    let name = loader.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("ld-musl-") {
        "musl"
    } else if name.starts_with("ld-linux") || name.starts_with("ld64.so") {
        "glibc"
    } else {
        "dynamically linked"
    }
}

fn has_file_capabilities(fd: &OwnedFd) -> bool {
    // An empty buffer asks for the size alone.
    let nothing: &mut [u8] = &mut [];
    rustix::fs::fgetxattr(fd, c"security.capability", nothing).is_ok()
}
