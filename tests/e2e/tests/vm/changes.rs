//! What running containers have changed of their images, as a list and as an image, by root and by an ordinary user.

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
