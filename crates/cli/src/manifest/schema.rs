//! The JSON schema of the manifest, for editors that complete and check while typing.
//!
//! The types mirror what the walk accepts and are used for nothing else; tests compare the two. The
//! schema says less than `ctr check`: it knows neither the host nor what excludes each other.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

/// A container for `ctr run`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, title = "ctr manifest")]
pub struct Manifest {
    /// Name of the container; the file's name without its ending when absent.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_.-]{0,62}$"))]
    pub name: Option<String>,
    /// The container's `/`: "host" for a throw-away view of this machine's own, or a directory, relative to the manifest's folder.
    pub rootfs: Option<String>,
    /// The container's `/` and what it runs: an image by its name, like "nginx:1.27"; pulled when it is not here.
    pub image: Option<String>,
    /// The program and its arguments; no shell takes it apart. Default: the image's entrypoint and command.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// Appended to `command`, or to the image's entrypoint in place of its command; what follows the manifest on the command line is appended after it.
    pub args: Option<Vec<String>>,
    /// Who the program runs as: "name", "uid", "name:group" or "uid:gid", looked up in the container. Default: the image's, else "0".
    pub user: Option<String>,
    /// Working directory in the container. Default: the image's, else "/".
    #[schemars(regex(pattern = r"^/"))]
    pub workdir: Option<String>,
    /// Environment variables, besides the image's; nothing of the host's is inherited.
    pub env: Option<BTreeMap<String, EnvValue>>,
    /// Host name in the container. Default: the container's name.
    #[schemars(length(max = 64))]
    pub hostname: Option<String>,
    /// A small init as process 1 that reaps zombies and forwards signals. Default true.
    pub init: Option<bool>,
    /// A terminal of its own. Default false.
    pub tty: Option<bool>,
    /// How the container is asked to stop.
    pub stop: Option<Stop>,
    /// Limits, in the words of cgroup v2.
    pub resources: Option<Resources>,
    /// What is mounted into the container, in order.
    pub mount: Option<Vec<Mount>>,
    /// The network.
    pub network: Option<Network>,
    /// Networks that are made when they are missing, by name.
    pub networks: Option<BTreeMap<String, NetworkDefinition>>,
    /// What the process may do.
    pub security: Option<Security>,
    /// Kept with the container's state; never interpreted.
    pub labels: Option<BTreeMap<String, String>>,
}

/// A literal, never interpolated, or the value of a variable of the host.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum EnvValue {
    /// As it stands.
    Literal(String),
    /// From the environment of `ctr`.
    Host(EnvHost),
}

/// The value of a variable of the host.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EnvHost {
    /// Name of the variable in the environment of `ctr`; it must be set.
    pub host: String,
}

/// How the container is asked to stop.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stop {
    /// Sent first: a name like "SIGTERM" (default) or a number.
    pub signal: Option<Signal>,
    /// Time until SIGKILL. Default "10s".
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m|h)$"))]
    pub grace: Option<String>,
}

/// A signal, signal(7).
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Signal {
    /// Its name.
    Name(#[schemars(regex(pattern = r"^SIG[A-Z0-9]+([+-][0-9]+)?$"))] String),
    /// Its number.
    Number(#[schemars(range(min = 1, max = 64))] u8),
}

/// Limits, in the words of cgroup v2.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resources {
    /// Memory.
    pub memory: Option<Memory>,
    /// Processor time and places.
    pub cpu: Option<Cpu>,
    /// Most processes and threads (pids.max), or "max". Default 4096.
    pub pids: Option<Pids>,
    /// Limits of block devices (io.max).
    pub io: Option<Vec<Io>>,
    /// Share of the disks' time against other groups (io.weight). The kernel's default is 100.
    #[schemars(range(min = 1, max = 10000))]
    pub io_weight: Option<u16>,
}

/// Memory limits: sizes like "256MiB", or "max".
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Memory {
    /// Above it something is killed (memory.max). At least 6MiB.
    #[schemars(regex(pattern = r"^(0|max|[0-9]+(B|KiB|MiB|GiB|TiB|PiB))$"))]
    pub max: Option<String>,
    /// Above it processes are slowed down and their memory is reclaimed (memory.high). At least 6MiB.
    #[schemars(regex(pattern = r"^(0|max|[0-9]+(B|KiB|MiB|GiB|TiB|PiB))$"))]
    pub high: Option<String>,
    /// Below it nothing is reclaimed while others have some (memory.low).
    #[schemars(regex(pattern = r"^(0|max|[0-9]+(B|KiB|MiB|GiB|TiB|PiB))$"))]
    pub low: Option<String>,
    /// Below it nothing is ever reclaimed (memory.min).
    #[schemars(regex(pattern = r"^(0|max|[0-9]+(B|KiB|MiB|GiB|TiB|PiB))$"))]
    pub min: Option<String>,
    /// Most swap beside `max` (memory.swap.max); "0" for none.
    #[schemars(regex(pattern = r"^(0|max|[0-9]+(B|KiB|MiB|GiB|TiB|PiB))$"))]
    pub swap: Option<String>,
    /// What dies when memory is out (memory.oom.group): the whole container or one process.
    pub oom: Option<Oom>,
}

/// What dies when memory is out.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Oom {
    /// The whole container.
    KillAll,
    /// The process the kernel picks.
    KillOne,
}

/// Processor time and places.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cpu {
    /// Most processor time, in CPUs (cpu.max): 1.5 is one and a half.
    #[schemars(range(min = 0.01, max = 8192))]
    pub max: Option<f64>,
    /// Share of processor time against other groups (cpu.weight). The kernel's default is 100.
    #[schemars(range(min = 1, max = 10000))]
    pub weight: Option<u16>,
    /// CPUs it may run on (cpuset.cpus), like "0-3,8".
    #[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"))]
    pub cpus: Option<String>,
    /// Memory nodes it may use (cpuset.mems), like "0".
    #[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"))]
    pub mems: Option<String>,
}

/// Most processes and threads.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Pids {
    /// So many.
    Number(#[schemars(range(min = 1, max = 4194304))] u32),
    /// No limit.
    Max(Max),
}

/// No limit.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Max {
    /// No limit.
    Max,
}

/// Limits of one block device.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Io {
    /// The device, like "/dev/vda".
    #[schemars(regex(pattern = r"^/dev/"))]
    pub device: String,
    /// Bytes read a second, like "20MiB/s".
    #[schemars(regex(pattern = r"^[0-9]+(B|KiB|MiB|GiB|TiB|PiB)/s$"))]
    pub read: Option<String>,
    /// Bytes written a second, like "20MiB/s".
    #[schemars(regex(pattern = r"^[0-9]+(B|KiB|MiB|GiB|TiB|PiB)/s$"))]
    pub write: Option<String>,
    /// Reads a second.
    #[schemars(range(min = 1))]
    pub read_iops: Option<u32>,
    /// Writes a second.
    #[schemars(range(min = 1))]
    pub write_iops: Option<u32>,
}

/// Something mounted into the container: exactly one of `bind` and `tmpfs`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mount {
    /// A file or directory of the host, relative to the manifest's folder; it must exist.
    pub bind: Option<String>,
    /// A new, empty file system in memory, of at most this size.
    #[schemars(regex(pattern = r"^[0-9]+(B|KiB|MiB|GiB|TiB|PiB)$"))]
    pub tmpfs: Option<String>,
    /// Where in the container; not `/`, `/proc`, `/dev`, `/sys` or below them.
    #[schemars(regex(pattern = r"^/."))]
    pub at: String,
    /// Not writable. Default false.
    pub read_only: Option<bool>,
    /// Whose the files of a `bind` seem to be. Default "host".
    pub owner: Option<Owner>,
}

/// Whose the files of a bind mount seem to be.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Owner {
    /// Files look as if owned by the container's user, and what it writes belongs to the source's owner.
    Match,
    /// As on disk, through the container's id map.
    Host,
}

/// The network.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Network {
    /// "bridge" (default): an address on the network `default`; "none": only `lo`; "host": the host's network; the name of another network; "container:NAME": that of a running container.
    pub mode: Option<NetworkMode>,
    /// Ports of the host that lead into the container: "8080:80" (from this machine alone), "0.0.0.0:8080:80/udp", "8000-8009:80-89".
    pub publish: Option<Vec<String>>,
    /// Resolvers for names that nobody on the network has. Default: the host's.
    pub dns: Option<Vec<String>>,
    /// More names by which others on the network find it.
    pub aliases: Option<Vec<String>>,
    /// Its IPv4 address. Default: any free one.
    pub address: Option<String>,
    /// Most bits per second in each direction, like "100Mbit/s".
    #[schemars(regex(pattern = r"^[0-9]+[kMG]bit/s$"))]
    pub rate: Option<String>,
    /// The only addresses and prefixes outside its network that it may reach. Default: all.
    pub allow: Option<Vec<String>>,
}

/// Which network.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum NetworkMode {
    /// By word.
    Word(NetworkWord),
    /// By the name of a network, or "container:NAME".
    Name(String),
}

/// Which network, by word.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum NetworkWord {
    /// The network `default`.
    Bridge,
    /// A network of its own with nothing but `lo`.
    None,
    /// The host's.
    Host,
}

/// A network that is made when it is missing.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkDefinition {
    /// An IPv4 subnet and an IPv6 one. What is left out is chosen so that it overlaps nothing.
    pub subnets: Option<Vec<String>>,
    /// true: no way out of it, and none into it. Default false.
    pub internal: Option<bool>,
    /// Largest packet. Default 1500.
    #[schemars(range(min = 1280, max = 65535))]
    pub mtu: Option<u16>,
    /// true: the metadata service of clouds, 169.254.169.254, can be reached. Default false.
    pub metadata: Option<bool>,
}

/// What the process may do.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Security {
    /// "auto" (default): ids of its own; "host": the host's; or explicit maps.
    pub user_namespace: Option<UserNamespace>,
    /// Capabilities added to and taken from the default set.
    pub capabilities: Option<Capabilities>,
    /// "default", "unconfined", or a profile in Docker's format, like "./profile.json".
    pub seccomp: Option<String>,
    /// true: programs may gain privileges when they are executed (setuid, file capabilities). Default false.
    pub new_privileges: Option<bool>,
    /// Nothing in the root file system can be written. Default false.
    pub read_only_root: Option<bool>,
    /// Devices of the host, like "/dev/fuse".
    pub devices: Option<Vec<String>>,
    /// Kernel parameters of the container's own namespaces: net.*, kernel.shm*, kernel.msg*, kernel.sem*, fs.mqueue.*.
    pub sysctl: Option<BTreeMap<String, String>>,
    /// Resource limits, each "soft:hard" or one number for both; "unlimited" is a number.
    pub rlimits: Option<Rlimits>,
    /// Landlock: only these paths of the container can be used.
    pub landlock: Option<Landlock>,
    /// Who is killed first when memory is out; higher is earlier.
    #[schemars(range(min = -1000, max = 1000))]
    pub oom_score_adj: Option<i16>,
    /// AppArmor profile of the program.
    pub apparmor: Option<String>,
    /// SELinux label of the program, user:role:type:level.
    pub selinux: Option<String>,
}

/// Which user namespace.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum UserNamespace {
    /// By word.
    Word(UserNamespaceWord),
    /// By explicit maps.
    Maps(IdMaps),
}

/// Which user namespace, by word.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum UserNamespaceWord {
    /// 65,536 ids of its own, or as an ordinary user without ids to hand out, the one own id.
    Auto,
    /// The host's: root in the container is root of the host.
    Host,
}

/// Explicit id maps.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IdMaps {
    /// User ids.
    #[schemars(length(min = 1, max = 340))]
    pub uids: Vec<IdMap>,
    /// Group ids.
    #[schemars(length(min = 1, max = 340))]
    pub gids: Vec<IdMap>,
}

/// A range of ids.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IdMap {
    /// First id in the container.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many.
    #[schemars(range(min = 1))]
    pub count: u32,
}

/// Capabilities, by name without `CAP_`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Capabilities {
    /// Added to the default set.
    pub add: Option<Vec<String>>,
    /// Taken from it; "ALL" takes every one.
    pub drop: Option<Vec<String>>,
}

/// Resource limits, getrlimit(2).
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rlimits {
    /// Address space, bytes.
    pub r#as: Option<String>,
    /// Size of core files, bytes.
    pub core: Option<String>,
    /// Processor time, seconds.
    pub cpu: Option<String>,
    /// Data segment, bytes.
    pub data: Option<String>,
    /// Size of files, bytes.
    pub fsize: Option<String>,
    /// File locks; without effect since Linux 2.4.25.
    pub locks: Option<String>,
    /// Locked memory, bytes.
    pub memlock: Option<String>,
    /// POSIX message queues, bytes.
    pub msgqueue: Option<String>,
    /// Ceiling of niceness, 20 - nice.
    pub nice: Option<String>,
    /// Open files.
    pub nofile: Option<String>,
    /// Processes of the user.
    pub nproc: Option<String>,
    /// Resident memory; without effect since Linux 2.4.30.
    pub rss: Option<String>,
    /// Real-time priority.
    pub rtprio: Option<String>,
    /// Real-time processor time without a blocking call, microseconds.
    pub rttime: Option<String>,
    /// Queued signals.
    pub sigpending: Option<String>,
    /// Stack, bytes.
    pub stack: Option<String>,
}

/// Landlock rules; at least one list.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Landlock {
    /// May be read and executed, with all below.
    pub read: Option<Vec<String>>,
    /// May be read, executed and changed, with all below.
    pub write: Option<Vec<String>>,
}

/// The schema. Draft 7 is what TOML editors know.
#[must_use]
pub fn text() -> String {
    let mut settings = SchemaSettings::draft07();
    // TOML has no null, so an optional key is one that is absent.
    settings
        .transforms
        .push(Box::new(schemars::transform::RecursiveTransform(
            without_null,
        )));
    let schema = settings.into_generator().into_root_schema_for::<Manifest>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

fn without_null(schema: &mut schemars::Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".into(), one);
        }
    }
    if let Some(serde_json::Value::Array(options)) = object.get_mut("anyOf") {
        options.retain(|o| o.get("type").is_none_or(|t| t != "null"));
        if let [serde_json::Value::Object(one)] = options.as_slice() {
            let one = one.clone();
            object.remove("anyOf");
            object.extend(one);
        }
    }
}
