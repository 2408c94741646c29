//! Root directories that try to lead the engine out of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use e2e::{Case, Outcome, Who, case};

/// A directory outside, whose content no container may change; returns what it holds.
fn canary(case: &Case) -> std::path::PathBuf {
    let dir = case.mkdir("canary");
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
    case.write("canary/file", "untouched\n");
    dir
}

fn untouched(dir: &Path) {
    let names: Vec<_> = fs::read_dir(dir)
        .expect("read")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["file"]);
    assert_eq!(
        fs::read_to_string(dir.join("file")).expect("read"),
        "untouched\n"
    );
}

/// Replaces `name` in the root by a symlink to `target`.
fn link(root: &Path, name: &str, target: &Path) {
    let path = root.join(name);
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(&path).expect("remove");
    } else if path.symlink_metadata().is_ok() {
        fs::remove_file(&path).expect("unlink");
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("mkdir");
    }
    symlink(target, path).expect("symlink");
}

fn run(case: &Case, more: &str) -> Outcome {
    case.run(&format!(
        "name = \"hostile\"\nrootfs = \"./root\"\ncommand = [\"/bin/echo\", \"ran\"]\n{more}"
    ))
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn symlinks_in_place_of_proc_dev_and_sys_are_refused() {
    for name in ["proc", "dev", "sys"] {
        case(Who::Root, |case| {
            let root = case.root("root");
            let canary = canary(case);
            for target in [
                canary.as_path(),
                Path::new("/tmp"),
                Path::new("../canary"),
                Path::new("/"),
            ] {
                link(&root, name, target);
                run(case, "").expect(125).says(name);
                untouched(&canary);
            }
        });
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn files_in_place_of_proc_dev_and_sys_are_refused() {
    for name in ["proc", "dev", "sys"] {
        case(Who::Root, |case| {
            let root = case.root("root");
            fs::remove_dir(root.join(name)).expect("rmdir");
            fs::write(root.join(name), "").expect("write");
            run(case, "").expect(125).says(name);
        });
    }
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_mount_target_that_leads_outside_stays_inside() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let canary = canary(case);
        let data = case.mkdir("data");
        fs::write(data.join("x"), "x").expect("write");
        let more = "[[mount]]\nbind = \"./data\"\nat = \"/out/sub/dir\"\n";
        for target in [
            canary.as_path(),
            Path::new("../../canary"),
            Path::new("/proc/1/root"),
        ] {
            link(&root, "out", target);
            // Inside, such a target exists or not; outside nothing may come of it.
            let outcome = run(case, more);
            assert!(matches!(outcome.code, Some(0 | 125)), "{outcome}");
            untouched(&canary);
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn etc_files_that_are_symlinks_to_the_host_are_not_written() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let canary = canary(case);
        for name in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            link(&root, name, &canary.join("file"));
        }
        let outcome = run(case, "");
        assert!(matches!(outcome.code, Some(0 | 125)), "{outcome}");
        untouched(&canary);
        link(&root, "etc/hosts", &canary.join("new"));
        let outcome = run(case, "");
        assert!(matches!(outcome.code, Some(0 | 125)), "{outcome}");
        untouched(&canary);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_database_outside_of_the_root_is_not_read() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let canary = canary(case);
        fs::write(canary.join("file"), "untouched\n").expect("write");
        fs::write(case.dir().join("passwd"), "outsider:x:7:7::/:/bin/sh\n").expect("write");
        for target in [
            case.dir().join("passwd").as_path(),
            Path::new("../../passwd"),
        ] {
            link(&root, "etc/passwd", target);
            run(case, "user = \"outsider\"\n")
                .expect(2)
                .says("outsider");
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_user_database_that_is_a_fifo_or_endless_does_not_hold_the_engine_up() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let passwd = root.join("etc/passwd");
        fs::remove_file(&passwd).expect("unlink");
        let made = std::process::Command::new("mkfifo")
            .arg(&passwd)
            .status()
            .expect("mkfifo");
        assert!(made.success());
        let outcome = run(case, "user = \"user\"\n");
        assert!(matches!(outcome.code, Some(2 | 125)), "{outcome}");
        link(&root, "etc/passwd", Path::new("/dev/zero"));
        let outcome = run(case, "user = \"user\"\n");
        assert!(matches!(outcome.code, Some(2 | 125)), "{outcome}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn harmless_symlinks_go_on_working() {
    case(Who::Root, |case| {
        let root = case.root("root");
        fs::create_dir_all(root.join("run/lock")).expect("mkdir");
        fs::create_dir_all(root.join("usr")).expect("mkdir");
        fs::create_dir_all(root.join("var")).expect("mkdir");
        link(&root, "var/run", Path::new("/run"));
        fs::rename(root.join("bin"), root.join("usr/bin")).expect("rename");
        link(&root, "bin", Path::new("usr/bin"));
        let more = "[[mount]]\ntmpfs = \"1MiB\"\nat = \"/var/run/lock\"\n";
        assert_eq!(run(case, more).ok(), "ran\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_working_directory_outside_cannot_be_had() {
    case(Who::Root, |case| {
        case.root("root");
        for workdir in [
            "/proc/self/fd/3",
            "/proc/1/root",
            "/proc/1/cwd",
            "/proc/self/fd/7",
        ] {
            let outcome = run(case, &format!("workdir = \"{workdir}\"\n"));
            assert_ne!(outcome.code, Some(0), "{outcome}");
            assert!(!outcome.out.contains("ran"), "{outcome}");
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn the_engines_binary_cannot_be_written_through_a_script_that_asks_for_it() {
    for who in [Who::Root, Who::User] {
        case(who, |case| {
            let root = case.root("root");
            // The caller's own program, so that container root, who is the caller, owns it.
            let ctr = case.dir().join("ctr");
            fs::copy(std::env::var("CTR_BIN").expect("CTR_BIN") + "/ctr", &ctr).expect("copy");
            case.give(&ctr);
            let before = fs::read(&ctr).expect("read");
            // To the kernel the interpreter of this script is whoever executes it: the engine. The next
            // line is the manifest that it would read, and the FIFO holds it up long enough.
            let path = root.join("bin/self");
            fs::write(
                &path,
                "#!/proc/self/exe run\nrootfs = \"/\"\nuser = \"x\"\ncommand = [\"x\"]\n",
            )
            .expect("write");
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("chmod");
            let overwrite = "(sleep 0.2; for try in 1 2 3 4 5 6 7 8 9; do for pid in /proc/[0-9]*; do echo gotcha > $pid/exe; done; sleep 0.1; done) 2>/dev/null & exec /bin/self";
            let manifest = case.manifest(&format!(
                "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"{overwrite}\"]\n"
            ));
            Outcome::of(case.command(&ctr).arg("run").arg(manifest));
            let direct = case.manifest("rootfs = \"./root\"\ncommand = [\"/bin/self\"]\n");
            Outcome::of(case.command(&ctr).arg("run").arg(direct));
            assert!(
                fs::read(&ctr).expect("read") == before,
                "the engine's binary was changed"
            );
        });
    }
}
