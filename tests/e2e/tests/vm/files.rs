//! The files a container sees: mounts, read-only places, kernel parameters, devices, Landlock.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use e2e::{Case, Outcome, Who, case};

/// Runs a shell script in the small root, with more lines of the manifest.
fn script(case: &Case, script: &str, more: &str) -> Outcome {
    case.root("root");
    case.run(&format!(
        "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n{more}"
    ))
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_bind_mount_shows_the_hosts_files_and_takes_writes() {
    case(Who::Root, |case| {
        let data = case.mkdir("data");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).expect("chmod");
        case.write("data/in", "from outside\n");
        let more = "[[mount]]\nbind = \"./data\"\nat = \"/data\"\n";
        let out = script(case, "cat /data/in; echo from inside > /data/out", more).ok();
        assert_eq!(out, "from outside\n");
        assert_eq!(
            fs::read_to_string(data.join("out")).expect("read"),
            "from inside\n"
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_read_only_bind_mount_takes_none() {
    case(Who::Root, |case| {
        let data = case.mkdir("data");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).expect("chmod");
        let more = "[[mount]]\nbind = \"./data\"\nat = \"/data\"\nread-only = true\n";
        let outcome = script(case, "echo x > /data/out", more);
        assert_ne!(outcome.code, Some(0));
        outcome.says("Read-only file system");
        assert!(!data.join("out").exists());
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn with_owner_match_files_belong_to_the_containers_user_on_both_sides() {
    for user in ["0", "1000"] {
        case(Who::Root, |case| {
            let data = case.mkdir("data");
            chown(&data, Some(1234), Some(1234)).expect("chown");
            let more = format!(
                "user = \"{user}\"\n[[mount]]\nbind = \"./data\"\nat = \"/data\"\nowner = \"match\"\n"
            );
            let out = script(
                case,
                "stat -c %u:%g /data; echo x > /data/out; stat -c %u /data/out",
                &more,
            )
            .ok();
            let group = if user == "0" { 0 } else { 1000 };
            assert_eq!(out, format!("{user}:{group}\n{user}\n"));
            assert_eq!(fs::metadata(data.join("out")).expect("stat").uid(), 1234);
        });
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_users_own_files_belong_to_the_containers_user_with_owner_match() {
    case(Who::User, |case| {
        let data = case.mkdir("data");
        let more =
            "user = \"1000\"\n[[mount]]\nbind = \"./data\"\nat = \"/data\"\nowner = \"match\"\n";
        let out = script(case, "stat -c %u:%g /data; echo x > /data/out", more).ok();
        assert_eq!(out, "1000:1000\n");
        assert_eq!(fs::metadata(data.join("out")).expect("stat").uid(), 1000);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_bind_mount_of_a_file_is_one() {
    case(Who::Root, |case| {
        case.write("file", "content\n");
        let more = "[[mount]]\nbind = \"./file\"\nat = \"/etc/deep/er/file\"\nread-only = true\n";
        assert_eq!(
            script(case, "cat /etc/deep/er/file", more).ok(),
            "content\n"
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_bind_mount_of_nothing_is_refused_with_its_line() {
    case(Who::Root, |case| {
        let more = "[[mount]]\nbind = \"./absent\"\nat = \"/data\"\n";
        script(case, "true", more)
            .expect(2)
            .says("absent")
            .says("toml:4");
        assert!(!case.dir().join("absent").exists(), "and not created");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_tmpfs_has_its_size_and_is_gone_afterwards() {
    case(Who::Root, |case| {
        let more = "[[mount]]\ntmpfs = \"1MiB\"\nat = \"/data\"\n";
        let fill = "df -k /data | tail -1 | awk '{ print $2 }'; dd if=/dev/zero of=/data/x bs=64k count=100 2>&1 | grep -c 'No space'";
        assert_eq!(script(case, fill, more).ok(), "1024\n1\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn writes_go_into_the_directory_unless_the_root_is_read_only() {
    case(Who::Root, |case| {
        script(case, "echo x > /home/new", "").ok();
        assert_eq!(
            fs::metadata(case.dir().join("root/home/new"))
                .expect("written")
                .uid(),
            0
        );
        let outcome = case.run(
            "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"echo x > /home/other\"]\n[security]\nread-only-root = true\n",
        );
        assert_ne!(outcome.code, Some(0));
        outcome.says("Read-only file system");
        assert!(!case.dir().join("root/home/other").exists());
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn kernel_parameters_are_set_for_the_container_alone() {
    case(Who::Root, |case| {
        let ttl = "/proc/sys/net/ipv4/ip_default_ttl";
        let before = fs::read_to_string(ttl).expect("read");
        let more = "[security]\nsysctl = { \"net.ipv4.ip_default_ttl\" = \"33\", \"kernel.shmmni\" = \"77\" }\n";
        let read = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni; echo 1 > /proc/sys/net/ipv4/ip_default_ttl";
        let outcome = script(case, read, more);
        assert_eq!(outcome.out, "33\n77\n", "{outcome}");
        outcome.says("Read-only file system");
        assert_eq!(fs::read_to_string(ttl).expect("read"), before);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn only_devices_that_are_asked_for_are_there() {
    case(Who::Root, |case| {
        let without = script(
            case,
            "ls /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c",
            "",
        )
        .ok();
        assert!(!without.contains("fuse"), "{without}");
        assert!(without.ends_with("3\n"), "{without}");
        // As udev makes it on a real machine: container root is not root here, and needs the mode.
        let mode = fs::metadata("/dev/fuse").expect("/dev/fuse").permissions();
        if mode.mode() & 0o006 != 0o006 {
            fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).expect("chmod");
        }
        let more = "[security]\ndevices = [\"/dev/fuse\"]\n";
        let open = "stat -c '%F %t:%T' /dev/fuse; : < /dev/fuse && echo opens";
        let outcome = script(case, open, more);
        fs::set_permissions("/dev/fuse", mode).expect("chmod");
        assert_eq!(outcome.ok(), "character special file a:e5\nopens\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn device_nodes_of_the_root_do_nothing() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let made = std::process::Command::new("mknod")
            .arg(root.join("tmp/kmsg"))
            .args(["c", "1", "11"])
            .status()
            .expect("mknod");
        assert!(made.success());
        let outcome =
            case.run("rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \": < /tmp/kmsg\"]\n");
        assert_ne!(outcome.code, Some(0), "{outcome}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn landlock_allows_what_it_lists_and_nothing_else() {
    case(Who::Root, |case| {
        let more = "[security]\nlandlock = { read = [\"/bin\", \"/etc\"], write = [\"/tmp\"] }\n";
        let try_all = "cat /etc/group > /tmp/copy && wc -l < /tmp/copy; echo x > /home/x; ls /home; echo x > /etc/x";
        let outcome = script(case, try_all, more);
        assert_eq!(outcome.out, "3\n");
        assert_eq!(
            outcome.err.matches("Permission denied").count(),
            3,
            "{outcome}"
        );
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn rlimits_and_user_are_what_the_manifest_says() {
    case(Who::Root, |case| {
        let more = "user = \"user\"\nworkdir = \"/home\"\n[security]\nrlimits = { nofile = \"100:200\" }\n";
        let out = script(
            case,
            "id -u; id -g; id -G; pwd; ulimit -Sn; ulimit -Hn; ulimit -c",
            more,
        )
        .ok();
        assert_eq!(out, "1000\n1000\n1000 2000\n/home\n100\n200\n0\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_number_is_a_uid_even_where_a_user_has_it_as_name() {
    case(Who::Root, |case| {
        case.root("root");
        case.write("root/etc/passwd", "1000:x:0:0::/:/bin/sh\n");
        let out = case
            .run("rootfs = \"./root\"\nuser = \"1000\"\ncommand = [\"id\", \"-u\"]\n")
            .ok();
        assert_eq!(out, "1000\n");
    });
}
