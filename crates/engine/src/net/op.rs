//! What a supervisor does for a container's network, one thing at a time.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use netns::nft::Batch;
use netns::route::Request;
use netns::sysctl::Setting;

use super::ports;
use crate::spec::{At, Publish};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetOp {
    /// Write a network's definition.
    Define {
        /// Its file.
        path: PathBuf,
    },
    /// Claim an address.
    ClaimAddress {
        /// The directory of the network's leases.
        dir: PathBuf,
        /// The address.
        address: Ipv4Addr,
    },
    /// Keep published ports.
    ReservePorts {
        /// Which.
        publish: Vec<At<Publish>>,
        /// On `::1` too, where that is meant.
        loopback6: bool,
    },
    /// Make or change interfaces of the host.
    Links {
        /// What for.
        purpose: &'static str,
        /// In one message, as far as the kernel allows.
        requests: Vec<Request>,
        /// Others may make the same at this moment, or have died half-way: what is there is fine.
        shared: bool,
    },
    /// Set kernel parameters of the host's network.
    Settings(Vec<Setting>),
    /// Change the firewall, at one instant.
    Firewall(Batch),
    /// Make the container known by name.
    PublishNames {
        /// The directory of the network's names.
        dir: PathBuf,
        /// The name, then aliases, each once.
        names: Vec<String>,
        /// Whose names they are.
        addresses: Vec<IpAddr>,
    },
    /// Keep the container's network namespace by a descriptor, for what follows: whatever becomes of the
    /// child meanwhile is no error of ours.
    HoldNamespace,
    /// In the container's network namespace: its interfaces, and the sockets on which its supervisor
    /// answers name queries.
    Inside(Vec<Request>),
    /// Run pasta(1) on the container's namespaces.
    Pasta {
        /// Where it is installed.
        program: PathBuf,
        /// As strace spells it.
        call: String,
    },
}

impl NetOp {
    /// The calls and messages that change something.
    pub(crate) fn calls(&self) -> Vec<String> {
        match self {
            Self::Define { path } => vec![format!("rename(\".new\", {path:?})")],
            Self::ClaimAddress { dir, address } => {
                vec![format!(
                    "symlinkat(<holder>, <{}>, \"{address}\")",
                    dir.display()
                )]
            }
            Self::ReservePorts { publish, loopback6 } => publish
                .iter()
                .flat_map(|publish| ports::describe(&publish.value, *loopback6))
                .collect(),
            Self::Links {
                requests,
                shared: true,
                ..
            } => {
                let calls = requests.iter().map(Request::describe);
                calls.map(|call| format!("{call} or EEXIST")).collect()
            }
            Self::Links { requests, .. } => requests.iter().map(Request::describe).collect(),
            Self::Inside(requests) => {
                let there = "setns(</proc/PID/ns/net>, CLONE_NEWNET)".to_owned();
                let back = "setns(</proc/self/ns/net>, CLONE_NEWNET)".to_owned();
                let requests = requests.iter().map(Request::describe);
                [there].into_iter().chain(requests).chain([back]).collect()
            }
            Self::HoldNamespace => {
                vec!["openat(AT_FDCWD, \"/proc/PID/ns/net\", O_RDONLY|O_CLOEXEC)".into()]
            }
            Self::Settings(settings) => settings.iter().map(Setting::describe).collect(),
            Self::Firewall(batch) => batch.changes.iter().map(ToString::to_string).collect(),
            Self::PublishNames {
                dir,
                names,
                addresses,
            } => {
                let addresses = addresses.iter().map(|address| format!("={address}"));
                let files = names.iter().cloned().chain(addresses);
                files
                    .map(|file| format!("symlinkat(<record>, <{}>, {file:?})", dir.display()))
                    .collect()
            }
            Self::Pasta { call, .. } => vec![call.clone()],
        }
    }

    /// What it is for.
    pub(crate) fn purpose(&self) -> &'static str {
        match self {
            Self::Define { .. } => "the network, which is not there yet",
            Self::ClaimAddress { .. } => "an address that no other container has",
            Self::ReservePorts { .. } => "its published ports, so that nobody else takes them",
            Self::Links { purpose, .. } => purpose,
            Self::Settings(_) => "what a bridge needs of the host",
            Self::Firewall(_) => "what may pass, and where published ports lead",
            Self::PublishNames { .. } => "others on the network find it by name",
            Self::HoldNamespace => "where its interfaces will be",
            Self::Inside(_) => "its own interfaces, in its network namespace",
            Self::Pasta { .. } => "a network without privileges",
        }
    }

    /// What takes it back.
    pub(crate) fn undo(&self) -> Option<String> {
        match self {
            Self::ClaimAddress { dir, address } => {
                Some(format!("unlinkat(<{}>, \"{address}\", 0)", dir.display()))
            }
            Self::ReservePorts { .. } => Some("close".into()),
            Self::PublishNames { dir, .. } => Some(format!("unlinkat(<{}>, …)", dir.display())),
            Self::Links { .. } | Self::Inside(_) => {
                Some("the container's interfaces die with its namespace, the bridge stays".into())
            }
            Self::Firewall(_) => Some("delete what is the container's".into()),
            Self::HoldNamespace => Some("close".into()),
            Self::Pasta { .. } => Some("SIGTERM, and SIGKILL with its supervisor".into()),
            Self::Define { .. } | Self::Settings(_) => None,
        }
    }
}
