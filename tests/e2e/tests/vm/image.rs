//! Images of a registry: brought, unpacked, run and removed, by root and by an ordinary user.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::{Library, Outcome, REGISTRY, Started, Terminal, Who, case, patience, wait_for};
use rustix::process::Signal;

/// What a server says to `GET /`, once it listens.
fn get(port: u16) -> Option<String> {
    let (at, patience) = (([127, 0, 0, 1], port).into(), Duration::from_secs(5));
    let mut stream = TcpStream::connect_timeout(&at, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    (!said.is_empty()).then_some(said)
}

/// The page of a container's server, once it serves.
fn page(web: Started, port: u16) -> (Started, String) {
    let deadline = Instant::now() + patience(10);
    while Instant::now() < deadline {
        if let Some(said) = get(port) {
            return (web, said);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    web.signal(Signal::QUIT);
    panic!("no page: {:?}", web.end());
}

/// What is in a directory of the store.
pub(super) fn names(library: &Library<'_>, directory: &str) -> Vec<PathBuf> {
    let path = library.store().join(directory);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Removes all images, and then nothing is left of them.
pub(super) fn all_goes(library: &Library<'_>, images: &[&str]) {
    for image in images {
        library.image(&["rm", image]).ok();
    }
    library.image(&["prune", "--older-than", "0s"]).ok();
    for directory in ["blobs/sha256", "blobs/sha512", "layers", "ingest"] {
        let left = names(library, directory);
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn a_pull_on_a_terminal_has_a_bar_for_each_layer() {
    case(Who::Root, |case| {
        let library = Library::new(case);
        let image = format!("image = {:?}\n", name("small"));
        let (status, shown) = Terminal::run(case, &image, (40, 120)).end();
        assert_eq!(status, Some(0), "{shown}");
        assert!(shown.contains("from the image"), "{shown}");
        let words: Vec<&str> = shown.split_whitespace().collect();
        let bars: BTreeSet<_> = words
            .windows(2)
            .filter(|pair| ["waiting", "pulling", "unpacking", "pulled"].contains(&pair[1]))
            // After what moves the cursor.
            .map(|pair| &pair[0][pair[0].len().saturating_sub(12)..])
            .collect();
        let layers = names(&library, "layers").len();
        assert!(layers > 1 && bars.len() >= layers, "{shown:?}");
        all_goes(&library, &[&name("small")]);
    });
}

fn name(image: &str) -> String {
    format!("{REGISTRY}/{image}:1")
}

fn small(who: Who) {
    case(who, |case| {
        let mut library = Library::new(case);
        let image = format!("image = {:?}\n", name("small"));
        let first = library.run(&image).expect(0).says("here");
        assert_eq!(first.out, "from the image\n");
        library.close();
        // All is here now, and nothing of it is looked for elsewhere.
        let again = library.run(&image).expect(0);
        assert_eq!(
            (again.out.as_str(), again.err.as_str()),
            ("from the image\n", "")
        );
        let script = "id -un; id -gn; pwd; echo $FROM; find /dir | sort; stat -c %u:%g /bin/busybox /etc/passwd";
        let said = library.run(&format!("{image}args = [\"-c\", {script:?}]\n"));
        assert_eq!(
            said.ok(),
            "user\nextra\n/dir\nimage\n/dir\n/dir/sub\n/dir/sub/top\n0:0\n0:0\n"
        );
        let said = library.run(&format!("{image}command = [\"bsybox\"]\n"));
        said.expect(127).says("did you mean \"busybox\"?");
        let plan = case.manifest(&image);
        let plan = library.ctr(&["plan".as_ref(), plan.as_os_str()]).output();
        let plan = String::from_utf8(plan.expect("ctr plan").stdout).expect("text");
        assert!(plan.contains("overlay"), "{plan}");
        assert!(plan.contains("the image"), "{plan}");
        let shown = library.image(&["df", "--format", "json"]).ok();
        assert!(shown.contains(&name("small")), "{shown}");
        all_goes(&library, &[&name("small")]);
        library.run(&image).expect(125).says("Connection refused");
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn an_image_gives_what_the_manifest_leaves_out_and_goes_away_whole() {
    small(Who::Root);
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn an_image_of_an_ordinary_user_is_the_same_one() {
    small(Who::User);
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn an_image_of_a_user_with_one_id_has_every_file_as_root() {
    case(Who::Nobody, |case| {
        let library = Library::new(case);
        let image = format!("image = {:?}\nuser = \"0\"\n", name("small"));
        let script = "stat -c %u:%g /bin/busybox /etc/passwd";
        let said = library.run(&format!("{image}args = [\"-c\", {script:?}]\n"));
        assert_eq!(said.ok(), "0:0\n0:0\n");
        all_goes(&library, &[&name("small")]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn nginx_of_an_image_serves_with_and_without_its_registry() {
    case(Who::Root, |case| {
        let mut library = Library::new(case);
        library.image(&["pull", &name("web")]).ok();
        let manifest = format!(
            "image = {:?}\n[network]\npublish = [\"8080:80\"]\n",
            name("web")
        );
        for offline in [false, true] {
            if offline {
                library.close();
            }
            let (web, said) = page(library.start(&manifest), 8080);
            assert!(said.starts_with("HTTP/1.1 200"), "{said}");
            assert!(said.ends_with("\r\n\r\nan image serves this\n"), "{said}");
            // Its own stop signal, which it takes as the wish to end in peace.
            web.signal(Signal::QUIT);
            web.end().expect(0);
        }
        all_goes(&library, &[&name("web")]);
    });
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn nginx_of_an_image_serves_for_an_ordinary_user() {
    case(Who::User, |case| {
        let library = Library::new(case);
        library.image(&["pull", &name("web")]).ok();
        let script = "nginx -g \"daemon off;\" & \
                      curl -fsS --retry 60 --retry-delay 1 --retry-connrefused http://127.0.0.1/";
        let said = library.run(&format!(
            "image = {:?}\ncommand = [\"bash\", \"-c\", {script:?}]\n[network]\nmode = \"none\"\n",
            name("web")
        ));
        assert_eq!(said.ok(), "an image serves this\n");
        all_goes(&library, &[&name("web")]);
    });
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn postgresql_of_an_image_answers_as_the_user_that_the_image_names() {
    case(Who::Root, |case| {
        let library = Library::new(case);
        library.image(&["pull", &name("db")]).ok();
        let manifest = format!(
            "name = \"db\"\nimage = {:?}\n[network]\nmode = \"none\"\n",
            name("db")
        );
        let db = library.start(&manifest);
        // Its own client, in its network.
        let psql = format!(
            "image = {:?}\ncommand = [\"psql\", \"-Atc\", \"select 6*7\", \"-h\", \"localhost\"]\n\
             [network]\nmode = \"container:db\"\n",
            name("db")
        );
        // The cluster that the package made asks for a password over TCP, and says who asked.
        wait_for("an answer", || {
            let said = library.run(&psql);
            said.err.contains("no password supplied").then_some(())
        });
        db.signal(Signal::INT);
        let said = db.end().expect(0);
        assert!(
            said.err.contains("database system is ready"),
            "{}",
            said.err
        );
        all_goes(&library, &[&name("db")]);
    });
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn a_locked_image_is_the_same_one_until_it_is_updated() {
    case(Who::User, |case| {
        let library = Library::new(case);
        let text = format!("image = {:?}\n", name("small"));
        let manifest = case.manifest(&text);
        let manifest = manifest.to_str().expect("text");
        let locked = || Outcome::of(&mut library.ctr(&["run", "--locked", manifest]));
        locked().expect(125).says("is not locked for linux/");
        let said = library.image(&["update", manifest]).ok();
        assert!(said.contains("is locked: sha256:"), "{said}");
        assert_eq!(locked().ok(), "from the image\n");
        let said = library.image(&["update", manifest]).ok();
        assert!(said.contains("has not changed: sha256:"), "{said}");
        // Content that no registry has.
        let lock = case.dir().join("ctr.lock");
        let text = std::fs::read_to_string(&lock).expect("ctr.lock");
        let at = text.find("sha256:").expect("a digest") + 7;
        let other = format!("{}{}", &text[..at], "0".repeat(64)) + &text[at + 64..];
        std::fs::write(&lock, other).expect("write");
        locked().expect(125).says(&"0".repeat(64));
        let said = library.image(&["update", manifest]).ok();
        assert!(said.contains(" -> sha256:"), "{said}");
        assert_eq!(locked().ok(), "from the image\n");
        all_goes(&library, &[&name("small")]);
    });
}

#[test]
#[ignore = "vm: needs a registry; cargo xtask test-vm"]
fn what_is_saved_is_loaded_and_what_is_exported_is_imported() {
    case(Who::User, |case| {
        let library = Library::new(case);
        let (small, saved) = (name("small"), case.dir().join("small.tar"));
        let saved = saved.to_str().expect("text");
        library.image(&["pull", &small]).ok();
        library.image(&["save", &small, "-o", saved]).ok();
        let root = case.dir().join("root.tar");
        let root = root.to_str().expect("text");
        library.image(&["export", &small, "-o", root]).ok();
        all_goes(&library, &[&small]);
        library.image(&["load", "-i", saved]).ok();
        let image = format!("image = {small:?}\n");
        assert_eq!(library.run(&image).ok(), "from the image\n");
        let change = "CMD [\"sh\", \"-c\", \"find /dir; stat -c %u:%g /bin/busybox\"]";
        library
            .image(&["import", "flat:1", "-i", root, "-c", change])
            .ok();
        assert_eq!(
            library.run("image = \"flat:1\"\n").ok(),
            "/dir\n/dir/sub\n/dir/sub/top\n0:0\n"
        );
        all_goes(&library, &[&small, "flat:1"]);
    });
}
