//! A terminal with `ctr` on it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::case::Case;
use crate::outcome::patience;

/// The outer end of a terminal on which a program runs.
pub struct Terminal {
    master: File,
    child: Child,
    heard: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    /// `ctr run` of a manifest, on a terminal of this size that controls it.
    ///
    /// # Panics
    /// When there is no terminal to be had.
    pub fn run(case: &Case, manifest: &str, size: (u16, u16)) -> Self {
        let manifest = case.manifest(manifest);
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master)
            .and_then(|()| unlockpt(&master))
            .expect("unlockpt");
        let name = ptsname(&master, Vec::new())
            .expect("ptsname")
            .into_string()
            .expect("a path");
        case.give(name.as_ref());
        // O_NOCTTY: or it would become the terminal of this process, when that leads its session, and its
        // hang-up would end the test.
        let slave = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(&name)
            .expect("open the terminal");
        resize(&master, size);
        // With -c the terminal on its standard input becomes the controlling one of a new session.
        let mut command = case.command("setsid");
        command
            .env("TERM", "xterm")
            .arg("-c")
            .arg(crate::case::program("ctr"))
            .arg("run")
            .arg(manifest);
        let end = || Stdio::from(OwnedFd::from(slave.try_clone().expect("dup")));
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("dup");
        let (send, heard) = channel();
        // Ends with EIO, when the last process has closed the terminal.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(got @ 1..) = reader.read(&mut bytes) {
                if send.send(bytes[..got].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            master,
            child,
            heard,
            text: String::new(),
        }
    }

    /// Waits until this text has been printed.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + patience(20);
        while !self.text.contains(text) {
            match self
                .heard
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("no {text:?} ({error}) in:\n{}", self.text),
            }
        }
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal takes nothing.
    pub fn type_in(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("write to the terminal");
    }

    /// Makes the window this large.
    pub fn resize(&self, size: (u16, u16)) {
        resize(&self.master, size);
    }

    /// Waits for the end: the exit status, and everything that was printed.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + patience(20);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "does not end; so far:\n{}",
                self.text
            );
            thread::sleep(Duration::from_millis(5));
        };
        while let Ok(bytes) = self.heard.recv_timeout(Duration::from_millis(100)) {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status.code(), std::mem::take(&mut self.text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl std::os::fd::AsFd, (rows, columns): (u16, u16)) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("TIOCSWINSZ");
}
