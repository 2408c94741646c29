//! Images, as a caller has them: Debian's docker-registry to bring them from, a store of the test's own.

use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::case::{Case, Who};
use crate::outcome::{Outcome, Started};
use crate::roots::images;
use crate::space::wait_for;

/// Where the registry listens.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// Root's own images are kept here, which is memory in the VM.
const OF_ROOT: &str = "/var/lib/ctr/images";

/// The images of a case's caller, empty at first and on a disk.
pub struct Library<'a> {
    case: &'a Case,
    registry: Option<Child>,
}

impl<'a> Library<'a> {
    /// With the registry running, which is read-only.
    ///
    /// # Panics
    /// When it cannot be had.
    #[must_use]
    pub fn new(case: &'a Case) -> Self {
        case.mkdir("data");
        if case.who() == Who::Root {
            case.mkdir("data/ctr");
            let at = case.mkdir("data/ctr/images");
            std::fs::set_permissions(&at, Permissions::from_mode(0o700)).expect("chmod");
            std::fs::create_dir_all(OF_ROOT).expect("mkdir");
            mount_bind(at, OF_ROOT).expect("mount");
        }
        let mut library = Self {
            case,
            registry: None,
        };
        let kept = images().join("registry");
        library.registry = Some(library.serve(&kept, "{ readonly: { enabled: true } }"));
        library
    }

    fn serve(&self, kept: &Path, maintenance: &str) -> Child {
        let config = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {kept:?} }}, maintenance: {maintenance} }}\n\
             http: {{ addr: \"{REGISTRY}\" }}\n"
        );
        let config = self.case.write("registry.yml", &config);
        let child = Command::new(images().join("bin/docker-registry"))
            .args(["serve".as_ref(), config.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry");
        wait_for("the registry listens", || TcpStream::connect(REGISTRY).ok());
        child
    }

    /// Ends the registry.
    ///
    /// # Panics
    /// When it cannot.
    pub fn close(&mut self) {
        if let Some(mut registry) = self.registry.take() {
            registry.kill().expect("kill");
            registry.wait().expect("wait");
        }
    }

    /// Where the caller's images are kept.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.case.dir().join("data/ctr/images")
    }

    /// `ctr` with these images.
    pub fn ctr<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.case.ctr(arguments);
        command.env("XDG_DATA_HOME", self.case.dir().join("data"));
        command
    }

    /// `ctr image`, to its end.
    pub fn image(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.ctr(&[&["image"], arguments].concat()))
    }

    /// [`Case::run`] with these images.
    pub fn run(&self, manifest: &str) -> Outcome {
        let manifest = self.case.manifest(manifest);
        Outcome::of(&mut self.ctr(&["run".as_ref(), manifest.as_os_str()]))
    }

    /// [`Case::start`] with these images.
    pub fn start(&self, manifest: &str) -> Started {
        let manifest = self.case.manifest(manifest);
        Started::new(&mut self.ctr(&["run".as_ref(), manifest.as_os_str()]))
    }
}

impl Drop for Library<'_> {
    fn drop(&mut self) {
        self.close();
        if self.case.who() == Who::Root {
            let done = unmount(OF_ROOT, UnmountFlags::empty()).map_err(Into::into);
            let done = done.and_then(|()| std::fs::remove_dir(OF_ROOT));
            assert!(std::thread::panicking() || done.is_ok(), "umount: {done:?}");
        }
    }
}
