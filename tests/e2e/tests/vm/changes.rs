//! What running containers have changed of their images, as a list and as an image, and files that are copied to and
//! from them, by root and by ordinary users.

use e2e::{Library, Outcome, REGISTRY, Started, Who, case};
use rustix::process::Signal;

/// Changes of every kind, by root of the container, for another of its users too.
const CHANGES: &str = "\
    echo more >> /etc/passwd; rm /bin/ls; mkdir -m 700 /own; echo secret > /own/f; chmod 600 /own/f; \
    chown -R 1000:2000 /own; ln /own/f /own/g; ln -s /../../etc/shadow /l; mkfifo -m 600 /p; \
    rm -r /dir/sub; mkdir /dir/sub; echo n > /dir/sub/n; touch \"/tmp/$(printf '\\033')\"; \
    echo of the mount > /dev/shm/x; echo ready; exec sleep 1000";

fn image() -> String {
    format!("{REGISTRY}/small:1")
}

/// A container in which all that has happened.
fn changed(library: &Library<'_>) -> Started {
    let mut started = library.start(&format!(
        "name = \"changed\"\nimage = {:?}\nuser = \"root\"\nargs = [\"-c\", {CHANGES:?}]\n",
        image()
    ));
    assert_eq!(started.line(), "ready");
    started
}

fn ctr(library: &Library<'_>, arguments: &[&str]) -> Outcome {
    Outcome::of(&mut library.ctr(arguments))
}

fn listed_and_committed(who: Who) {
    case(who, |case| {
        let library = Library::new(case);
        let started = changed(&library);
        assert_eq!(
            ctr(&library, &["diff", "changed"]).ok(),
            "C /bin\nD /bin/ls\nC /dir\nC /dir/sub\nA /dir/sub/n\nD /dir/sub/top\nC /etc\nC /etc/passwd\nA /l\n\
             A /own\nA /own/f\nA /own/g\nA /p\nC /tmp\nA /tmp/\\u{1b}\n"
        );
        let all = ctr(&library, &["diff", "changed", "--format", "json"]).ok();
        let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
        assert_eq!(
            all[1],
            serde_json::json!({"kind": "deleted", "path": "/bin/ls"})
        );
        let entrypoint = "ENTRYPOINT [\"sh\", \"-c\"]";
        let arguments = [
            "commit",
            "changed",
            "own:2",
            "-m",
            "mine",
            "-a",
            "me",
            "-c",
            "USER root",
        ];
        let done = ctr(&library, &[&arguments[..], &["-c", entrypoint]].concat());
        done.expect(0).says("");
        // The container went on.
        started.signal(Signal::TERM);
        started.end();
        let script = "stat -c '%n %a %u:%g %h' /own /own/f /own/g /p; cat /own/g /dir/sub/*; readlink /l; \
                      test -e /bin/ls || test -e /dev/shm/x || tail -n1 /etc/passwd";
        let said = library.run(&format!("image = \"own:2\"\nargs = [{script:?}]\n"));
        assert_eq!(
            said.ok(),
            "/own 700 1000:2000 2\n/own/f 600 1000:2000 2\n/own/g 600 1000:2000 2\n/p 600 0:0 1\nsecret\nn\n\
             /../../etc/shadow\nmore\n"
        );
        let history = library.image(&["history", "own:2"]).ok();
        assert!(history.contains("ctr commit changed"), "{history}");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn what_a_container_of_root_has_changed_is_listed_and_becomes_an_image() {
    listed_and_committed(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn what_a_container_of_an_ordinary_user_has_changed_is_listed_and_becomes_an_image() {
    listed_and_committed(Who::User);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn a_container_that_does_not_run_or_has_no_image_is_one_clear_error() {
    case(Who::Root, |case| {
        let library = Library::new(case);
        let absent = ctr(&library, &["diff", "absent"]).expect(125);
        absent.says("no container named `absent` is running");
        let mut started = library.start("name = \"plain\"\nrootfs = \"host\"\ncommand = [\"sh\", \"-c\", \"echo ready; exec sleep 1000\"]\n");
        assert_eq!(started.line(), "ready");
        let refused = ctr(&library, &["diff", "plain"]).expect(125);
        refused.says("is not made of an image").says("`image = …`");
        started.signal(Signal::TERM);
        started.end();
    });
}

/// Something of every kind to be copied, and links that would lead out.
const FILES: &str = "\
    mkdir -p /tree/d /tree/closed; echo text > /tree/d/f; chmod 4750 /tree/d/f; ln /tree/d/f /tree/g; \
    ln -s /etc/shadow /tree/l; mkfifo /tree/p; chmod 555 /tree/closed; ln -s /../../../../scratch /out; \
    echo ready; exec sleep 1000";

fn copied(who: Who) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    case(who, |case| {
        let library = Library::new(case);
        let bound = case.write("bound", "before\n");
        let mut started = library.start(&format!(
            "name = \"tree\"\nimage = {:?}\nuser = \"root\"\nargs = [\"-c\", {FILES:?}]\n\
             [[mount]]\nbind = \"./bound\"\nat = \"/bound\"\nowner = \"match\"\n",
            image()
        ));
        assert_eq!(started.line(), "ready");
        let here = case.mkdir("here");
        let text = |name: &str| here.join(name).to_str().expect("text").to_owned();
        let cp = |arguments: &[&str]| ctr(&library, &[&["cp"], arguments].concat());
        cp(&["tree:/tree", &text("")]).ok();
        let facts = |name: &str| std::fs::symlink_metadata(here.join(name)).expect(name);
        let file = facts("tree/d/f");
        assert_eq!((file.mode() & 0o7777, file.uid()), (0o750, who.id()));
        assert_eq!(file.ino(), facts("tree/g").ino());
        assert_eq!(facts("tree/closed").mode() & 0o7777, 0o555);
        let link = std::fs::read_link(here.join("tree/l")).expect("a link");
        assert_eq!(link.to_str(), Some("/etc/shadow"));
        // A link in the container leads nowhere but in there.
        cp(&["tree:/out/.", &text("out")])
            .expect(125)
            .says("No such file");
        cp(&["-L", "tree:/tree/l", &text("shadow")])
            .expect(125)
            .says("No such file");
        // Back, under another name; what something is mounted on keeps its mount.
        cp(&[&text("tree/."), "tree:/back"]).ok();
        let given = case.write("given", "10.0.0.1 given\n");
        let given = given.to_str().expect("text");
        cp(&[given, "tree:/bound"]).ok();
        let bytes = std::fs::read_to_string(&bound).expect("the mounted file");
        assert_eq!(bytes, "10.0.0.1 given\n");
        cp(&[given, "tree:/etc/hosts"])
            .expect(125)
            .says("Read-only file system");
        cp(&[given, "tree:/out/x"]).expect(125).says("No such file");
        let stream = library
            .ctr(&["cp", "tree:/back", "-"])
            .output()
            .expect("output");
        assert!(stream.status.success() && stream.stdout.len().is_multiple_of(512));
        let stream = case.write("stream", &String::from_utf8(stream.stdout).expect("text"));
        let mut into = library.ctr(&["cp", "-", "tree:/tmp"]);
        Outcome::of(into.stdin(std::fs::File::open(stream).expect("the stream"))).ok();
        let listed = ctr(&library, &["diff", "tree"]).ok();
        for path in ["A /back/d/f", "A /tmp/back/closed", "A /tmp/back/p"] {
            assert!(listed.lines().any(|line| line == path), "{path}: {listed}");
        }
        for mounted in ["/etc/hosts", "/bound"] {
            assert!(!listed.contains(mounted), "{listed}");
        }
        let hosts = cp(&["tree:/etc/hosts", "-"]).ok();
        assert!(hosts.contains("localhost"), "{hosts}");
        // What nobody may write to could not be removed by the caller.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(here.join("tree/closed"), open).expect("chmod");
        started.signal(Signal::TERM);
        started.end();
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn files_of_a_container_of_root_are_copied_and_no_link_leads_out() {
    copied(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn files_of_a_container_of_an_ordinary_user_are_copied_and_no_link_leads_out() {
    copied(Who::User);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn files_of_a_container_with_one_id_are_copied_and_no_link_leads_out() {
    copied(Who::Nobody);
}
