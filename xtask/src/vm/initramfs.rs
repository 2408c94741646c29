//! The initramfs: init, its orders, the modules, and the tree that becomes the VM's root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use cpio::newc::{self, ModeFileType};
use guest::Config;

use crate::cmd;
use crate::vm::kernel::Kernel;
use crate::vm::modules;

/// The ordinary user of the VM.
const USER: u32 = 1000;

/// Small files of the VM's `/etc`.
const ETC: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    (
        "group",
        "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n",
    ),
    ("subuid", "user:100000:65536\n"),
    ("subgid", "user:100000:65536\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("hostname", "ctr-vm\n"),
    ("resolv.conf", "nameserver 127.0.0.1\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
    ("os-release", "ID=ctr-vm\nNAME=\"ctr test VM\"\n"),
];

/// Writes the archive; `config` gets the names of the modules that are in it.
///
/// # Errors
///
/// A module or a program of this machine (busybox, newuidmap, nft, pasta) is missing.
pub(crate) fn write(target: &Path, kernel: &Kernel, config: &Config, init: &Path) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "newroot", "modules", "tree"] {
        archive.directory(directory, 0o755, 0)?;
    }
    archive.file("init", 0o755, &read(init)?)?;
    let mut config = config.clone();
    for module in modules::load_order(&kernel.modules)? {
        archive.file(&format!("modules/{}", module.file), 0o644, &module.content)?;
        config.modules.push(module.file);
    }
    archive.file("config", 0o644, config.to_text().as_bytes())?;
    tree(&mut archive)?;
    fs::write(target, archive.finish()?).with_context(|| format!("write {target:?}"))
}

/// A small merged-usr system: busybox, `/etc`, newuidmap, newgidmap, pasta and nft with their libraries.
fn tree(archive: &mut Archive) -> Result<()> {
    for directory in [
        "ctr", "etc", "fixtures", "home", "mnt", "opt", "scratch", "srv", "usr",
    ] {
        archive.directory(&format!("tree/{directory}"), 0o755, 0)?;
    }
    for directory in ["bin", "lib", "lib64", "share"] {
        archive.directory(&format!("tree/usr/{directory}"), 0o755, 0)?;
    }
    for (link, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/bin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        archive.symlink(&format!("tree/{link}"), target)?;
    }
    archive.directory("tree/root", 0o700, 0)?;
    archive.directory("tree/home/user", 0o755, USER)?;
    for (name, text) in ETC {
        archive.file(&format!("tree/etc/{name}"), 0o644, text.as_bytes())?;
    }
    let busybox = program("busybox", "busybox-static")?;
    archive.file("tree/usr/bin/busybox", 0o755, &read(&busybox)?)?;
    let applets = cmd::output(Command::new(&busybox).arg("--list"))?;
    for applet in applets
        .lines()
        .filter(|applet| !["busybox", "tar"].contains(applet))
    {
        archive.symlink(&format!("tree/usr/bin/{applet}"), "busybox")?;
    }
    let mut libraries = BTreeSet::new();
    for name in ["newuidmap", "newgidmap"] {
        let path = program(name, "uidmap")?;
        // Set-uid root: they write the maps that an ordinary user may not write.
        archive.file(&format!("tree/usr/bin/{name}"), 0o4755, &read(&path)?)?;
        libraries.extend(libraries_of(&path)?);
    }
    // nft: what the leak oracle sees the firewall with, another's eyes than those that the engine has.
    // GNU tar: what layers are held against.
    for (name, package) in [("nft", "nftables"), ("pasta", "passt"), ("tar", "tar")] {
        let path = program(name, package)?;
        archive.file(&format!("tree/usr/bin/{name}"), 0o755, &read(&path)?)?;
        libraries.extend(libraries_of(&path)?);
    }
    for library in libraries {
        let place = library.strip_prefix("/usr").unwrap_or(&library);
        let place = Path::new("tree/usr").join(place.strip_prefix("/").unwrap_or(place));
        archive.parents(&place)?;
        archive.file(&place.to_string_lossy(), 0o755, &read(&library)?)?;
    }
    Ok(())
}

/// The shared objects, the dynamic linker included, as `ldd` finds them.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let text = cmd::output(Command::new("ldd").arg(program))?;
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn program(name: &str, package: &str) -> Result<PathBuf> {
    cmd::which(name).with_context(|| format!("no `{name}` here: `apt-get install {package}`"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {path:?}"))
}

/// A cpio archive in the kernel's format (`newc`), written from the top down.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<PathBuf>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, path: &str, mode: u32, owner: u32) -> Result<()> {
        self.directories.insert(PathBuf::from(path));
        self.add(path, ModeFileType::Directory, mode, owner, &[])
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.add(path, ModeFileType::Regular, mode, 0, content)
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.add(path, ModeFileType::Symlink, 0o777, 0, target.as_bytes())
    }

    /// The directories above a path, as far as they are not there.
    fn parents(&mut self, path: &Path) -> Result<()> {
        let above: Vec<_> = path
            .ancestors()
            .skip(1)
            .filter(|p| p.iter().count() > 0)
            .collect();
        for directory in above.into_iter().rev() {
            if !self.directories.contains(directory) {
                self.directory(&directory.to_string_lossy(), 0o755, 0)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        path: &str,
        kind: ModeFileType,
        mode: u32,
        owner: u32,
        content: &[u8],
    ) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{path} is too large"))?;
        let entry = newc::Builder::new(path)
            .ino(self.entries)
            .mode(mode)
            .set_mode_file_type(kind)
            .uid(owner)
            .gid(owner);
        let mut writer = entry.write(&mut self.bytes, size);
        std::io::Write::write_all(&mut writer, content)
            .and_then(|()| writer.finish().map(drop))
            .with_context(|| format!("add {path} to the initramfs"))
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        newc::trailer(&mut self.bytes).context("end the initramfs")?;
        Ok(self.bytes)
    }
}
