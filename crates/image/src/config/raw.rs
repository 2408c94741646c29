//! The configuration as it is written.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::health;
use crate::digest::Digest;
use crate::json::{FREE, Keys};

#[derive(Deserialize)]
pub(super) struct Image {
    // Not a flattened `Platform`: serde would first keep all keys that nobody asked for, at many times their size.
    pub(super) os: String,
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: String,
    pub(super) created: Option<String>,
    pub(super) config: Option<Config>,
    pub(super) rootfs: RootFs,
    pub(super) history: Option<Vec<History>>,
}

pub(super) static IMAGE: Keys = Keys::object(&[
    ("os", &FREE),
    ("architecture", &FREE),
    ("variant", &FREE),
    ("created", &FREE),
    ("config", &CONFIG),
    ("rootfs", &ROOT_FS),
    ("history", &HISTORIES),
]);

#[derive(Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Vec<Digest>,
}

static ROOT_FS: Keys = Keys::object(&[("type", &FREE), ("diff_ids", &FREE)]);

/// Each may be missing or null.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    pub(super) user: Option<String>,
    pub(super) exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
    pub(super) env: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) volumes: Option<BTreeMap<String, IgnoredAny>>,
    pub(super) working_dir: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) stop_signal: Option<String>,
    pub(super) healthcheck: Option<health::Raw>,
}

static CONFIG: Keys = Keys::object(&[
    ("User", &FREE),
    ("ExposedPorts", &FREE),
    ("Env", &FREE),
    ("Entrypoint", &FREE),
    ("Cmd", &FREE),
    ("Volumes", &FREE),
    ("WorkingDir", &FREE),
    ("Labels", &FREE),
    ("StopSignal", &FREE),
    ("Healthcheck", &health::KEYS),
]);

/// One step of how an image was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// What the maker said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It made no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

static HISTORIES: Keys = Keys::list(&HISTORY);

static HISTORY: Keys = Keys::object(&[
    ("created", &FREE),
    ("created_by", &FREE),
    ("comment", &FREE),
    ("empty_layer", &FREE),
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::knows_all_of;

    #[test]
    fn every_key_that_is_read_is_known_in_its_one_spelling() {
        knows_all_of::<Image>(&IMAGE);
        knows_all_of::<RootFs>(&ROOT_FS);
        knows_all_of::<Config>(&CONFIG);
        knows_all_of::<History>(&HISTORY);
        knows_all_of::<health::Raw>(&health::KEYS);
        knows_all_of::<crate::Descriptor>(&crate::descriptor::KEYS);
        knows_all_of::<crate::Platform>(&crate::platform::KEYS);
    }
}
