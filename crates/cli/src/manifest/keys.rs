//! Which keys there are, and where.
//!
//! One table for everything that must agree: what the walk accepts, what it suggests for a key it
//! does not know, and what the schema offers (tests compare them).

use crate::diagnostic::quoted;

/// A table of the manifest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its dotted name, as messages spell it; empty for the top.
    pub(crate) path: &'static str,
    /// As in "`memory` belongs …".
    pub(crate) belongs: &'static str,
    /// The keys it takes.
    pub(crate) keys: &'static [&'static str],
    /// Documented keys that a later release brings, and what to do until then.
    pub(crate) later: &'static [(&'static str, Option<&'static str>)],
}

const NO_ADVICE: Option<&str> = None;

pub(crate) const TOP: Place = Place {
    path: "",
    belongs: "at the top, before the first `[table]`",
    keys: &[
        "name",
        "image",
        "rootfs",
        "command",
        "args",
        "user",
        "workdir",
        "env",
        "hostname",
        "init",
        "tty",
        "stop",
        "resources",
        "mount",
        "network",
        "networks",
        "security",
        "labels",
    ],
    later: &[
        (
            "build",
            Some("build the directory beforehand and name it with `rootfs`"),
        ),
        (
            "restart",
            Some("leave restarting to the service manager that calls `ctr run`"),
        ),
        ("replicas", NO_ADVICE),
        ("health", NO_ADVICE),
        ("container", Some("write one manifest for each container")),
        ("volumes", Some("use `bind` in a `[[mount]]`")),
        ("after", NO_ADVICE),
    ],
};

pub(crate) const STOP: Place = Place {
    path: "stop",
    belongs: "in `stop`",
    keys: &["signal", "grace"],
    later: &[],
};

pub(crate) const ENV_VALUE: Place = Place {
    path: "env",
    belongs: "in a value of `env`",
    keys: &["host"],
    later: &[(
        "secret",
        Some("use `{ host = \"NAME\" }`, or bind a file that only its reader may read"),
    )],
};

pub(crate) const RESOURCES: Place = Place {
    path: "resources",
    belongs: "in `[resources]`",
    keys: &["memory", "cpu", "pids", "io", "io-weight"],
    later: &[],
};

pub(crate) const MEMORY: Place = Place {
    path: "resources.memory",
    belongs: "in `memory` of `[resources]`",
    keys: &["max", "high", "low", "min", "swap", "oom"],
    later: &[],
};

pub(crate) const CPU: Place = Place {
    path: "resources.cpu",
    belongs: "in `cpu` of `[resources]`",
    keys: &["max", "weight", "cpus", "mems"],
    later: &[],
};

pub(crate) const IO: Place = Place {
    path: "resources.io",
    belongs: "in an entry of `io` in `[resources]`",
    keys: &["device", "read", "write", "read-iops", "write-iops"],
    later: &[],
};

pub(crate) const MOUNT: Place = Place {
    path: "mount",
    belongs: "in a `[[mount]]`",
    keys: &["bind", "tmpfs", "at", "read-only", "owner"],
    later: &[("volume", Some("use `bind` with a directory"))],
};

pub(crate) const NETWORK: Place = Place {
    path: "network",
    belongs: "in `[network]`",
    keys: &[
        "mode", "publish", "dns", "aliases", "address", "rate", "allow",
    ],
    later: &[],
};

pub(crate) const NETWORK_DEFINITION: Place = Place {
    path: "networks",
    belongs: "in a `[networks.NAME]`",
    keys: &["subnets", "internal", "mtu", "metadata"],
    later: &[],
};

pub(crate) const SECURITY: Place = Place {
    path: "security",
    belongs: "in `[security]`",
    keys: &[
        "user-namespace",
        "capabilities",
        "seccomp",
        "new-privileges",
        "read-only-root",
        "devices",
        "sysctl",
        "rlimits",
        "landlock",
        "oom-score-adj",
        "apparmor",
        "selinux",
    ],
    later: &[],
};

pub(crate) const USER_NAMESPACE: Place = Place {
    path: "security.user-namespace",
    belongs: "in `user-namespace` of `[security]`",
    keys: &["uids", "gids"],
    later: &[],
};

pub(crate) const ID_MAP: Place = Place {
    path: "security.user-namespace",
    belongs: "in a map of `user-namespace`",
    keys: &["inside", "outside", "count"],
    later: &[],
};

pub(crate) const CAPABILITIES: Place = Place {
    path: "security.capabilities",
    belongs: "in `capabilities` of `[security]`",
    keys: &["add", "drop"],
    later: &[],
};

pub(crate) const LANDLOCK: Place = Place {
    path: "security.landlock",
    belongs: "in `landlock` of `[security]`",
    keys: &["read", "write"],
    later: &[],
};

/// Tables whose keys are the user's own, or names of the kernel.
pub(crate) const LABELS: Place = free("labels");
pub(crate) const NETWORKS: Place = free("networks");
pub(crate) const SYSCTL: Place = free("security.sysctl");
pub(crate) const RLIMITS: Place = free("security.rlimits");

const fn free(path: &'static str) -> Place {
    Place {
        path,
        belongs: "",
        keys: &[],
        later: &[],
    }
}

/// Every table with fixed keys.
pub(crate) const PLACES: &[&Place] = &[
    &TOP,
    &STOP,
    &ENV_VALUE,
    &RESOURCES,
    &MEMORY,
    &CPU,
    &IO,
    &MOUNT,
    &NETWORK,
    &NETWORK_DEFINITION,
    &SECURITY,
    &USER_NAMESPACE,
    &ID_MAP,
    &CAPABILITIES,
    &LANDLOCK,
];

/// What Docker, Compose and podman call things that have another name here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("entrypoint", "`command` is the whole command line"),
    ("cmd", "`command` is the whole command line"),
    ("environment", "it is called `env`"),
    ("working-dir", "it is called `workdir`"),
    ("ports", "they are `publish = [\"8080:80\"]` in `[network]`"),
    ("network-mode", "it is `mode` in `[network]`"),
    (
        "cap-add",
        "it is `capabilities = { add = […] }` in `[security]`",
    ),
    (
        "cap-drop",
        "it is `capabilities = { drop = […] }` in `[security]`",
    ),
    (
        "privileged",
        "there is no such switch; `[security]` takes single capabilities and devices",
    ),
    (
        "mem-limit",
        "it is `memory = { max = \"…\" }` in `[resources]`",
    ),
    ("cpus", "it is `cpu = { max = … }` in `[resources]`"),
    ("pids-limit", "it is `pids` in `[resources]`"),
    ("read-only-rootfs", "it is `read-only-root` in `[security]`"),
    ("ulimits", "they are `rlimits` in `[security]`"),
    ("sysctls", "they are `sysctl` in `[security]`"),
    ("stop-signal", "it is `stop = { signal = \"…\" }`"),
    ("stop-grace-period", "it is `stop = { grace = \"…\" }`"),
    (
        "source",
        "it is `bind`, for a file or directory of the host",
    ),
    ("target", "it is `at`"),
    ("destination", "it is `at`"),
    ("type", "a mount has one of `bind` and `tmpfs`"),
    (
        "options",
        "mounts have no option strings; there are `read-only` and `owner`",
    ),
];

/// What to say beside a key that `place` does not take.
pub(crate) fn suggestion(place: &Place, key: &str) -> String {
    let plain = key.replace('_', "-").to_ascii_lowercase();
    let own = || {
        place
            .keys
            .iter()
            .chain(place.later.iter().map(|(key, _)| key))
            .copied()
    };
    if own().any(|k| k == plain) {
        return format!("did you mean `{plain}`?");
    }
    if let Some(place) = PLACES.iter().find(|p| p.keys.contains(&plain.as_str())) {
        // `cpus` is more often Docker's number than the kernel's list.
        if plain != "cpus" {
            return format!("`{plain}` belongs {}", place.belongs);
        }
    }
    if let Some((_, text)) = ELSEWHERE.iter().find(|(k, _)| *k == plain) {
        return (*text).to_owned();
    }
    if let Some(close) = closest(&plain, own()) {
        return format!("did you mean `{close}`?");
    }
    let all = PLACES
        .iter()
        .flat_map(|p| p.keys.iter().map(move |k| (*k, *p)));
    if let Some(close) = closest(&plain, all.clone().map(|(k, _)| k)) {
        let belongs = all
            .filter(|(k, _)| *k == close)
            .map(|(_, p)| p.belongs)
            .next();
        return format!("did you mean `{close}`, {}?", belongs.unwrap_or_default());
    }
    format!("known here: {}", place.keys.join(", "))
}

/// Whether an unknown `name` is a misspelling of `key`.
pub(crate) fn means(name: &str, key: &str) -> bool {
    let plain = name.replace('_', "-").to_ascii_lowercase();
    plain == key || closest(&plain, std::iter::once(key)).is_some()
}

/// The nearest of `candidates`, when it is near enough to be meant.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    candidates
        .map(|c| (strsim::damerau_levenshtein(word, c), c))
        .filter(|(distance, c)| *distance <= (c.len().min(word.len()) / 3).max(1) && c.len() > 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// `did you mean …?` for a word out of a fixed list, else the list.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match closest(word, candidates.clone()) {
        Some(close) => format!("did you mean {}?", quoted(close)),
        None => format!("one of: {}", candidates.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: &Place, key: &str, expected: &str) {
        assert_eq!(suggestion(place, key), expected, "{key}");
    }

    #[test]
    fn an_unknown_key_gets_the_most_useful_word() {
        check(&TOP, "memroy", "did you mean `memory`, in `[resources]`?");
        check(&RESOURCES, "memroy", "did you mean `memory`?");
        check(&TOP, "memory", "`memory` belongs in `[resources]`");
        check(&MOUNT, "read_only", "did you mean `read-only`?");
        check(
            &SECURITY,
            "tty",
            "`tty` belongs at the top, before the first `[table]`",
        );
        check(&TOP, "environment", "it is called `env`");
        check(&TOP, "cpus", "it is `cpu = { max = … }` in `[resources]`");
        check(&CPU, "cpu", "`cpu` belongs in `[resources]`");
        check(&TOP, "Command", "did you mean `command`?");
        check(
            &MEMORY,
            "zzzzzz",
            "known here: max, high, low, min, swap, oom",
        );
    }
}
