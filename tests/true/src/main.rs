//! Exits with status 0 at its first instruction.
//!
//! It is what the speed of starting a container is measured with: a static glibc `true` spends some
//! 400 µs in CPUID traps of a virtual machine before `main`, more than a container should cost, and
//! would drown the difference between two engines. So there is no C start-up code (see `build.rs`) and
//! no standard library. Builds that unwind (`dev`) still link the latter: without it they lack the
//! language's unwinding routine, and their size does not matter.

#![no_main]
#![cfg_attr(panic = "abort", no_std)]
#![allow(
    unsafe_code,
    reason = "a program without a C library makes its own system call"
)]

use core::arch::asm;

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit_group()
}

/// Where the kernel starts the program.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    exit_group()
}

#[cfg(target_arch = "x86_64")]
fn exit_group() -> ! {
    // SAFETY: exit_group(2) (231) does not return and no memory of this process is used after it;
    // the stack, whose alignment is not that of a called function here, is not touched.
    unsafe { asm!("syscall", in("rax") 231, in("rdi") 0, options(noreturn, nostack)) }
}

#[cfg(target_arch = "aarch64")]
fn exit_group() -> ! {
    // SAFETY: exit_group(2) (94) does not return and no memory of this process is used after it.
    unsafe { asm!("svc 0", in("x8") 94, in("x0") 0, options(noreturn, nostack)) }
}
