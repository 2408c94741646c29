//! The program from outside: exit codes, what goes where, and that nothing is left behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GOOD: &str = "rootfs = \"host\"\ncommand = [\"true\"]\n";

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).expect("write");
        path
    }

    /// Everything in it.
    fn inventory(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut left = vec![self.path().to_path_buf()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).expect("a directory").flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    left.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        found
    }

    /// `ctr` in this directory, with its state here as well.
    fn ctr(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctr"));
        command
            .current_dir(self.path())
            .arg("--root")
            .arg(self.path().join("state"));
        command
    }

    fn check(&self, manifest: &str) -> Seen {
        seen(self.ctr().args(["check", manifest]))
    }
}

#[derive(Debug)]
struct Seen {
    code: Option<i32>,
    out: String,
    err: String,
}

/// By another process: what other tests start meanwhile would hold the copy open for writing, and a file
/// that is written cannot be executed (ETXTBSY).
fn copy_ctr(to: &Path) {
    let mut copy = Command::new("cp");
    let status = copy.arg(env!("CARGO_BIN_EXE_ctr")).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cp to {to:?}");
}

fn seen(command: &mut Command) -> Seen {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("ctr runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Seen {
        code: status.code(),
        out: text(stdout),
        err: text(stderr),
    }
}

#[test]
fn a_good_manifest_is_ok_and_nothing_is_created() {
    let dir = Dir::new();
    dir.file("web.toml", GOOD);
    let before = dir.inventory();
    let seen = dir.check("web.toml");
    assert_eq!(
        (seen.code, seen.out.as_str(), seen.err.as_str()),
        (Some(0), "web.toml: ok\n", "")
    );
    assert_eq!(dir.inventory(), before);
}

#[test]
fn a_broken_manifest_is_exit_code_2_with_line_and_caret_and_nothing_is_created() {
    let dir = Dir::new();
    dir.file(
        "web.toml",
        format!("{GOOD}[resources]\nmemroy = {{ max = \"256MiB\" }}\n"),
    );
    let before = dir.inventory();
    let seen = dir.check("web.toml");
    assert_eq!((seen.code, seen.out.as_str()), (Some(2), ""));
    let expected = "\
error: unknown key `memroy`
  --> web.toml:4:1
   |
 4 | memroy = { max = \"256MiB\" }
   | ^^^^^^ did you mean `memory`?
";
    assert_eq!(seen.err, expected);
    assert_eq!(dir.inventory(), before);
}

#[test]
fn several_manifests_are_checked_in_one_go() {
    let dir = Dir::new();
    dir.file("a.toml", GOOD);
    dir.file("b.toml", "x = 1\n");
    dir.file("c.toml", "y = 1\n");
    let seen = seen(dir.ctr().args(["check", "a.toml", "b.toml", "c.toml"]));
    assert_eq!((seen.code, seen.out.as_str()), (Some(2), "a.toml: ok\n"));
    assert!(
        seen.err.contains("b.toml:1:1") && seen.err.contains("c.toml:1:1"),
        "{}",
        seen.err
    );
}

#[test]
fn quiet_says_nothing_about_what_is_right() {
    let dir = Dir::new();
    dir.file("a.toml", GOOD);
    let seen = seen(dir.ctr().args(["check", "-q", "a.toml"]));
    assert_eq!(
        (seen.code, seen.out.as_str(), seen.err.as_str()),
        (Some(0), "", "")
    );
}

#[test]
fn json_has_every_error_with_its_place() {
    let dir = Dir::new();
    dir.file("a.toml", GOOD);
    dir.file(
        "b.toml",
        format!("{GOOD}env = {{ \"ä\" = 5 }}\nbuild = \"x\"\n"),
    );
    let seen = seen(
        dir.ctr()
            .args(["check", "--format", "json", "a.toml", "b.toml", "none.toml"]),
    );
    assert_eq!((seen.code, seen.err.as_str()), (Some(2), ""));
    let json: serde_json::Value = serde_json::from_str(&seen.out).expect("JSON");
    let label = "expected a string, or a table like { host = \"HOME\" }, got an integer";
    let expected = serde_json::json!([
        { "file": "b.toml", "line": 3, "column": 15, "end_line": 3, "end_column": 16,
          "severity": "error", "code": "wrong-type", "message": "wrong type for `env.ä`",
          "label": label, "help": "write it with quotes: \"5\"" },
        { "file": "b.toml", "line": 4, "column": 1, "end_line": 4, "end_column": 6,
          "severity": "error", "code": "not-supported", "message": "`build` is not supported yet",
          "label": "a later release brings it",
          "help": "build the directory beforehand and name it with `rootfs`" },
        { "file": "none.toml", "line": null, "column": null, "end_line": null, "end_column": null,
          "severity": "error", "code": "file", "message": "cannot open the file: no such file",
          "label": "", "help": null },
    ]);
    assert_eq!(json, expected);
    let good = self::seen(dir.ctr().args(["check", "--format", "json", "a.toml"]));
    assert_eq!((good.code, good.out.as_str()), (Some(0), "[]\n"));
}

#[test]
fn what_is_no_manifest_is_refused_in_words() {
    let dir = Dir::new();
    let fifo = dir.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    fs::create_dir(dir.path().join("dir")).expect("mkdir");
    dir.file("large.toml", vec![b'#'; (1 << 20) + 1]);
    File::create(dir.path().join("huge.toml"))
        .and_then(|f| f.set_len(8 << 30))
        .expect("sparse");
    dir.file("utf16.toml", [0xff, 0xfe, b'a', 0, b'=', 0]);
    dir.file("latin1.toml", b"rootfs = \"host\"\nname = \"b\xfccher\"\n");
    dir.file("nul.toml", b"name = \"x\0\"\n");
    std::os::unix::fs::symlink("fifo", dir.path().join("link")).expect("symlink");
    std::os::unix::fs::symlink("link2", dir.path().join("link2")).expect("symlink");
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket"));
    let cases = [
        ("fifo", "not a regular file but a FIFO"),
        ("link", "not a regular file but a FIFO"),
        ("dir", "not a regular file but a directory"),
        ("/dev/zero", "not a regular file but a device"),
        ("/dev/tty", "error: "),
        ("socket", "cannot open the file"),
        ("link2", "cannot open the file"),
        ("none.toml", "cannot open the file: no such file"),
        ("large.toml", "larger than 1 MiB"),
        ("huge.toml", "larger than 1 MiB"),
        ("utf16.toml", "the file is UTF-16"),
        ("latin1.toml", "not UTF-8: line 2"),
        ("nul.toml", "invalid TOML"),
        ("/proc/self/mem", "error: "),
    ];
    let before = dir.inventory();
    for (name, expected) in cases {
        let seen = dir.check(name);
        assert_eq!(
            (seen.code, seen.out.as_str()),
            (Some(2), ""),
            "{name}: {seen:?}"
        );
        assert!(
            seen.err.starts_with("error: ") && seen.err.contains(expected),
            "{name}: {seen:?}"
        );
        assert!(
            seen.err.contains(&format!("--> {name}")),
            "{name}: {seen:?}"
        );
    }
    assert_eq!(dir.inventory(), before);
    drop(socket);
}

#[test]
fn a_link_a_byte_order_mark_and_crlf_are_fine() {
    let dir = Dir::new();
    dir.file("bom.toml", format!("\u{feff}{GOOD}"));
    dir.file("crlf.toml", GOOD.replace('\n', "\r\n"));
    std::os::unix::fs::symlink("crlf.toml", dir.path().join("link.toml")).expect("symlink");
    dir.file(
        "full.toml",
        format!("{GOOD}{}", "#".repeat((1 << 20) - GOOD.len())),
    );
    for name in ["bom.toml", "crlf.toml", "link.toml", "full.toml"] {
        assert_eq!(
            dir.check(name).code,
            Some(0),
            "{name}: {}",
            dir.check(name).err
        );
    }
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    let dir = Dir::new();
    let path = dir.file("secret.toml", GOOD);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("chmod");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    // A copy, because the build directory may be out of that user's reach.
    let ctr = dir.path().join("ctr");
    copy_ctr(&ctr);
    let mut command = Command::new(ctr);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let seen = seen(
        command
            .current_dir(dir.path())
            .args(["check", "secret.toml"]),
    );
    assert_eq!(seen.code, Some(2), "{seen:?}");
    assert!(
        seen.err.contains("cannot open the file: permission denied"),
        "{seen:?}"
    );
}

#[test]
fn the_examples_and_the_least_manifest_are_right() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut count = 0;
    for entry in fs::read_dir(examples).expect("examples").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "toml") {
            count += 1;
            let text = fs::read_to_string(&path).expect("an example");
            assert!(
                text.starts_with("# "),
                "{} has no head comment",
                path.display()
            );
            let seen = seen(Dir::new().ctr().arg("check").arg(&path));
            assert_eq!(seen.code, Some(0), "{}", seen.err);
        }
    }
    assert!(count >= 4, "{count} examples");
}

#[test]
fn paths_count_from_the_manifest_and_not_from_here() {
    let dir = Dir::new();
    fs::create_dir_all(dir.path().join("a/site")).expect("mkdir");
    let text = format!("{GOOD}[[mount]]\nbind = \"site\"\nat = \"/srv\"\n");
    dir.file("a/x.toml", &text);
    dir.file("y.toml", &text);
    assert_eq!(dir.check("a/x.toml").code, Some(0));
    assert_eq!(dir.check("y.toml").code, Some(2));
}

#[test]
fn the_state_given_by_root_cannot_be_bound() {
    let dir = Dir::new();
    fs::create_dir_all(dir.path().join("state/x")).expect("mkdir");
    dir.file(
        "x.toml",
        format!("{GOOD}[[mount]]\nbind = \"state/x\"\nat = \"/srv\"\n"),
    );
    let seen = dir.check("x.toml");
    assert_eq!(seen.code, Some(2));
    assert!(seen.err.contains("is the engine's own state"), "{seen:?}");
}

#[test]
fn an_ordinary_users_state_cannot_be_bound_but_what_is_around_it_can() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir(dir.path().join("ctr")).expect("mkdir");
    copy_ctr(&dir.path().join("bin"));
    dir.file(
        "in.toml",
        format!("{GOOD}[[mount]]\nbind = \"ctr\"\nat = \"/srv\"\n"),
    );
    dir.file(
        "around.toml",
        format!("{GOOD}[[mount]]\nbind = \".\"\nat = \"/srv\"\n"),
    );
    for variable in ["XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
        let check = |manifest| {
            let mut command = Command::new(dir.path().join("bin"));
            if rustix::process::geteuid().is_root() {
                command.uid(65_534).gid(65_534);
            }
            seen(
                command
                    .current_dir(dir.path())
                    .env(variable, dir.path())
                    .args(["check", manifest]),
            )
        };
        let inside = check("in.toml");
        assert_eq!(inside.code, Some(2), "{variable}: {inside:?}");
        assert!(
            inside.err.contains("is the engine's own state"),
            "{variable}: {inside:?}"
        );
        assert_eq!(
            check("around.toml").code,
            Some(0),
            "{variable}: {:?}",
            check("around.toml")
        );
    }
}

#[test]
fn a_mistaken_command_line_is_exit_code_2() {
    let dir = Dir::new();
    let long = "x".repeat(10_000);
    let cases: [&[&str]; 8] = [
        &[],
        &["check"],
        &["chekc", "x"],
        &["check", "--nope", "x"],
        &["check", "x", "--format", "yaml"],
        &["completions", "tcsh"],
        &["-q", "-v", "schema"],
        &[&long],
    ];
    for args in cases {
        let seen = seen(dir.ctr().args(args));
        assert_eq!(
            (seen.code, seen.out.as_str()),
            (Some(2), ""),
            "{args:?}: {seen:?}"
        );
        assert!(!seen.err.is_empty(), "{args:?}");
    }
    let seen = seen(dir.ctr().args(["chekc", "x"]));
    assert!(seen.err.contains("'check'"), "{}", seen.err);
    assert!(dir.inventory().is_empty());
}

#[test]
fn help_and_version_are_answers() {
    let dir = Dir::new();
    let help = seen(dir.ctr().arg("--help"));
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for word in [
        "check",
        "info",
        "schema",
        "completions",
        "man",
        "Exit codes",
    ] {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    let version = seen(dir.ctr().arg("--version"));
    assert_eq!(
        (version.code, version.out),
        (Some(0), format!("ctr {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn info_is_an_answer_on_every_machine_and_creates_nothing() {
    let dir = Dir::new();
    let text = seen(dir.ctr().arg("info"));
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    for word in [
        "\nkernel\n",
        "\nsecurity\n",
        "\ncaller\n",
        "\ncgroups\n",
        " missing\n",
    ] {
        assert!(text.out.contains(word), "{word:?}: {}", text.out);
    }
    let quiet = seen(dir.ctr().args(["-q", "info"]));
    assert_eq!(quiet.code, Some(0));
    assert!(!quiet.out.contains("\n  ok "), "{}", quiet.out);

    let json = seen(dir.ctr().args(["info", "--format", "json"]));
    assert_eq!((json.code, json.err.as_str()), (Some(0), ""));
    let info: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(keys(&info), set(&["kernel", "architecture", "findings"]));
    let findings = info["findings"].as_array().expect("an array");
    for finding in findings {
        let expected = ["topic", "name", "state", "detail", "purpose", "remedy"];
        assert_eq!(keys(finding), set(&expected), "{finding}");
        assert_eq!(
            finding["state"] == "ok",
            finding["remedy"].is_null(),
            "{finding}"
        );
    }
    // The program has one thread, so this was really tried.
    let tried = findings.iter().find(|finding| finding["name"] == "procfs");
    let detail = tried.and_then(|finding| finding["detail"].as_str());
    assert!(
        detail.is_some_and(|detail| !detail.contains("threads")),
        "{detail:?}"
    );
    assert!(dir.inventory().is_empty());
}

#[test]
fn schema_completions_and_man_pages_are_made() {
    let dir = Dir::new();
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ctr.schema.json"));
    assert_eq!(
        seen(dir.ctr().arg("schema")).out,
        committed.expect("the committed schema")
    );
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let seen = seen(dir.ctr().args(["completions", shell]));
        assert_eq!(seen.code, Some(0), "{shell}");
        assert!(seen.out.contains("check"), "{shell}");
    }
    assert_eq!(seen(dir.ctr().args(["man", "."])).code, Some(0));
    for page in [
        "ctr.1",
        "ctr-check.1",
        "ctr-schema.1",
        "ctr-completions.1",
        "ctr-man.1",
    ] {
        assert!(dir.path().join(page).is_file(), "{page}");
    }
    let seen = seen(dir.ctr().args(["man", "none/at/all"]));
    assert_eq!(seen.code, Some(125));
    assert!(
        seen.err.starts_with("ctr: cannot write `none/at/all`: "),
        "{seen:?}"
    );
}

#[test]
fn log_lines_come_only_when_asked_for() {
    let dir = Dir::new();
    dir.file("a.toml", GOOD);
    assert_eq!(seen(dir.ctr().args(["check", "a.toml"])).err, "");
    let text = seen(dir.ctr().args(["-v", "check", "a.toml"]));
    assert!(
        text.err.contains("DEBUG") && text.err.contains("a.toml"),
        "{text:?}"
    );
    let json = seen(
        dir.ctr()
            .args(["-v", "--log-format", "json", "check", "a.toml"]),
    );
    for line in json.err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["level"], "DEBUG");
    }
    assert_eq!(json.out, "a.toml: ok\n");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let dir = Dir::new();
    dir.file("a.toml", "x = 1\n");
    assert!(!dir.check("a.toml").err.contains('\u{1b}'));
    assert!(on_a_terminal(&dir, &[]).contains('\u{1b}'));
    assert!(!on_a_terminal(&dir, &[("NO_COLOR", "1")]).contains('\u{1b}'));
    assert!(!on_a_terminal(&dir, &[("TERM", "dumb")]).contains('\u{1b}'));
}

/// What `ctr check a.toml` writes to a terminal.
fn on_a_terminal(dir: &Dir, env: &[(&str, &str)]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    // CLOEXEC, or what other tests start meanwhile would hold it too.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("openpt");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new())
        .expect("ptsname")
        .into_string()
        .expect("UTF-8");
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name)
        .expect("the terminal");
    let mut command = dir.ctr();
    command
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(env.iter().copied());
    command
        .args(["check", "a.toml"])
        .stderr(Stdio::from(OwnedFd::from(terminal)));
    let status = command.status().expect("ctr runs");
    assert_eq!(status.code(), Some(2));
    drop(command);
    // The last holder of the other end is gone, so the read ends with EIO.
    let mut shown = Vec::new();
    let _ = File::from(master).read_to_end(&mut shown);
    String::from_utf8(shown).expect("UTF-8")
}

#[test]
fn a_reader_who_goes_away_is_no_panic() {
    let dir = Dir::new();
    for args in [
        &["schema"][..],
        &["completions", "bash"],
        &["check", "a.toml"],
    ] {
        dir.file("a.toml", GOOD);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = dir
            .ctr()
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn();
        let Output { status, stderr, .. } =
            child.expect("ctr runs").wait_with_output().expect("wait");
        assert_eq!(
            (status.code(), stderr.as_slice()),
            (Some(141), &b""[..]),
            "{args:?}"
        );
    }
}

/// Run through a shell that first makes the surroundings hostile.
fn shell(dir: &Dir, script: &str) -> Seen {
    let script = format!("{script}\nexec \"$@\"");
    let mut command = Command::new("sh");
    command
        .current_dir(dir.path())
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ctr"), "check"]);
    seen(command.arg(dir.path().join("a.toml")))
}

#[test]
fn hostile_surroundings_change_nothing() {
    let dir = Dir::new();
    dir.file("a.toml", GOOD);
    fs::create_dir(dir.path().join("gone")).expect("mkdir");
    let cases = [
        "umask 0777",
        "umask 0",
        "ulimit -n 4",
        "ulimit -c 0; ulimit -f 0",
        "exec <&-",
        "cd gone && rmdir ../gone",
        "unset PATH HOME",
        "export HOME= XDG_DATA_HOME=relative",
    ];
    for script in cases {
        let seen = shell(&dir, script);
        assert_eq!(seen.code, Some(0), "{script}: {seen:?}");
        assert!(seen.out.ends_with("a.toml: ok\n"), "{script}: {seen:?}");
    }
    // Nowhere to say it is still an answer by exit code, and never a file that got number 1 or 2.
    let before = fs::read(dir.path().join("a.toml")).expect("read");
    dir.file("b.toml", "x = 1\n");
    for script in ["exec >&- 2>&-", "exec <&- >&- 2>&-"] {
        assert_eq!(shell(&dir, script).code, Some(0), "{script}");
        let bad = format!("{script}; set -- \"$1\" check b.toml");
        assert_eq!(shell(&dir, &bad).code, Some(2), "{bad}");
    }
    assert_eq!(fs::read(dir.path().join("a.toml")).expect("read"), before);
    assert_eq!(
        fs::read(dir.path().join("b.toml")).expect("read"),
        b"x = 1\n"
    );
}

#[test]
fn a_relative_manifest_in_a_deleted_directory_is_an_error_not_a_panic() {
    let dir = Dir::new();
    fs::create_dir(dir.path().join("gone")).expect("mkdir");
    dir.file("a.toml", GOOD);
    let seen = shell(&dir, "cd gone && rmdir ../gone; set -- \"$1\" check a.toml");
    assert_eq!(seen.code, Some(2), "{seen:?}");
    assert!(
        seen.err.contains("cannot open the file: no such file"),
        "{seen:?}"
    );
}

#[test]
fn the_name_it_is_called_by_does_not_matter() {
    let dir = Dir::new();
    dir.file("a.toml", GOOD);
    for name in ["", "-sh", "ctr-oci"] {
        let seen = seen(dir.ctr().arg0(name).args(["check", "a.toml"]));
        assert_eq!(seen.code, Some(0), "{name:?}: {seen:?}");
    }
    let seen = seen(dir.ctr().arg0("").arg("--help"));
    assert!(seen.out.contains("Usage: ctr "), "{seen:?}");
}
