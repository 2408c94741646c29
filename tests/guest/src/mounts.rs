//! The mount table of the VM, and the part of it that each test gets anew.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const TIGHT: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Mounts a file system that has no device.
pub(crate) fn pseudo(kind: &str, at: &str, flags: MsFlags, data: Option<&str>) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("mkdir({at:?})"))?;
    mount(Some(kind), at, Some(kind), flags, data)
        .with_context(|| format!("mount({kind:?}, {at:?}, {data:?})"))
}

/// `/proc`, `/sys` and `/dev` below `root`, as the boot needs them before it knows anything.
pub(crate) fn first(root: &str) -> Result<()> {
    pseudo("proc", &format!("{root}/proc"), TIGHT, None)?;
    pseudo("sysfs", &format!("{root}/sys"), TIGHT, None)?;
    pseudo(
        "devtmpfs",
        &format!("{root}/dev"),
        MsFlags::MS_NOSUID,
        Some("mode=0755"),
    )
}

/// What is mounted once and seen by all tests.
pub(crate) fn machine() -> Result<()> {
    pseudo(
        "devpts",
        "/dev/pts",
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("gid=5,mode=620,ptmxmode=666"),
    )?;
    pseudo(
        "tmpfs",
        "/dev/shm",
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=1777"),
    )?;
    pseudo("mqueue", "/dev/mqueue", TIGHT, None)?;
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(target, format!("/dev/{link}"))
            .with_context(|| format!("symlink(\"/dev/{link}\")"))?;
    }
    below_sys()?;
    volatile()
}

/// The mounts below `/sys`.
fn below_sys() -> Result<()> {
    mount(
        Some("cgroup2"),
        "/sys/fs/cgroup",
        Some("cgroup2"),
        TIGHT,
        Some("nsdelegate"),
    )
    .context("mount(\"cgroup2\", \"/sys/fs/cgroup\", \"nsdelegate\")")?;
    mount(
        Some("securityfs"),
        "/sys/kernel/security",
        Some("securityfs"),
        TIGHT,
        None::<&str>,
    )
    .context("mount(\"securityfs\")")
}

/// The directories that no test may leave something in.
fn volatile() -> Result<()> {
    let open = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    pseudo("tmpfs", "/tmp", open, Some("mode=1777"))?;
    pseudo("tmpfs", "/run", open, Some("mode=0755"))?;
    pseudo("tmpfs", "/var", open, Some("mode=0755"))?;
    for (directory, mode, owner) in [
        ("/var/lib", 0o755, 0),
        ("/var/tmp", 0o1777, 0),
        ("/run/user", 0o755, 0),
        ("/run/user/1000", 0o700, 1000),
    ] {
        fs::create_dir(directory).with_context(|| format!("mkdir({directory:?})"))?;
        fs::set_permissions(
            directory,
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
        .with_context(|| format!("chmod({directory:?})"))?;
        std::os::unix::fs::chown(directory, Some(owner), Some(owner))
            .with_context(|| format!("chown({directory:?})"))?;
    }
    Ok(())
}

/// In a new mount and network namespace: cuts the tie to the machine's mounts and makes fresh what
/// belongs to the test alone.
///
/// `/sys` is mounted again because a sysfs shows the network namespace of whoever mounted it.
pub(crate) fn of_one_test() -> Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("mount(\"/\", MS_REC|MS_PRIVATE)")?;
    umount2("/sys", MntFlags::MNT_DETACH).context("umount2(\"/sys\")")?;
    pseudo("sysfs", "/sys", TIGHT, None)?;
    below_sys()?;
    for at in ["/tmp", "/run", "/var"] {
        umount2(at, MntFlags::MNT_DETACH).with_context(|| format!("umount2({at:?})"))?;
    }
    volatile()
}

/// Makes a new tmpfs the root of this process, with the content of `/tree`.
pub(crate) fn leave_the_initramfs() -> Result<()> {
    const NEW: &str = "/newroot";
    pseudo("tmpfs", NEW, MsFlags::empty(), Some("mode=0755"))?;
    let copied = std::process::Command::new("/tree/usr/bin/busybox")
        .args(["cp", "-a", "/tree/.", NEW])
        .status()
        .context("start busybox cp")?;
    anyhow::ensure!(copied.success(), "cp -a /tree/. {NEW}: {copied}");
    fs::copy("/init", format!("{NEW}/usr/bin/ctr-guest"))
        .context("copy /init into the new root")?;
    for at in ["/proc", "/sys", "/dev"] {
        let target = format!("{NEW}{at}");
        fs::create_dir_all(&target).with_context(|| format!("mkdir({target:?})"))?;
        mount(
            Some(at),
            target.as_str(),
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )
        .with_context(|| format!("mount({at:?}, {target:?}, MS_MOVE)"))?;
    }
    nix::unistd::chdir(NEW).context("chdir(\"/newroot\")")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("mount(\".\", \"/\", MS_MOVE)")?;
    nix::unistd::chroot(".").context("chroot(\".\")")?;
    nix::unistd::chdir("/").context("chdir(\"/\")")
}

/// Mounts the ext4 file system on the disk with this serial number.
pub(crate) fn disk(disk: &guest::Disk) -> Result<()> {
    let device = block_device(&disk.serial)?;
    fs::create_dir_all(&disk.at).with_context(|| format!("mkdir({:?})", disk.at))?;
    let flags = if disk.read_only {
        MsFlags::MS_RDONLY
    } else {
        MsFlags::empty()
    };
    mount(
        Some(device.as_str()),
        disk.at.as_str(),
        Some("ext4"),
        flags,
        None::<&str>,
    )
    .with_context(|| format!("mount({device:?}, {:?}, \"ext4\")", disk.at))
}

fn block_device(serial: &str) -> Result<String> {
    for entry in fs::read_dir("/sys/block").context("read /sys/block")? {
        let entry = entry.context("read /sys/block")?;
        let found = fs::read_to_string(entry.path().join("serial"));
        if found.is_ok_and(|found| found.trim() == serial) {
            let device = format!("/dev/{}", entry.file_name().display());
            anyhow::ensure!(Path::new(&device).exists(), "{device}: {}", Errno::ENOENT);
            return Ok(device);
        }
    }
    anyhow::bail!("no block device has the serial number {serial:?}")
}
