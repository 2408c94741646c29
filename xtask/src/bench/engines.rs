//! podman and Docker, unpacked from Debian's packages and never installed: nothing of them starts by itself.
//!
//! Their state is below the private /run and /var/lib. `PATH` is a directory of links to what they may run.
//! There, modprobe(8) is true(1): dockerd would load br_netfilter into the kernel of the machine, which
//! changes what every bridge on it does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::programs::installed;
use super::running::{self, Running, words};
use crate::cmd;

/// What is downloaded. `crun` and `runc` are the machine's, as in the other rows.
pub(super) const PACKAGES: &[&str] = &[
    "aardvark-dns",
    "conmon",
    "containerd",
    "docker.io",
    "golang-github-containers-common",
    "iptables",
    "libassuan0",
    "libdevmapper1.02.1",
    "libglib2.0-0",
    "libgpgme11",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libsubid4",
    "libxtables12",
    "netavark",
    "podman",
    "tini",
];

/// The image that both are given: the bench's root directory.
const IMAGE: &str = "bench";

/// The socket of containerd without Docker.
const CONTAINERD: &str = "/run/bench-containerd.sock";

/// For dockerd to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the two are.
#[derive(Debug)]
pub(super) struct Engines {
    root: PathBuf,
    /// Links, configuration, the image.
    place: PathBuf,
}

impl Engines {
    /// With the packages in `root`; `place` is written by [`Engines::prepare`].
    pub(super) fn new(root: &Path, place: &Path) -> Self {
        Self {
            root: root.to_owned(),
            place: place.to_owned(),
        }
    }

    /// Writes links and configuration, and the image from the directory `image`.
    ///
    /// # Errors
    ///
    /// A file cannot be written; tar(1) fails.
    pub(super) fn prepare(&self, image: &Path) -> Result<()> {
        let path = self.place.join("path");
        let home = self.place.join("home/.config/containers");
        for dir in [&path, &home] {
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let link = |name: &str, to: PathBuf| {
            symlink(&to, path.join(name)).with_context(|| format!("link {name}"))
        };
        for family in ["iptables", "ip6tables"] {
            for suffix in ["", "-save", "-restore"] {
                let to = self.root.join("usr/sbin/xtables-nft-multi");
                link(&format!("{family}{suffix}"), to)?;
            }
        }
        for name in ["containerd", "containerd-shim-runc-v2", "docker-init"] {
            link(name, self.root.join("usr/bin").join(name))?;
        }
        link("docker-proxy", self.root.join("usr/sbin/docker-proxy"))?;
        for name in ["crun", "runc"] {
            link(name, installed(name).into())?;
        }
        link("modprobe", installed("true").into())?;
        let write = |name: PathBuf, text: &str| {
            fs::write(&name, text).with_context(|| format!("write {}", name.display()))
        };
        write(self.place.join("containers.conf"), &self.containers_conf())?;
        write(self.place.join("storage.conf"), STORAGE_CONF)?;
        write(home.join("policy.json"), POLICY)?;
        let mut tar = std::process::Command::new("tar");
        tar.arg("-C").arg(image).arg("-cf").arg(self.image());
        cmd::run(tar.arg("."))
    }

    fn containers_conf(&self) -> String {
        let (root, crun) = (self.root.display(), installed("crun"));
        format!(
            "[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"/run/bench-podman/networks\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"crun\"\n\
             tmp_dir = \"/run/bench-podman/libpod\"\nconmon_path = [\"{root}/usr/bin/conmon\"]\n\
             helper_binaries_dir = [\"{root}/usr/lib/podman\"]\n\
             [engine.runtimes]\ncrun = [\"{crun}\"]\n"
        )
    }

    fn image(&self) -> PathBuf {
        self.place.join("image.tar")
    }

    /// `program` of the packages with its surroundings, by env(1).
    fn argv(&self, program: &str, arguments: &str) -> Vec<String> {
        let (root, place) = (self.root.display(), self.place.display());
        let libraries = format!("{root}/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let mut argv = vec![
            installed("env"),
            format!("PATH={place}/path"),
            format!("HOME={place}/home"),
            format!(
                "LD_LIBRARY_PATH={libraries}:{root}/lib/{}-linux-gnu",
                std::env::consts::ARCH
            ),
            format!("XTABLES_LIBDIR={libraries}/xtables"),
            format!("CONTAINERS_CONF={place}/containers.conf"),
            format!("CONTAINERS_STORAGE_CONF={place}/storage.conf"),
            format!("{root}/usr/{program}"),
        ];
        argv.extend(words(arguments));
        argv
    }

    /// podman with its state in the private directories.
    pub(super) fn podman(&self, arguments: &str) -> Vec<String> {
        self.argv("bin/podman", arguments)
    }

    /// containerd without Docker, and where it writes its log.
    pub(super) fn containerd(&self) -> (Vec<String>, PathBuf) {
        let line = format!(
            "--address {CONTAINERD} --root /var/lib/bench-containerd --state /run/bench-containerd --log-level warn"
        );
        let log = running::log(&self.place, "containerd");
        (self.argv("bin/containerd", &line), log)
    }

    /// containerd's client, which is called as we are.
    pub(super) fn containerd_ctr(&self, arguments: &str) -> Vec<String> {
        self.argv("bin/ctr", &format!("--address {CONTAINERD} {arguments}"))
    }

    fn docker(&self, arguments: &str) -> Vec<String> {
        self.argv(
            "bin/docker",
            &format!("--host unix:///run/bench-docker.sock {arguments}"),
        )
    }

    /// Imports the image into podman and finds out how it starts here: the command lines without and with the
    /// bridge and one port, and whether they have cgroups.
    ///
    /// # Errors
    ///
    /// What podman says.
    pub(super) fn podman_starts(&self) -> Result<([Vec<String>; 2], bool)> {
        run(&self.podman(&format!("import {} {IMAGE}", self.image().display())))?;
        let starts = |options: &str| {
            ["--network=none", "--publish=8080:80"]
                .map(|net| self.podman(&format!("run --rm {options} {net} {IMAGE} /bin/true")))
        };
        let mut error = None;
        // crun needs CAP_SYS_RESOURCE for the device filter of a cgroup.
        for (options, cgroups) in [("", true), ("--cgroups=disabled", false)] {
            let starts = starts(options);
            match starts.iter().try_for_each(|argv| run(argv).map(drop)) {
                Ok(()) => return Ok((starts, cgroups)),
                Err(refused) => error = error.or(Some(refused)),
            }
        }
        Err(error.context("two were tried")?)
    }
}

const STORAGE_CONF: &str = "[storage]\ndriver = \"overlay\"\ngraphroot = \"/var/lib/bench-podman\"\n\
                            runroot = \"/run/bench-podman/storage\"\n";

const POLICY: &str = "{ \"default\": [{ \"type\": \"insecureAcceptAnything\" }] }\n";

/// dockerd with containerd. Ends when this is dropped.
#[derive(Debug)]
pub(super) struct Docker<'e> {
    engines: &'e Engines,
    _daemon: Running,
}

impl<'e> Docker<'e> {
    /// Starts the daemon by `prefix` (nothing, or what enters another network namespace) and imports the image.
    ///
    /// # Errors
    ///
    /// It ends or does not answer: with the end of its log.
    pub(super) fn start(engines: &'e Engines, prefix: &[String]) -> Result<Self> {
        let log = running::log(&engines.place, "dockerd");
        let mut argv = prefix.to_vec();
        argv.extend(engines.argv(
            "sbin/dockerd",
            "--host unix:///run/bench-docker.sock --pidfile /run/bench-docker.pid --exec-root /run/bench-docker \
             --data-root /var/lib/bench-docker --exec-opt native.cgroupdriver=cgroupfs --storage-driver overlay2",
        ));
        let mut daemon = Running::start(&argv, &log)?;
        let start = Instant::now();
        while run(&engines.docker("version")).is_err() {
            if daemon.ended() || start.elapsed() > PATIENCE {
                bail!("dockerd does not answer: {}", running::end_of(&log));
            }
            thread::sleep(Duration::from_millis(100));
        }
        run(&engines.docker(&format!("import {} {IMAGE}", engines.image().display())))?;
        Ok(Self {
            engines,
            _daemon: daemon,
        })
    }

    /// The command lines of a start without and with the bridge and one port, each tried once.
    ///
    /// # Errors
    ///
    /// What docker says.
    pub(super) fn starts(&self) -> Result<[Vec<String>; 2]> {
        let starts = ["--network=none", "--publish=8080:80"].map(|net| {
            self.engines
                .docker(&format!("run --rm {net} {IMAGE} /bin/true"))
        });
        for argv in &starts {
            run(argv)?;
        }
        Ok(starts)
    }

    /// A container of the image that runs `program`, with a port.
    ///
    /// # Errors
    ///
    /// What docker says.
    pub(super) fn serve(&self, publish: &str, program: &str) -> Result<Container<'_>> {
        let line = format!("run --rm --detach --publish={publish} {IMAGE} {program}");
        let id = run(&self.engines.docker(&line))?.trim().to_owned();
        Ok(Container { docker: self, id })
    }
}

/// A container of Docker's that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Container<'d> {
    docker: &'d Docker<'d>,
    id: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Its cgroup would be left and reported.
        let _ = run(&self
            .docker
            .engines
            .docker(&format!("rm --force {}", self.id)));
    }
}

/// Without env(1), so that an error names the program and not all of its surroundings.
fn run(argv: &[String]) -> Result<String> {
    let surroundings: Vec<(&str, &str)> = argv[1..]
        .iter()
        .map_while(|word| word.split_once('='))
        .collect();
    let mut command = running::command(&argv[1 + surroundings.len()..]);
    cmd::output(command.envs(surroundings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_finds_what_it_was_given_and_no_modprobe() {
        let place = std::env::temp_dir().join(format!("engines-{}", std::process::id()));
        let image = place.join("image");
        fs::create_dir_all(&image).expect("an image");
        let engines = Engines::new(Path::new("/unpacked"), &place);
        engines.prepare(&image).expect("links and files");
        let to = |name: &str| fs::read_link(place.join("path").join(name)).expect("a link");
        assert_eq!(to("modprobe").file_name(), Some("true".as_ref()));
        assert_eq!(
            to("ip6tables-restore"),
            Path::new("/unpacked/usr/sbin/xtables-nft-multi")
        );
        assert!(engines.image().is_file());
        let argv = engines.docker("run x");
        assert_eq!(argv[1], format!("PATH={}/path", place.display()));
        assert_eq!(
            argv[argv.len() - 5..],
            [
                "/unpacked/usr/bin/docker",
                "--host",
                "unix:///run/bench-docker.sock",
                "run",
                "x"
            ]
        );
        let error = run(&argv).expect_err("nothing is there").to_string();
        assert_eq!(
            error,
            "cannot start `/unpacked/usr/bin/docker --host unix:///run/bench-docker.sock run x`"
        );
        fs::remove_dir_all(&place).expect("remove the directory");
    }
}
