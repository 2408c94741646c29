//! The end: the root's own flags, pivot_root, the working directory.

use std::path::Path;

use super::{Steps, TreeBuilder, text};
use crate::attrs::{Change, MountAttrs};
use crate::error::Error;
use crate::step::{Reg, Step};

/// What programs expect to find; the process's own umask is set by who confines it.
const DEFAULT_UMASK: u32 = 0o022;

impl TreeBuilder {
    /// Nothing on the root file system can be written; mounts below keep what they have. After all
    /// that makes mount points.
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn read_only_root(&mut self) -> Steps {
        self.root_change(Change::set(MountAttrs::RDONLY), false)
    }

    /// Changes the root mount, with all below when `recursive`.
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn root_change(&mut self, change: Change, recursive: bool) -> Steps {
        self.needs_root("root_change")?;
        let start = self.len();
        self.change(Reg::Root, recursive, change);
        Ok(start..self.len())
    }

    /// Swaps the root and lets go of the host's. `pivot_root(".", ".")` stacks the old root on the new
    /// one, so the image needs no directory for it, and the old one is detached at once.
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn pivot(&mut self) -> Steps {
        self.needs_root("pivot")?;
        let start = self.len();
        self.steps
            .extend([Step::Fchdir(Reg::Root), Step::PivotRoot]);
        if self.over_slash {
            // The old root lies on the new one now, and on the old root lies scratch. umount2 takes
            // the topmost, so without a second call the host's tree would stay reachable as `/..`.
            self.steps.push(Step::DetachOldRoot);
        }
        self.steps.extend([
            // The working directory is the new root, and `.` finds what is mounted on it: the old.
            Step::DetachOldRoot,
            Step::ChdirSlash,
            Step::Umask(DEFAULT_UMASK),
        ]);
        self.pivoted = true;
        Ok(start..self.len())
    }

    /// Enters the working directory, looked up inside the root, never through a magic link, and
    /// checked by getcwd(2). `create`: make it if missing.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Order`] before [`pivot`](Self::pivot).
    pub fn workdir(&mut self, path: &Path, create: bool) -> Steps {
        self.needs(self.pivoted, "workdir", "pivot")?;
        let start = self.len();
        let path = match text::in_root(path) {
            // pivot left the process there.
            Err(Error::Path { .. }) if path == Path::new("/") => {
                self.steps.push(Step::Fchdir(Reg::Root));
                return Ok(start..self.len());
            }
            path => path?,
        };
        self.steps.push(Step::Workdir { path, create });
        Ok(start..self.len())
    }
}
