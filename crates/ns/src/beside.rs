//! A network namespace that is made while something else goes on.
//!
//! A network namespace costs more than all other kinds together: 0.3 ms, most of it the kernel's
//! registering of sysctls. When clone3 makes it, the child waits for it. Made by a second thread of
//! the child, it costs nothing as long as the child has other things to do.
//!
//! Who: a thread of the child, between [`Start`] and the last step of [`Join`]. It shares the
//! child's memory, and its thread-local storage too, for it has none of its own. So it makes raw
//! system calls of rustix, which leave errno alone, and writes nothing but [`Shared`].

#![allow(unsafe_code, reason = "a thread below the C library, and its stack")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{UnshareFlags, futex};

use crate::flags::Namespaces;
use crate::steps::Steps;
use crate::sys;

/// The thread uses a fraction of it.
const STACK: usize = 16 << 10;

const UNSHARE: usize = 0;

/// A network namespace for the child, made beside other work.
///
/// [`Beside::start`] and [`Beside::join`] are phases of [`Child`](crate::Child), in this order, whose
/// `namespaces` then do not contain `NEWNET`. What comes between them
///
/// - runs in the network namespace of the caller: mount sysfs, set `net.*` and make sockets later;
/// - may not enter or make user or time namespaces, which takes a process of one thread.
///
/// The thread has the capabilities, ids, root and working directory that the child has at
/// [`Beside::start`]. It is gone when [`Beside::join`] is through, and with the child whenever that dies.
///
/// # Kernel
///
/// `unshare(CLONE_NEWNET)` concerns the calling thread alone, [`unshare(2)`]; the child enters what
/// the thread has made by [`setns(2)`]. `SIOCGSKNS` (Linux 4.10) needs CAP_NET_ADMIN over it.
///
/// [`unshare(2)`]: https://man7.org/linux/man-pages/man2/unshare.2.html
/// [`setns(2)`]: https://man7.org/linux/man-pages/man2/setns.2.html
#[derive(Debug)]
pub struct Beside<S> {
    inside: S,
    shared: Box<Shared>,
}

/// What the child and its thread both see.
#[derive(Debug)]
struct Shared {
    /// 1 until the kernel has ended the thread (CLONE_CHILD_CLEARTID).
    running: AtomicU32,
    /// The step that failed, see [`Join`].
    failed: AtomicU32,
    errno: AtomicI32,
    /// The namespace.
    namespace: AtomicI32,
    stack: Box<Stack>,
}

#[repr(align(16))]
struct Stack(UnsafeCell<MaybeUninit<[u8; STACK]>>);

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stack")
    }
}

/// Starts the thread: one step.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a, S>(&'a Beside<S>);

/// The thread's steps, as it did them meanwhile, and the child's own: the first one waits for the
/// thread, the last one enters the namespace.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a, S>(&'a Beside<S>);

impl<S: Steps> Beside<S> {
    /// `inside` are steps that the thread runs in the new namespace, such as bringing `lo` up. They
    /// are not passed any descriptor.
    ///
    /// # Safety
    ///
    /// The steps run while the child goes on, without thread-local storage of their own: they must not
    /// touch any, errno among it. rustix's system calls do not.
    #[must_use]
    pub unsafe fn new(inside: S) -> Self {
        Self {
            inside,
            shared: Box::new(Shared {
                running: AtomicU32::new(0),
                failed: AtomicU32::new(u32::MAX),
                errno: AtomicI32::new(0),
                namespace: AtomicI32::new(-1),
                // SAFETY: nothing in it needs a value. (Making one would touch each page.)
                stack: unsafe { Box::new_uninit().assume_init() },
            }),
        }
    }

    /// The phase that starts it.
    #[must_use]
    pub fn start(&self) -> Start<'_, S> {
        Start(self)
    }

    /// The phase that waits for it.
    #[must_use]
    pub fn join(&self) -> Join<'_, S> {
        Join(self)
    }

    /// The steps it runs inside.
    pub fn inside(&self) -> &S {
        &self.inside
    }

    fn spawn(&self) -> Result<(), Errno> {
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_CHILD_CLEARTID;
        self.shared.running.store(1, Ordering::Release);
        let this: *const Self = self;
        let top: *mut c_void = self.shared.stack.0.get().wrapping_add(1).cast();
        // SAFETY: `top` is the aligned end of a stack that only the thread uses; `this` and the word
        // live as long as the child, which never returns, and the thread writes to atomics alone.
        let tid = unsafe {
            libc::clone(
                body::<S>,
                top,
                flags,
                this.cast_mut().cast(),
                ptr::null_mut::<libc::pid_t>(),
                ptr::null_mut::<c_void>(),
                self.shared.running.as_ptr(),
            )
        };
        if tid == -1 {
            self.shared.running.store(0, Ordering::Release);
            // SAFETY: errno is this thread's own, always there.
            return Err(Errno::from_raw_os_error(unsafe {
                *libc::__errno_location()
            }));
        }
        Ok(())
    }

    /// Index of the step that opens the namespace, behind `inside`.
    fn open_step(&self) -> usize {
        UNSHARE + 1 + self.inside.len()
    }

    /// The thread's work.
    fn work(&self) -> Result<RawFd, (usize, Errno)> {
        // SAFETY: changes the network namespace of this thread alone.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|errno| (UNSHARE, errno))?;
        for step in 0..self.inside.len() {
            // SAFETY: in order, once each, by a thread the child gives its state to.
            unsafe { self.inside.apply(step, &[]) }.map_err(|errno| (UNSHARE + 1 + step, errno))?;
        }
        own_network().map_err(|errno| (self.open_step(), errno))
    }

    fn wait(&self) -> Result<(), Errno> {
        loop {
            match self.shared.running.load(Ordering::Acquire) {
                0 => return Ok(()),
                // The kernel wakes without FUTEX_PRIVATE_FLAG, mm_release() in kernel/fork.c.
                now => match futex::wait(&self.shared.running, futex::Flags::empty(), now, None) {
                    Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                },
            }
        }
    }
}

/// A descriptor of the calling thread's network namespace. Not from /proc, which set-up may have
/// covered by now: any socket knows its namespace.
fn own_network() -> Result<RawFd, Errno> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    // SAFETY: takes no argument.
    unsafe { rustix::ioctl::ioctl(&socket, NetworkOf) }
}

/// `SIOCGSKNS`, include/uapi/linux/sockios.h: its result is a new descriptor, close-on-exec.
struct NetworkOf;

// SAFETY: the request takes no argument and its result is an integer.
unsafe impl Ioctl for NetworkOf {
    type Output = RawFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        libc::SIOCGSKNS as Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<RawFd> {
        Ok(output)
    }
}

/// Who: the thread. It ends by exit(2) when this returns.
extern "C" fn body<S: Steps>(this: *mut c_void) -> c_int {
    // SAFETY: what `spawn` passed: a `Beside` that outlives the thread.
    let this = unsafe { &*this.cast_const().cast::<Beside<S>>() };
    match this.work() {
        Ok(namespace) => this.shared.namespace.store(namespace, Ordering::Release),
        Err((step, errno)) => {
            this.shared
                .errno
                .store(errno.raw_os_error(), Ordering::Release);
            this.shared.failed.store(step as u32, Ordering::Release);
        }
    }
    0
}

// SAFETY: one clone(2) on prepared memory; libc's wrapper neither allocates nor locks.
unsafe impl<S: Steps> Steps for Start<'_, S> {
    fn len(&self) -> usize {
        1
    }

    unsafe fn apply(&self, _step: usize, _passed: &[RawFd]) -> Result<(), Errno> {
        self.0.spawn()
    }
}

impl<S: Steps> Start<'_, S> {
    /// As strace spells it.
    #[must_use]
    pub fn describe(&self) -> String {
        "clone({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM\
         |CLONE_CHILD_CLEARTID})"
            .into()
    }
}

// SAFETY: futex(2), setns(2), close(2) and loads of atomics.
unsafe impl<S: Steps> Steps for Join<'_, S> {
    fn len(&self) -> usize {
        self.0.open_step() + 2
    }

    unsafe fn apply(&self, step: usize, _passed: &[RawFd]) -> Result<(), Errno> {
        let shared = &self.0.shared;
        if step == UNSHARE {
            self.0.wait()?;
        }
        if step == shared.failed.load(Ordering::Acquire) as usize {
            return Err(Errno::from_raw_os_error(
                shared.errno.load(Ordering::Acquire),
            ));
        }
        if step <= self.0.open_step() {
            return Ok(());
        }
        let namespace = shared.namespace.swap(-1, Ordering::AcqRel);
        let entered = sys::setns(namespace, Namespaces::NEWNET.bits());
        // SAFETY: the thread opened it, and nothing else has the number.
        unsafe { sys::close(namespace) };
        entered
    }
}

impl<S: Steps> Join<'_, S> {
    /// Which of the steps inside `step` stands for.
    #[must_use]
    pub fn inside(&self, step: usize) -> Option<usize> {
        step.checked_sub(UNSHARE + 1)
            .filter(|inside| *inside < self.0.inside.len())
    }

    /// The step as strace spells it; empty for one that [`Join::inside`] knows.
    #[must_use]
    pub fn describe(&self, step: usize) -> &'static str {
        if step == UNSHARE {
            "unshare(CLONE_NEWNET)"
        } else if step == self.0.open_step() {
            "ioctl(socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0), SIOCGSKNS)"
        } else if step == self.0.open_step() + 1 {
            "setns(<the thread's network namespace>, CLONE_NEWNET)"
        } else {
            ""
        }
    }

    /// Whether the thread does it; the others are the child's own.
    #[must_use]
    pub fn by_thread(&self, step: usize) -> bool {
        step <= self.0.open_step()
    }

    /// What to do when it fails with `errno`, where errno misleads.
    #[must_use]
    pub fn hint(&self, step: usize, errno: Errno) -> Option<&'static str> {
        (step == UNSHARE)
            .then(|| crate::hints::clone(Namespaces::NEWNET, false, errno))
            .flatten()
    }
}
