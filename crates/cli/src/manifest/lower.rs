//! From a manifest to a [`Spec`]: defaults filled in, bytes turned into lines.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::spec::{self, At, Origin, Root, Spec, Upper};

use super::Loaded;
use super::image::{Image, of_image};
use super::model::{Given, Manifest, Network, RootSource};
use super::process::{ARG_MAX, ONE_STRING, size};
use crate::diagnostic::{Code, Diagnostic, Report, Source};

/// `PATH` of a container whose manifest names none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const SIGTERM: i32 = 15;
const GRACE: Duration = Duration::from_secs(10);

pub(super) fn spec(
    loaded: &Loaded,
    args: &[String],
    image: Option<&Image<'_>>,
) -> Result<Spec, Box<Report>> {
    let (source, manifest) = (&loaded.source, &loaded.manifest);
    let lines = Lines(source);
    let process = process(&lines, manifest, args, image)?;
    check_arguments(source, &process, args)?;
    let name = lines.at(&manifest.name);
    let security = &manifest.security;
    Ok(Spec {
        hostname: match &manifest.hostname {
            Some(hostname) => lines.at(hostname),
            None => At::default_of(name.value.clone()),
        },
        name,
        source: source.name().to_owned(),
        root: lines.at(&manifest.root).map(|root| match (root, image) {
            (RootSource::Here(root), _) => root,
            (RootSource::Image(_), image) => Root::Overlay {
                lowers: image.map_or_else(Vec::new, |image| image.lowers.clone()),
                upper: Upper::Ephemeral,
            },
        }),
        read_only_root: lines.at(&security.read_only_root),
        process,
        namespaces: spec::Namespaces {
            user: lines.at(&security.user_namespace),
            net: network(&lines, &manifest.network),
        },
        networks: lines.all(&manifest.networks),
        init: lines.at(&manifest.init),
        stop: spec::Stop {
            signal: lines
                .optional(manifest.stop.signal.as_ref())
                .or_else(|| image?.config.stop_signal.map(of_image))
                .unwrap_or(At::default_of(SIGTERM)),
            grace: lines
                .optional(manifest.stop.grace.as_ref())
                .unwrap_or(At::default_of(GRACE)),
        },
        mounts: manifest
            .mounts
            .iter()
            .map(|m| lines.at(m).map(mount))
            .collect(),
        devices: lines.all(&security.devices),
        sysctls: lines.all(&security.sysctl),
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        resources: resources(&lines, manifest),
        security: confinement(&lines, manifest),
        image: image.and_then(|image| image.record.clone()),
        labels: labels(manifest, image),
    })
}

/// Bytes to lines.
struct Lines<'a>(&'a Source);

impl Lines<'_> {
    fn at<T: Clone>(&self, given: &Given<T>) -> At<T> {
        match &given.span {
            Some(span) => At::line(self.0.line(span.start), given.value.clone()),
            None => At::default_of(given.value.clone()),
        }
    }

    fn optional<T: Clone>(&self, given: Option<&Given<T>>) -> Option<At<T>> {
        given.map(|given| self.at(given))
    }

    fn all<T: Clone>(&self, given: &[Given<T>]) -> Vec<At<T>> {
        given.iter().map(|given| self.at(given)).collect()
    }
}

fn process(
    lines: &Lines<'_>,
    manifest: &Manifest,
    args: &[String],
    image: Option<&Image<'_>>,
) -> Result<spec::Process, Box<Report>> {
    let process = &manifest.process;
    let mut env = lines.all(&process.env);
    let mut missing = |entry: At<(String, String)>| {
        if !env.iter().any(|v| v.value.0 == entry.value.0) {
            env.push(entry);
        }
    };
    for variable in image.map_or(&[][..], |image| &image.config.env) {
        missing(of_image(variable.clone()));
    }
    missing(At::default_of(("PATH".to_owned(), PATH.to_owned())));
    if process.tty.value {
        missing(At::default_of(("TERM".to_owned(), "xterm".to_owned())));
    }
    let root = spec::User::Id {
        uid: 0,
        group: None,
    };
    Ok(spec::Process {
        argv: argv(lines, manifest, args, image)?,
        env,
        workdir: match (lines.optional(process.workdir.as_ref()), image) {
            (Some(workdir), _) => workdir,
            (None, Some(image)) => image.workdir(lines.0, &manifest.root)?,
            (None, None) => At::default_of(PathBuf::from("/")),
        },
        user: lines
            .optional(process.user.as_ref())
            .or_else(|| image?.user())
            .unwrap_or(At::default_of(root)),
        tty: lines.at(&process.tty),
    })
}

/// As Docker has it: `command` takes the place of all that the image would run, arguments alone take the
/// place of its command and follow its entrypoint.
fn argv(
    lines: &Lines<'_>,
    manifest: &Manifest,
    args: &[String],
    image: Option<&Image<'_>>,
) -> Result<At<Vec<String>>, Box<Report>> {
    let given = lines.optional(manifest.process.args.as_ref());
    let more: Vec<String> = given
        .iter()
        .flat_map(|given| &given.value)
        .chain(args)
        .cloned()
        .collect();
    if let Some(command) = &manifest.process.command {
        let mut argv = lines.at(command);
        argv.value.extend(more);
        return Ok(argv);
    }
    let (entrypoint, cmd) = image.map_or((&[][..], &[][..]), |image| {
        (&image.config.entrypoint[..], &image.config.cmd[..])
    });
    let (tail, origin) = match (more.is_empty(), given) {
        (true, _) => (cmd.to_vec(), Origin::Image),
        (false, Some(given)) => (more, given.origin),
        (false, None) => (more, Origin::Default),
    };
    let value = [entrypoint, &tail].concat();
    if image.is_some() && value.first().is_none_or(String::is_empty) {
        let wrong = Diagnostic {
            code: Code::MissingKey,
            message: "missing key `command`".to_owned(),
            span: Some(manifest.root.place()),
            label: "this image names no program to run".to_owned(),
            related: Vec::new(),
            help: Some("command = [\"program\", \"argument\"]".to_owned()),
        };
        return Err(Box::new(Report::new(lines.0.clone(), vec![wrong])));
    }
    Ok(At { value, origin })
}

/// The image's, and the manifest's over them.
fn labels(manifest: &Manifest, image: Option<&Image<'_>>) -> BTreeMap<String, String> {
    let mut labels = image.map_or_else(BTreeMap::new, |image| image.config.labels.clone());
    labels.extend(manifest.labels.clone());
    labels
}

/// What the command line added must be as right as what the manifest says.
fn check_arguments(
    source: &Source,
    process: &spec::Process,
    args: &[String],
) -> Result<(), Box<Report>> {
    let refuse = |message: &str| {
        let diagnostic = Diagnostic {
            code: Code::BadValue,
            message: message.to_owned(),
            span: None,
            label: String::new(),
            related: Vec::new(),
            help: None,
        };
        Err(Box::new(Report::new(source.clone(), vec![diagnostic])))
    };
    if args.iter().any(|arg| arg.len() >= ONE_STRING) {
        return refuse(
            "an argument on the command line is too long: the kernel takes at most 128 KiB each",
        );
    }
    let env = process
        .env
        .iter()
        .map(|v| v.value.0.len() + v.value.1.len() + 1);
    if size(&mut process.argv.value.iter(), env) > ARG_MAX {
        return refuse(
            "with the arguments on the command line, command and environment exceed ARG_MAX",
        );
    }
    Ok(())
}

fn network(lines: &Lines<'_>, network: &Given<Network>) -> At<spec::Network> {
    lines.at(network).map(|value| match value {
        Network::None => spec::Network::None,
        Network::Host => spec::Network::Host,
        Network::Container(name) => spec::Network::Container(name),
        Network::Bridge(name, asked) => spec::Network::Bridge(Box::new(spec::Attachment {
            network: lines.at(&Given {
                value: name,
                span: network.span.clone(),
            }),
            publish: lines.all(&asked.publish),
            dns: lines.all(&asked.dns),
            aliases: lines.all(&asked.aliases),
            address: lines.optional(asked.address.as_ref()),
            rate: lines.optional(asked.rate.as_ref()),
            allow: lines.optional(asked.allow.as_ref()),
        })),
    })
}

fn mount(mount: super::model::Mount) -> spec::Mount {
    spec::Mount {
        source: mount.source,
        at: mount.at.value,
        read_only: mount.read_only,
    }
}

fn resources(lines: &Lines<'_>, manifest: &Manifest) -> spec::Resources {
    let resources = &manifest.resources;
    let (memory, cpu) = (&resources.memory, &resources.cpu);
    spec::Resources {
        memory_max: lines.optional(memory.max.as_ref()),
        memory_high: lines.optional(memory.high.as_ref()),
        memory_low: lines.optional(memory.low.as_ref()),
        memory_min: lines.optional(memory.min.as_ref()),
        memory_swap_max: lines.optional(memory.swap.as_ref()),
        memory_oom_group: lines.optional(memory.oom_group.as_ref()),
        cpu_max: lines.optional(cpu.max.as_ref()),
        cpu_weight: lines.optional(cpu.weight.as_ref()),
        cpuset_cpus: lines.optional(cpu.cpus.as_ref()),
        cpuset_mems: lines.optional(cpu.mems.as_ref()),
        pids_max: lines.optional(resources.pids.as_ref()),
        io: lines.all(&resources.io),
        io_weight: lines.optional(resources.io_weight.as_ref()),
    }
}

fn confinement(lines: &Lines<'_>, manifest: &Manifest) -> spec::Security {
    let security = &manifest.security;
    spec::Security {
        capabilities_add: lines.all(&security.capabilities_add),
        capabilities_drop: lines.all(&security.capabilities_drop),
        seccomp: lines.at(&security.seccomp),
        new_privileges: lines.at(&security.new_privileges),
        rlimits: lines.all(&security.rlimits),
        oom_score_adj: lines.optional(security.oom_score_adj.as_ref()),
        landlock: lines.optional(security.landlock.as_ref()),
        apparmor: lines.optional(security.apparmor.as_ref()),
        selinux: lines.optional(security.selinux.as_ref()),
    }
}
