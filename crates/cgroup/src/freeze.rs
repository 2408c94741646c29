//! Freezing and killing all processes of a group and of those below it.

use std::time::{Duration, Instant};

use crate::{Error, Group};

impl Group {
    /// Freezes the group and all below it, and waits until nothing there runs any more.
    ///
    /// A frozen process can still be killed. The request stands when the wait is given up:
    /// [`Group::thaw`] takes it back.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when a process in uninterruptible sleep or in vfork(2) does not stop in
    /// time; [`Error::Write`].
    ///
    /// # Kernel
    ///
    /// `cgroup.freeze` and `cgroup.events`, since Linux 5.2.
    pub fn freeze(&self, timeout: Duration) -> Result<(), Error> {
        self.set_frozen(true, "frozen 1", timeout)
    }

    /// Lets the group run again, and waits until it does. A frozen ancestor keeps it frozen.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when an ancestor is frozen; [`Error::Write`].
    pub fn thaw(&self, timeout: Duration) -> Result<(), Error> {
        self.set_frozen(false, "frozen 0", timeout)
    }

    fn set_frozen(&self, on: bool, wanted: &'static str, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        // Opened first: a change after this is reported, however soon it comes.
        let watch = self.watch_events()?;
        self.write_file("cgroup.freeze", if on { "1" } else { "0" })?;
        watch.wait(deadline, wanted, |events| events.frozen == on)?;
        Ok(())
    }

    /// Sends SIGKILL to every process of the group and of those below it; none that is being forked
    /// meanwhile escapes. Does not wait: see [`Group::wait_empty`].
    ///
    /// # Errors
    ///
    /// [`Error::Write`]: `ENOENT` before Linux 5.14 and in the root group, `EOPNOTSUPP` in a
    /// threaded group.
    ///
    /// # Kernel
    ///
    /// `cgroup.kill`, since Linux 5.14.
    pub fn kill(&self) -> Result<(), Error> {
        self.write_file("cgroup.kill", "1")
    }

    /// Waits until the group and all below it hold no live process.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`].
    pub fn wait_empty(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        self.watch_events()?
            .wait(deadline, "populated 0", |events| !events.populated)?;
        Ok(())
    }
}
