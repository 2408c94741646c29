//! Standard input, output and error are passed through as they are.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use e2e::{Case, Outcome, Who, case};

fn script(case: &Case, script: &str) -> std::path::PathBuf {
    case.root("root");
    case.manifest(&format!(
        "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n"
    ))
}

fn run(case: &Case, manifest: &std::path::Path) -> Command {
    case.ctr(&["run".as_ref(), manifest.as_os_str()])
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn three_pipes_are_three_pipes() {
    case(Who::Root, |case| {
        let manifest = script(case, "cat; echo to stderr >&2");
        let mut child = run(case, &manifest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ctr");
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut stdin = child.stdin.take().expect("a pipe");
        let sent = bytes.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&sent));
        let output = child.wait_with_output().expect("wait");
        writer.join().expect("no panic").expect("write");
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stdout == bytes,
            "{} bytes came back",
            output.stdout.len()
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), "to stderr\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn output_comes_as_it_is_written() {
    case(Who::Root, |case| {
        let manifest = script(case, "echo first; read answer; echo $answer");
        let mut command = run(case, &manifest);
        let mut started = e2e::Started::new(command.stdin(Stdio::piped()));
        assert_eq!(started.line(), "first");
        let mut stdin = started.stdin().expect("a pipe");
        stdin.write_all(b"second\n").expect("write");
        assert_eq!(started.line(), "second");
        started.end().expect(0);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_reader_that_goes_away_ends_the_writer() {
    case(Who::Root, |case| {
        let manifest = script(case, "yes");
        let mut child = run(case, &manifest)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("ctr");
        let mut pipe = child.stdout.take().expect("a pipe");
        pipe.read_exact(&mut [0; 4]).expect("read");
        drop(pipe);
        let status = child.wait().expect("wait");
        // The shell's answer to a `yes` that SIGPIPE ended.
        assert_eq!(status.code(), Some(141), "{status}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn descriptors_that_are_closed_are_dev_null_and_nothing_of_the_engine() {
    case(Who::Root, |case| {
        let root = case.root("root");
        let manifest = case.manifest(
            "rootfs = \"./root\"\ncommand = [\"sh\", \"-c\", \"ls -l /proc/self/fd > /tmp/fds\"]\n",
        );
        let ctr = run(case, &manifest);
        let mut command = case.command("sh");
        command
            .args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
            .arg(ctr.get_program())
            .args(ctr.get_args());
        let outcome = Outcome::of(&mut command);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let fds = std::fs::read_to_string(root.join("tmp/fds")).expect("written by the container");
        for line in fds.lines().filter(|line| line.contains(" -> ")) {
            let (fd, target) = line.split_once(" -> ").expect("an arrow");
            let number = fd.rsplit(' ').next().expect("a number");
            let expected = match number {
                "0" | "2" => target == "/dev/null",
                "1" => target == "/tmp/fds",
                _ => target.contains("/fd"),
            };
            assert!(expected, "{fds}");
        }
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn descriptors_of_the_caller_stay_outside() {
    case(Who::Root, |case| {
        let manifest = script(case, "ls /proc/self/fd");
        let ctr = run(case, &manifest);
        let mut command = case.command("sh");
        let script = "exec 3</etc/passwd 7>/dev/null 9</; exec \"$@\"";
        command
            .args(["-c", script, "sh"])
            .arg(ctr.get_program())
            .args(ctr.get_args());
        // 3 is what ls reads the directory with.
        assert_eq!(Outcome::of(&mut command).ok(), "0\n1\n2\n3\n");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_working_directory_that_is_gone_is_no_obstacle() {
    case(Who::Root, |case| {
        let manifest = script(case, "pwd");
        let gone = case.mkdir("gone");
        let ctr = run(case, &manifest);
        let mut command = case.command("sh");
        command
            .current_dir(&gone)
            .args(["-c", "rmdir ../gone; exec \"$@\"", "sh"]);
        command.arg(ctr.get_program()).args(ctr.get_args());
        assert_eq!(Outcome::of(&mut command).ok(), "/\n");
    });
}
