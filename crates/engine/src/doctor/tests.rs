//! Over roots made in temporary directories, with ELF headers made by hand.

use crate::tree::{Tree, Walk};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::FileType;

use super::*;

/// A container's root in a temporary directory.
struct Root {
    dir: tempfile::TempDir,
    fd: fs::File,
    env: Vec<(String, String)>,
    mounts: Vec<MountPoint>,
    who: Option<Who>,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        for made in ["bin", "usr/bin", "app"] {
            fs::create_dir_all(dir.path().join(made)).expect("directory");
        }
        let fd = fs::File::open(dir.path()).expect("root");
        let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        Self {
            dir,
            fd,
            env,
            mounts: Vec::new(),
            who: None,
        }
    }

    /// Writes an executable file.
    fn program(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.file(path, content, 0o755)
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> &Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(&path, content).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.dir.path().join(path)).expect("symlink");
        self
    }

    fn ask<T>(&self, argv: &[&str], ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let argv: Vec<String> = argv.iter().map(|text| (*text).to_owned()).collect();
        ask(&Request {
            layers: &[self.fd.as_fd()],
            argv: &argv,
            env: &self.env,
            workdir: Path::new("/app"),
            who: self.who.as_ref(),
            mounts: &self.mounts,
            machine: Machine::X86_64,
        })
    }

    #[track_caller]
    fn check(&self, program: &str, errno: Errno, code: u8, sentence: &str) {
        let found = self.ask(&[program], |request| explain(request, errno));
        assert_eq!(found.to_string(), sentence);
        assert_eq!(found.exit_code(), code, "{sentence}");
    }
}

/// An ELF file with one `PT_LOAD` of the whole file and, with `loader`, a `PT_INTERP`.
fn elf(machine: u16, is_64_bit: bool, loader: Option<&str>) -> Vec<u8> {
    let (header, entry) = if is_64_bit { (64, 56) } else { (52, 32) };
    let count = 1 + usize::from(loader.is_some());
    let at = header + entry * count;
    let loader: Vec<u8> = loader
        .map(|path| [path.as_bytes(), b"\0"].concat())
        .unwrap_or_default();
    let mut file = vec![0; at];
    file[..4].copy_from_slice(b"\x7fELF");
    file[4] = 1 + u8::from(is_64_bit);
    file[5] = 1;
    let mut put = |at: usize, value: usize, size: usize| {
        file[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    };
    put(16, 2, 2);
    put(18, machine.into(), 2);
    let word = if is_64_bit { 8 } else { 4 };
    put(if is_64_bit { 32 } else { 28 }, header, word);
    put(if is_64_bit { 54 } else { 42 }, entry, 2);
    put(if is_64_bit { 56 } else { 44 }, count, 2);
    let (offset, size) = if is_64_bit { (8, 32) } else { (4, 16) };
    put(header, 1, 4);
    put(header + size, at + loader.len(), word);
    if !loader.is_empty() {
        put(header + entry, 3, 4);
        put(header + entry + offset, at, word);
        put(header + entry + size, loader.len(), word);
    }
    file.extend(loader);
    file
}

fn native(loader: Option<&str>) -> Vec<u8> {
    elf(elf::EM_X86_64, true, loader)
}

const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";
const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

#[test]
fn a_name_on_no_path_shows_the_path_and_names_that_are_near() {
    let root = Root::new();
    root.program("usr/bin/python3", native(None))
        .program("bin/sh", native(None));
    root.check(
        "pyhton3",
        Errno::NOENT,
        127,
        r#""pyhton3" is in no directory of PATH=/usr/bin:/bin; did you mean "python3"?"#,
    );
    root.check(
        "zsh",
        Errno::NOENT,
        127,
        r#""zsh" is in no directory of PATH=/usr/bin:/bin; did you mean "sh"?"#,
    );
}

#[test]
fn without_a_path_or_its_directories_the_sentence_says_so() {
    let mut root = Root::new();
    root.env[0].1 = "/opt/bin:/sbin".to_owned();
    root.check(
        "x",
        Errno::NOENT,
        127,
        r#""x" is not found: no directory of PATH=/opt/bin:/sbin is in this root"#,
    );
    root.env.clear();
    root.check(
        "x",
        Errno::NOENT,
        127,
        r#""x" cannot be looked for: the container has no PATH"#,
    );
}

#[test]
fn a_command_written_as_one_word_and_a_file_of_the_workdir_are_recognised() {
    let root = Root::new();
    root.program("bin/echo", native(None))
        .program("app/run.sh", "#!/bin/echo\n");
    root.check(
        "echo hello world",
        Errno::NOENT,
        127,
        r#""echo hello world" is in no directory of PATH=/usr/bin:/bin; it is taken for one word; the command is a list, and may be meant as ["echo", "hello", "world"]"#,
    );
    root.check(
        "run.sh",
        Errno::NOENT,
        127,
        r#""run.sh" is in no directory of PATH=/usr/bin:/bin; it is in the working directory "/app": write "./run.sh""#,
    );
}

#[test]
fn an_empty_command_is_not_looked_for() {
    let root = Root::new();
    root.check("", Errno::NOENT, 127, "the command is an empty string");
    assert_eq!(
        root.ask(&[], |request| explain(request, Errno::FAULT)),
        Diagnosis::EmptyCommand
    );
}

#[test]
fn the_first_missing_component_is_named() {
    let root = Root::new();
    root.program("app/server", native(None));
    let near = r#""/app/srever" does not exist: there is no "/app/srever"; did you mean "server"?"#;
    root.check("/app/srever", Errno::NOENT, 127, near);
    root.check(
        "./srever",
        Errno::NOENT,
        127,
        &near.replacen("/app/srever", "/app/./srever", 1),
    );
    root.check(
        "/opt/tool/bin/x",
        Errno::NOENT,
        127,
        r#""/opt/tool/bin/x" does not exist: there is no "/opt""#,
    );
    root.check(
        "/app/server/x",
        Errno::NOTDIR,
        127,
        r#""/app/server/x" does not exist: "/app/server" is not a directory"#,
    );
}

#[test]
fn a_missing_file_behind_a_good_symlink_is_not_called_dangling() {
    let root = Root::new();
    root.link("sbin", "usr/bin");
    root.check(
        "/sbin/init",
        Errno::NOENT,
        127,
        r#""/sbin/init" does not exist: there is no "/usr/bin/init""#,
    );
}

#[test]
fn symlinks_that_dangle_or_loop_are_named() {
    let root = Root::new();
    root.link("bin/one", "two")
        .link("bin/two", "../opt/x")
        .link("bin/loop", "pool");
    root.link("bin/pool", "/bin/loop");
    root.check(
        "/bin/one",
        Errno::NOENT,
        127,
        r#""/bin/one" does not exist: "/bin/two" is a symlink to "../opt/x", and there is no "/opt""#,
    );
    root.check(
        "/bin/loop",
        Errno::LOOP,
        126,
        r#""/bin/loop" cannot be resolved: too many symlinks, "/bin/loop" is one of them"#,
    );
}

#[test]
fn symlinks_stay_in_the_root() {
    let root = Root::new();
    root.link("bin/out", "../../../../../../../../etc/passwd")
        .link("bin/abs", "/etc/passwd");
    for link in ["/bin/out", "/bin/abs"] {
        let found = root.ask(&[link], |request| explain(request, Errno::NOENT));
        assert!(
            matches!(&found, Diagnosis::Dangling { at, .. } if at == Path::new("/etc")),
            "{found:?}"
        );
    }
}

#[test]
fn what_is_no_file_is_no_program() {
    let root = Root::new();
    root.check(
        "/app",
        Errno::ACCESS,
        126,
        r#""/app" is a directory, not a program"#,
    );
    let fifo = root.dir.path().join("app/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, 0o755.into(), 0).expect("fifo");
    root.check(
        "/app/fifo",
        Errno::ACCESS,
        126,
        r#""/app/fifo" is a fifo, not a program"#,
    );
}

#[test]
fn modes_are_shown_and_judged_for_the_user() {
    let mut root = Root::new();
    root.file("app/data", "x", 0o644)
        .file("app/mine", "#!/bin/sh\n", 0o700);
    root.check(
        "/app/data",
        Errno::ACCESS,
        126,
        r#""/app/data" is not executable: its mode is 0644; chmod +x it"#,
    );
    let own = fs::metadata(root.dir.path()).expect("root");
    let owner = format!("{}:{}", own.uid(), own.gid());
    fs::set_permissions(root.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    root.who = Some(Who {
        uid: 4321,
        gid: 4321,
        groups: vec![4321],
        overrides: false,
    });
    root.check(
        "/app/mine",
        Errno::ACCESS,
        126,
        &format!(r#""/app/mine" is not executable by 4321:4321: its mode is 0700, owner {owner}"#),
    );
    let app = root.dir.path().join("app");
    fs::set_permissions(&app, fs::Permissions::from_mode(0o750)).expect("mode");
    root.check(
        "/app/mine",
        Errno::ACCESS,
        126,
        &format!(
            r#""/app/mine" cannot be reached by 4321:4321: directory "/app" has mode 0750, owner {owner}"#
        ),
    );
    root.who = Some(Who {
        uid: 4321,
        gid: 4321,
        groups: vec![],
        overrides: true,
    });
    root.check(
        "/app/data",
        Errno::ACCESS,
        126,
        r#""/app/data" is not executable: its mode is 0644; chmod +x it"#,
    );
}

#[test]
fn a_noexec_mount_is_named_with_the_line_that_asked_for_it() {
    let mut root = Root::new();
    let mount = |at: &str, noexec, origin| MountPoint {
        at: at.into(),
        noexec,
        origin,
    };
    root.mounts = vec![
        mount("/data", true, Origin::Line(14)),
        mount("/data/tools", false, Origin::Default),
        mount("/dev/shm", true, Origin::Default),
    ];
    root.program("data/run", native(None))
        .program("data/tools/run", native(None));
    root.program("dev/shm/run", native(None))
        .program("database/run", native(None));
    root.check(
        "/data/run",
        Errno::ACCESS,
        126,
        r#""/data/run" lies on a noexec mount: "/data", asked for in line 14"#,
    );
    let found = root.ask(&["/data/run"], |request| explain(request, Errno::ACCESS));
    assert_eq!(found.origin(), Some(Origin::Line(14)));
    root.check(
        "/dev/shm/run",
        Errno::ACCESS,
        126,
        r#""/dev/shm/run" lies on a noexec mount: "/dev/shm", which is so by default"#,
    );
    for fine in ["/data/tools/run", "/database/run"] {
        let found = root.ask(&[fine], |request| explain(request, Errno::ACCESS));
        assert!(matches!(found, Diagnosis::Other { .. }), "{found}");
    }
}

#[test]
fn a_missing_loader_is_named_with_the_library_and_the_loaders_there_are() {
    let root = Root::new();
    root.program("app/g", native(Some(GLIBC)))
        .program("app/m", native(Some(MUSL)));
    root.check(
        "/app/g",
        Errno::NOENT,
        126,
        r#""/app/g" is a glibc program, and there is no "/lib64/ld-linux-x86-64.so.2" in this root, nor any other loader: the root has no dynamic C library"#,
    );
    root.program("lib/ld-musl-x86_64.so.1", native(None));
    root.check(
        "/app/g",
        Errno::NOENT,
        126,
        r#""/app/g" is a glibc program, and there is no "/lib64/ld-linux-x86-64.so.2" in this root, which has /lib/ld-musl-x86_64.so.1"#,
    );
    let found = root.ask(&["/app/m"], |request| explain(request, Errno::NOENT));
    assert!(matches!(found, Diagnosis::Other { .. }), "{found}");
    root.program("app/other", native(Some("/opt/ld.so")));
    let found = root.ask(&["/app/other"], |request| explain(request, Errno::NOENT));
    assert!(
        found
            .to_string()
            .contains("is a dynamically linked program"),
        "{found}"
    );
}

#[test]
fn a_loader_that_is_no_loader_is_named() {
    let root = Root::new();
    root.program("app/g", native(Some(GLIBC)));
    root.program(
        "lib64/ld-linux-x86-64.so.2",
        elf(elf::EM_AARCH64, true, None),
    );
    root.check(
        "/app/g",
        Errno::LIBBAD,
        126,
        r#""/app/g" cannot run without its interpreter: "/lib64/ld-linux-x86-64.so.2" is a damaged ELF file: it is no loader for x86_64"#,
    );
    root.file("lib64/ld-linux-x86-64.so.2", native(None), 0o644);
    root.check(
        "/app/g",
        Errno::ACCESS,
        126,
        r#""/app/g" cannot run without its interpreter: "/lib64/ld-linux-x86-64.so.2" is not executable: its mode is 0644; chmod +x it"#,
    );
}

#[test]
fn a_program_that_names_itself_as_its_loader_ends_the_search() {
    let root = Root::new();
    root.program("app/self", native(Some("/app/self")));
    let found = root.ask(&["/app/self"], |request| explain(request, Errno::NOENT));
    assert!(matches!(found, Diagnosis::Other { .. }), "{found}");
}

#[test]
fn programs_for_other_machines_are_named_by_machine() {
    let root = Root::new();
    let mut s390x = elf(elf::EM_AARCH64, true, None);
    s390x[5] = 2;
    for field in [16..18, 18..20, 32..40, 54..56, 56..58] {
        s390x[field].reverse();
    }
    s390x[19] = 22;
    root.program(
        "app/arm64",
        elf(elf::EM_AARCH64, true, Some("/lib/ld-linux-aarch64.so.1")),
    );
    root.program("app/s390x", s390x)
        .program("app/new", elf(999, true, None));
    root.check(
        "/app/arm64",
        Errno::NOEXEC,
        126,
        r#""/app/arm64" is a program for aarch64, and this machine is x86_64; no binfmt_misc handler is registered for it"#,
    );
    root.check(
        "/app/arm64",
        Errno::NOENT,
        126,
        r#""/app/arm64" is a program for aarch64, and this machine is x86_64; its binfmt_misc handler is not in this root (register it with the F flag)"#,
    );
    for (path, name) in [
        ("/app/s390x", "s390x,"),
        ("/app/new", "machine 999 (e_machine),"),
    ] {
        let found = root.ask(&[path], |request| explain(request, Errno::NOEXEC));
        assert!(found.to_string().contains(name), "{found}");
    }
}

#[test]
fn thirty_two_bit_programs_are_refused_by_the_kernel_or_by_the_filter() {
    let root = Root::new();
    root.program("app/old", elf(elf::EM_386, false, None));
    root.check(
        "/app/old",
        Errno::NOEXEC,
        126,
        r#""/app/old" is a 32-bit program (i386 (32-bit x86)), and this kernel runs none"#,
    );
    let death =
        |native_only| root.ask(&["/app/old"], |request| explain_death(request, native_only));
    assert!(matches!(death(true), Some(Diagnosis::Seccomp32Bit { .. })));
    assert_eq!(death(false), None);
    root.program(
        "app/dyn",
        elf(elf::EM_386, false, Some("/lib/ld-linux.so.2")),
    );
    let found = root.ask(&["/app/dyn"], |request| explain(request, Errno::NOENT));
    assert!(
        matches!(found, Diagnosis::MissingLoader { libc: "glibc", .. }),
        "{found}"
    );
    root.program("app/script", "#!/app/old\n");
    let found = root.ask(&["/app/script"], |request| explain_death(request, true));
    assert!(
        matches!(found, Some(Diagnosis::Seccomp32Bit { path, .. }) if path == Path::new("/app/old"))
    );
}

#[test]
fn damaged_elf_files_say_where() {
    let root = Root::new();
    let good = native(Some(GLIBC));
    let change = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    for (file, why) in [
        (good[..4].to_vec(), "the file ends within its ELF header"),
        (good[..57].to_vec(), "the file ends within its ELF header"),
        (
            good[..100].to_vec(),
            "the file ends within its program headers",
        ),
        (change(4, &[3]), "its ELF class is neither 32 nor 64 bit"),
        (
            change(5, &[0]),
            "its ELF byte order is neither little nor big endian",
        ),
        (change(54, &[0, 0]), "its program headers have a wrong size"),
        (change(56, &[0, 0]), "it has no program headers"),
        (change(56, &[0xff, 0xff]), "it has too many program headers"),
        (
            change(32, &[0xff; 8]),
            "the file ends within its program headers",
        ),
        (change(64, &[7]), "nothing of it is to be loaded"),
        (change(64 + 8, &[0xff; 8]), "a segment of it has no end"),
        (
            change(64 + 56 + 32, &[1, 0]),
            "the path of its loader is empty or too long",
        ),
        (
            change(64 + 56 + 32, &[1, 0, 1]),
            "the path of its loader is empty or too long",
        ),
        (
            change(64 + 56 + 32, &[20, 0]),
            "the path of its loader is not terminated",
        ),
        (change(64 + 112, &[0]), "the path of its loader is empty"),
        (
            change(64 + 32, &[0, 0, 9]),
            "it is cut off, 204 bytes of at least 589824",
        ),
    ] {
        root.program("app/x", &file);
        root.check(
            "/app/x",
            Errno::NOEXEC,
            126,
            &format!(r#""/app/x" is a damaged ELF file: {why}"#),
        );
    }
    root.program("app/x", change(16, &[1]));
    root.check(
        "/app/x",
        Errno::NOEXEC,
        126,
        r#""/app/x" is an object file that was not linked, not a Linux program"#,
    );
}

#[test]
fn scripts_say_what_their_first_line_lacks() {
    let root = Root::new();
    root.program("bin/bash", native(None))
        .program("app/plain", "echo hello\n");
    root.program("app/bom", "\u{feff}#!/bin/bash\n")
        .program("app/late", "\n#!/bin/bash\n");
    root.program("app/empty", "").program("app/none", "#!\n");
    root.program("app/long", format!("#!/{}\n", "x".repeat(300)));
    for (path, rest) in [
        (
            "/app/plain",
            "is a text file without an interpreter: its first line must be one like #!/bin/sh",
        ),
        (
            "/app/bom",
            "starts with a byte order mark before its #! line, so the kernel does not see that \
             line; save it as UTF-8 without one",
        ),
        (
            "/app/late",
            "starts with white space before its #! line, so the kernel does not see that line; \
             remove it",
        ),
        ("/app/empty", "is an empty file"),
        ("/app/none", "has a #! line that names no interpreter"),
        ("/app/long", "has a #! line that is longer than 256 bytes"),
    ] {
        root.check(path, Errno::NOEXEC, 126, &format!("{path:?} {rest}"));
    }
}

#[test]
fn an_interpreter_that_is_missing_is_named_and_so_is_a_carriage_return() {
    let root = Root::new();
    root.program("bin/ash", native(None))
        .program("app/a", "#!/bin/bash\n");
    root.program("app/crlf", "#!/bin/ash\r\necho\r\n")
        .program("app/rel", "#!sh -e\n");
    root.check(
        "/app/a",
        Errno::NOENT,
        126,
        r#""/app/a" cannot run without its interpreter: "/bin/bash" does not exist: there is no "/bin/bash"; did you mean "ash"?"#,
    );
    root.check(
        "/app/crlf",
        Errno::NOENT,
        126,
        r#""/app/crlf" has Windows line ends: its #! line asks for "/bin/ash\r"; save it with \n alone (dos2unix)"#,
    );
    root.check(
        "/app/rel",
        Errno::NOENT,
        126,
        r#""/app/rel" cannot run without its interpreter: "/app/sh" does not exist: there is no "/app/sh""#,
    );
}

#[test]
fn an_interpreter_without_its_loader_is_named_through_the_script() {
    let root = Root::new();
    root.program("bin/python3", native(Some(GLIBC)))
        .program("app/a", "#!/bin/python3\n");
    let found = root.ask(&["/app/a"], |request| explain(request, Errno::NOENT));
    let Diagnosis::Interpreter { cause, .. } = &found else {
        panic!("{found}")
    };
    assert!(
        matches!(&**cause, Diagnosis::MissingLoader { path, .. } if path == Path::new("/bin/python3"))
    );
}

#[test]
fn scripts_that_interpret_scripts_are_shown_as_a_chain() {
    let root = Root::new();
    root.program("app/a", "#!/app/b\n")
        .program("app/b", "#!/app/a\n");
    root.check(
        "/app/a",
        Errno::LOOP,
        126,
        r##"the #! lines form a chain that is too long: "/app/a" -> "/app/b" -> "/app/a" -> "/app/b" -> "/app/a" -> "/app/b" -> "/app/a""##,
    );
    for (name, interpreter) in [
        ("1", "/app/2"),
        ("2", "/app/3"),
        ("3", "/app/4"),
        ("4", "/app/5"),
    ] {
        root.program(&format!("app/{name}"), format!("#!{interpreter}\n"));
    }
    root.program("app/5", "#!/bin/true\n")
        .program("bin/true", native(None));
    let found = root.ask(&["/app/1"], |request| explain(request, Errno::IO));
    assert!(
        matches!(found, Diagnosis::Other { .. }),
        "six programs are not too many: {found}"
    );
}

#[test]
fn files_of_other_systems_are_recognised() {
    let root = Root::new();
    for (start, what) in [
        (&b"MZ\x90\0"[..], "a Windows or DOS program"),
        (b"\xcf\xfa\xed\xfe\x0c", "a macOS program"),
        (b"\xca\xfe\xba\xbe\0", "a Java class or a macOS program"),
        (b"PK\x03\x04", "a ZIP archive (or a JAR)"),
        (b"\0asm\x01", "a WebAssembly module"),
    ] {
        root.program("app/x", start);
        root.check(
            "/app/x",
            Errno::NOEXEC,
            126,
            &format!(r#""/app/x" is {what}, not a Linux program"#),
        );
    }
    root.program("app/x", [0, 1, 2, 3, 4]);
    root.check(
        "/app/x",
        Errno::NOEXEC,
        126,
        r#""/app/x" is no program: neither ELF nor a script (it starts with 00 01 02 03)"#,
    );
}

#[test]
fn of_several_candidates_the_broken_one_is_explained() {
    let root = Root::new();
    root.program("usr/bin/tool", native(Some(GLIBC)))
        .file("bin/tool", "x", 0o644);
    let found = root.ask(&["tool"], |request| explain(request, Errno::ACCESS));
    assert!(
        matches!(&found, Diagnosis::MissingLoader { path, .. } if path == Path::new("/usr/bin/tool"))
    );
    fs::create_dir(root.dir.path().join("bin/dir")).expect("directory");
    root.check(
        "dir",
        Errno::ACCESS,
        126,
        r#""/bin/dir" is a directory, not a program"#,
    );
}

#[test]
fn what_is_too_long_is_said_with_its_size() {
    let root = Root::new();
    let long = "x".repeat(200_000);
    let found = root.ask(&["sh", &long], |request| explain(request, Errno::TOOBIG));
    assert_eq!(
        found.to_string(),
        "argument 1 is too long: 200001 bytes, one string may have 131072"
    );
    let many = vec!["x".repeat(99_999); 3];
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let found = root.ask(&many, |request| explain(request, Errno::TOOBIG));
    assert_eq!(
        found.to_string(),
        "arguments and environment are too long: 3 arguments of 300000 bytes and 1 variables of 19 \
         bytes; together they may fill a quarter of the stack limit, and 6 MiB at most"
    );
    assert_eq!(found.exit_code(), 126);
}

#[test]
fn a_file_that_looks_right_leaves_the_errno_with_what_it_may_mean() {
    let root = Root::new();
    root.program("app/x", native(None));
    root.check(
        "/app/x",
        Errno::TXTBSY,
        126,
        r#""/app/x" is open for writing somewhere, so it cannot be executed"#,
    );
    for (errno, word) in [
        (Errno::ACCESS, "Landlock"),
        (Errno::PERM, "seccomp"),
        (Errno::NOENT, "binfmt_misc"),
    ] {
        let found = root.ask(&["/app/x"], |request| explain(request, errno));
        assert!(found.to_string().contains(word), "{found}");
    }
}

/// The kernel's own answer for the cases above that any process may try.
#[test]
fn the_kernel_fails_with_the_errno_that_the_cases_expect() {
    let root = Root::new();
    let at = |path: &str| root.dir.path().join(path);
    root.program("app/loader", native(Some("/nowhere/ld.so")))
        .program("app/plain", "echo\n");
    root.program("app/arm64", elf(elf::EM_AARCH64, true, None))
        .file("app/data", "x", 0o644);
    root.program("app/empty", "")
        .program("app/none", "#!\n")
        .program("app/crlf", "#!/bin/sh\r\n");
    let (a, b) = (at("app/a"), at("app/b"));
    root.program("app/a", format!("#!{}\n", b.display()));
    root.program("app/b", format!("#!{}\n", a.display()));
    for (name, errno) in [
        ("app/loader", Errno::NOENT),
        ("app/crlf", Errno::NOENT),
        ("app/plain", Errno::NOEXEC),
        ("app/empty", Errno::NOEXEC),
        ("app/none", Errno::NOEXEC),
        ("app/data", Errno::ACCESS),
        ("app/a", Errno::LOOP),
        ("app", Errno::ACCESS),
    ] {
        let error = std::process::Command::new(at(name))
            .spawn()
            .expect_err(name);
        assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{name}");
    }
}

#[test]
fn the_kernel_takes_as_long_a_chain_as_the_doctor() {
    let root = Root::new();
    let at = |n: usize| root.dir.path().join(format!("app/{n}"));
    let program = std::env::current_exe().expect("this test");
    root.program("app/0", format!("#!{} --list\n", program.display()));
    for n in 1..7 {
        root.program(&format!("app/{n}"), format!("#!{}\n", at(n - 1).display()));
        root.program(&format!("in/{n}"), format!("#!/in/{}\n", n - 1));
    }
    root.program("in/0", "#!/in/true\n")
        .program("in/true", native(None));
    for (scripts, taken) in [(5, true), (6, false)] {
        let mut command = std::process::Command::new(at(scripts - 1));
        let run = command.stdout(std::process::Stdio::null()).status();
        let errno = run.err().and_then(|error| error.raw_os_error());
        assert_eq!(
            errno,
            (!taken).then_some(Errno::LOOP.raw_os_error()),
            "{scripts} scripts"
        );
        let path = format!("/in/{}", scripts - 1);
        let found = root.ask(&[&path], |request| explain(request, Errno::LOOP));
        let chain = matches!(found, Diagnosis::InterpreterChain { .. });
        assert_eq!(chain, !taken, "{scripts} scripts: {found}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(
        tail in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        start in proptest::sample::select(vec![&b""[..], b"#!", b"\x7fELF", b"\x7fELF\x02\x01", b"\x7fELF\x01\x02"]),
        errno in proptest::sample::select(vec![Errno::NOENT, Errno::NOEXEC, Errno::ACCESS, Errno::PERM]),
    ) {
        let root = Root::new();
        root.program("app/x", [start, &tail].concat());
        let found = root.ask(&["/app/x"], |request| explain(request, errno));
        assert!(!found.to_string().is_empty());
        root.ask(&["/app/x"], |request| explain_death(request, true));
    }

    #[test]
    fn no_change_of_a_good_elf_file_makes_it_panic(
        changes in proptest::collection::vec((0_usize..204, proptest::num::u8::ANY), 1..8),
        cut in 4_usize..=204,
    ) {
        let root = Root::new();
        let mut file = native(Some(GLIBC));
        for (at, byte) in changes {
            file[at] = byte;
        }
        root.program("app/x", &file[..cut]);
        let found = root.ask(&["/app/x"], |request| explain(request, Errno::NOEXEC));
        assert!(!found.to_string().is_empty());
    }

    #[test]
    fn no_path_leaves_the_root(path in "(\\.\\.|\\.|/|app|bin|x){1,12}") {
        let root = Root::new();
        root.link("app/x", "/..").link("bin/x", "../../..");
        if let Walk::Found(found) = Tree::new(&[root.fd.as_fd()]).walk(Path::new(&path)) {
            let inside = fs::canonicalize(root.dir.path()).expect("root");
            let real = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found.fd)));
            assert!(real.expect("link").starts_with(&inside), "{path} led to {:?}", found.real);
        }
    }
}
