//! Exit codes of `ctr` itself. Every other code is the container's own.

/// All is well.
pub const SUCCESS: u8 = 0;

/// The command line or a manifest is wrong; nothing was created.
pub const BAD_INPUT: u8 = 2;

/// `ctr` itself failed: the kernel, the disk or a permission said no.
pub const ENGINE: u8 = 125;

/// The reader of our output went away, as a shell reports SIGPIPE.
pub const BROKEN_PIPE: u8 = 141;

/// How a command failed, when it has not shown a [`Report`](crate::diagnostic::Report) itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Standard output is closed or full.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// A file or directory that the command line asked for could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The exit code that goes with it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe => BROKEN_PIPE,
            Self::Output(_) | Self::Write { .. } => ENGINE,
        }
    }
}

/// What a command returns: its exit code, or the reason it has none.
pub type CommandResult = Result<u8, Error>;
