//! Root file systems.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::{Case, program};

/// The Debian root file system.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn debian() -> PathBuf {
    let path = std::env::var_os("CTR_TEST_DEBIAN");
    path.expect("CTR_TEST_DEBIAN names a Debian root file system: cargo xtask fixtures")
        .into()
}

/// The Debian root file system with nginx, PostgreSQL, python3 and their clients.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn services() -> PathBuf {
    let path = std::env::var_os("CTR_TEST_SERVICES");
    path.expect("CTR_TEST_SERVICES names a root file system with servers: cargo xtask fixtures")
        .into()
}

/// The directory with docker-registry and the images that it keeps.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn images() -> PathBuf {
    let path = std::env::var_os("CTR_TEST_IMAGES");
    path.expect("CTR_TEST_IMAGES names a registry with images: cargo xtask fixtures")
        .into()
}

impl Case {
    /// A small root of the caller's: busybox with its applets, `probe`, `true`, two users.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn root(&self, name: &str) -> PathBuf {
        let root = self.mkdir(name);
        for dir in ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp"] {
            self.mkdir(&format!("{name}/{dir}"));
        }
        let bin = root.join("bin");
        self.copy(Path::new("/bin/busybox"), &bin.join("busybox"));
        for ours in ["probe", "true"] {
            self.copy(&program(ours), &bin.join(ours));
        }
        let list = Command::new("/bin/busybox")
            .arg("--list")
            .output()
            .expect("busybox --list");
        for applet in String::from_utf8_lossy(&list.stdout).lines() {
            let link = bin.join(applet);
            if !link.exists() {
                symlink("busybox", &link)
                    .unwrap_or_else(|e| panic!("symlink {}: {e}", link.display()));
            }
        }
        self.write(
            &format!("{name}/etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n",
        );
        self.write(
            &format!("{name}/etc/group"),
            "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n",
        );
        root
    }

    fn copy(&self, from: &Path, to: &Path) {
        fs::copy(from, to).unwrap_or_else(|e| panic!("copy {}: {e}", from.display()));
        self.give(to);
    }
}
