//! Who may change the firewall, or the records it follows from.
//!
//! Whoever starts or ends a container changes both, one after the other, and holds a shared lock
//! meanwhile; whoever compares them holds it alone. So nobody takes what is half done for a fault and mends it.
//! The file also says which generation of the ruleset was found to be right: of many supervisors that
//! are woken by one change, one looks.
//!
//! It is flock(2) on `RUN/net/.order`, which dies with its holder.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::define::NetworkError;

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Order(OwnedFd);

impl Order {
    /// For a change of a container's own. A start or an end goes on without it.
    pub(crate) fn shared(run_root: &Path) -> Option<Self> {
        Self::take(run_root, FlockOperation::LockShared)
            .inspect_err(|error| tracing::warn!(%error, "the firewall is changed without a lock"))
            .ok()
    }

    /// For a comparison of all.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub(crate) fn alone(run_root: &Path) -> Result<Self, NetworkError> {
        let dir = run_root.join("net");
        std::fs::create_dir_all(&dir).map_err(|error| NetworkError::Call {
            call: "mkdir",
            path: dir,
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })?;
        Self::take(run_root, FlockOperation::LockExclusive)
    }

    fn take(run_root: &Path, operation: FlockOperation) -> Result<Self, NetworkError> {
        let path = run_root.join("net/.order");
        let call = |call: &'static str| {
            let path = path.clone();
            move |errno| NetworkError::Call { call, path, errno }
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(CWD, &path, flags, mode) {
            // Made by the first one of a boot.
            Err(Errno::NOENT) => openat(CWD, &path, flags | OFlags::CREATE, mode),
            opened => opened,
        };
        let file = file.map_err(call("openat"))?;
        retry_on_intr(|| flock(&file, operation)).map_err(call("flock"))?;
        Ok(Self(file))
    }

    /// The generation of the ruleset that was last found to be right, see [`Order::found_right`].
    pub(crate) fn right(&self) -> Option<u32> {
        let mut bytes = [0; 4];
        let got = pread(&self.0, &mut bytes, 0).ok()?;
        (got == bytes.len()).then(|| u32::from_ne_bytes(bytes))
    }

    /// Tell those who come next. A failure costs them a look.
    pub(crate) fn found_right(&self, generation: u32) {
        let _ = pwrite(&self.0, &generation.to_ne_bytes(), 0);
    }
}

impl Drop for Order {
    /// Said, since a child has a copy of the descriptor until it executes something.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_compares_is_alone_and_tells_the_next_what_was_right() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("net")).expect("mkdir");
        let one = Order::shared(root.path()).expect("a lock");
        let two = Order::shared(root.path()).expect("shared");
        let path = root.path().join("net/.order");
        let try_alone = || {
            let file = std::fs::File::open(&path).expect("open");
            flock(&file, FlockOperation::NonBlockingLockExclusive)
        };
        assert_eq!(try_alone(), Err(Errno::WOULDBLOCK));
        drop((one, two));
        let alone = Order::alone(root.path()).expect("a lock");
        assert_eq!(try_alone(), Err(Errno::WOULDBLOCK));
        assert_eq!(alone.right(), None);
        alone.found_right(7);
        drop(alone);
        assert_eq!(Order::alone(root.path()).expect("a lock").right(), Some(7));
    }

    #[test]
    fn without_its_directory_a_change_goes_on_and_a_comparison_makes_it() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(Order::shared(root.path()).is_none());
        assert_eq!(Order::alone(root.path()).expect("a lock").right(), None);
    }
}
