//! The supervisor's side of a container's terminal: bytes both ways, size, and the caller's own
//! terminal in raw mode meanwhile, pty(7), termios(3).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{self, OptionalActions, Termios};

/// Bytes that one direction holds while its far end is slow.
const BUFFER: usize = 64 * 1024;

/// A container's terminal, relayed to the caller's stdin and stdout.
#[derive(Debug)]
pub(crate) struct Tty {
    master: OwnedFd,
    /// The caller's terminal as it was, when stdin is one.
    saved: Option<Termios>,
    input: Pipe,
    output: Pipe,
    stdin: io::Stdin,
    stdout: io::Stdout,
}

/// Rows and columns of the caller's terminal, when stdin is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// One direction: read from one fd, written to another.
#[derive(Debug)]
struct Pipe {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    closed: bool,
}

impl Pipe {
    fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            closed: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn fill(&mut self, from: BorrowedFd<'_>) {
        match rustix::io::read(from, &mut *self.bytes) {
            Ok(0) => self.closed = true,
            Ok(n) => (self.start, self.end) = (0, n),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO: the last slave was closed (ours) or the terminal hung up (the caller's).
            Err(_) => self.closed = true,
        }
    }

    fn drain(&mut self, to: BorrowedFd<'_>) {
        match rustix::io::write(to, &self.bytes[self.start..self.end]) {
            Ok(n) => self.start += n,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                self.closed = true;
                self.start = self.end;
            }
        }
    }
}

impl Tty {
    /// Take over: the caller's terminal goes raw and lends its size.
    pub(crate) fn new(master: OwnedFd) -> Self {
        let stdin = io::stdin();
        let saved = termios::tcgetattr(&stdin).ok();
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            // A terminal that refuses raw mode still works, line by line.
            let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        let tty = Self {
            master,
            saved,
            input: Pipe::new(),
            output: Pipe::new(),
            stdin,
            stdout: io::stdout(),
        };
        tty.resize();
        tty
    }

    /// Give the container's terminal the size of the caller's; the kernel tells it by SIGWINCH.
    pub(crate) fn resize(&self) {
        if let Ok(size) = termios::tcgetwinsize(&self.stdin) {
            let _ = termios::tcsetwinsize(&self.master, size);
        }
    }

    /// What to wait for: (fd, wants to read, wants to write) of stdin, stdout and the master.
    pub(crate) fn interest(&self) -> [(BorrowedFd<'_>, bool, bool); 3] {
        let input_free = self.input.is_empty() && !self.input.closed;
        let output_free = self.output.is_empty() && !self.output.closed;
        [
            (self.stdin.as_fd(), input_free, false),
            (self.stdout.as_fd(), false, !self.output.is_empty()),
            (self.master.as_fd(), output_free, !self.input.is_empty()),
        ]
    }

    /// Move what can be moved, in the order of [`Tty::interest`].
    pub(crate) fn relay(&mut self, ready: [(bool, bool); 3]) {
        let [(stdin, _), (_, stdout), (master_in, master_out)] = ready;
        if stdin && self.input.is_empty() && !self.input.closed {
            self.input.fill(self.stdin.as_fd());
        }
        if master_out && !self.input.is_empty() {
            self.input.drain(self.master.as_fd());
        }
        if master_in && self.output.is_empty() && !self.output.closed {
            self.output.fill(self.master.as_fd());
        }
        if stdout && !self.output.is_empty() {
            self.output.drain(self.stdout.as_fd());
        }
    }

    /// The program has ended: pass on what it wrote last, and restore the caller's terminal.
    pub(crate) fn finish(mut self) {
        // Every slave is closed by now, so the master gives its rest and then EIO.
        while !self.output.closed {
            if self.output.is_empty() {
                self.output.fill(self.master.as_fd());
            } else {
                self.output.drain(self.stdout.as_fd());
            }
        }
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = termios::tcsetattr(&self.stdin, OptionalActions::Now, saved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_keeps_what_its_far_end_did_not_take() {
        let mut pipe = Pipe::new();
        let (from, from_writer) = rustix::pipe::pipe().expect("a pipe");
        rustix::io::write(&from_writer, b"hello").expect("room");
        pipe.fill(from.as_fd());
        assert!(!pipe.is_empty());
        let (to_reader, to) = rustix::pipe::pipe().expect("a pipe");
        pipe.drain(to.as_fd());
        assert!(pipe.is_empty());
        let mut got = [0; 8];
        assert_eq!(rustix::io::read(&to_reader, &mut got), Ok(5));
        drop(from_writer);
        pipe.fill(from.as_fd());
        assert!(pipe.closed, "the end of the file is seen");
    }
}
