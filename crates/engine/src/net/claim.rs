//! What a container holds on its network from before its start to after its end: an address and
//! names. Claims of the dead are taken over, so that nothing needs a lock or a daemon.

use std::net::IpAddr;
use std::path::Path;

use netns::{Holder, IpNet, Lease, Leases, Name, Publication, Record, Subnets, Zone};
use rustix::process::Pid;

use super::define::{Defined, NetworkError};
use super::member::Member;

/// An address and names.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) lease: Lease,
    leases: Leases,
    zone: Zone,
    names: Option<Publication>,
}

impl Claim {
    /// Take an address of `network` for the container `name`.
    ///
    /// # Errors
    /// No address left, or the wanted one is held by somebody.
    pub(crate) fn take(
        run_root: &Path,
        network: &Defined,
        name: &str,
        wanted: Option<IpAddr>,
    ) -> Result<Self, NetworkError> {
        let dir = run_root.join("net").join(&network.name);
        std::fs::create_dir_all(&dir).map_err(|error| NetworkError::Call {
            call: "mkdir",
            path: dir.clone(),
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        })?;
        let subnets = network.subnets()?;
        let leases = Leases::open(&dir.join("leases"), subnets)?;
        let zone = Zone::open(&dir.join("names"), subnets)?;
        let holder = Holder::new(name, &own_identity())?;
        let lease = leases.lease(&holder, wanted, &is_alive)?;
        Ok(Self {
            lease,
            leases,
            zone,
            names: None,
        })
    }

    /// Make the container known by its name and aliases.
    pub(crate) fn publish(&mut self, name: &str, aliases: &[String]) -> Result<(), netns::Error> {
        let record = Record {
            name: Name::new(name)?,
            v4: self.lease.v4,
            v6: self.lease.v6,
        };
        let aliases: Vec<Name> = aliases
            .iter()
            .map(|alias| Name::new(alias))
            .collect::<Result<_, _>>()?;
        let published = self
            .zone
            .publish(&self.lease.holder, &record, &aliases, &is_alive)?;
        self.names = Some(published);
        Ok(())
    }

    /// The names of the network.
    pub(crate) fn zone(
        run_root: &Path,
        network: &str,
        subnets: &[IpNet],
    ) -> Result<Zone, netns::Error> {
        let dir = run_root.join("net").join(network).join("names");
        Zone::open(&dir, Subnets::new(subnets)?)
    }

    /// Give all of it back; what fails is collected.
    pub(crate) fn release(self) -> Vec<netns::Error> {
        let names = self.names.map(|names| self.zone.withdraw(&names));
        names
            .into_iter()
            .chain([self.leases.release(&self.lease)])
            .filter_map(Result::err)
            .collect()
    }
}

/// Free what dead supervisors held on the network of `member`, looking at `most` claims of each kind.
pub(crate) fn sweep(run_root: &Path, member: &Member, most: usize) -> Result<(), netns::Error> {
    let dir = run_root.join("net").join(&member.network);
    if dir.exists() {
        let subnets = Subnets::new(&member.subnets)?;
        Zone::open(&dir.join("names"), subnets)?.sweep_some(most, &is_alive)?;
        Leases::open(&dir.join("leases"), subnets)?.sweep_some(most, &is_alive)?;
    }
    Ok(())
}

/// Whether the supervisor that claimed something lives: a process of its pid that began when it did.
pub(crate) fn is_alive(holder: &Holder) -> bool {
    is_owner_alive(holder.owner())
}

/// The same of what [`own_identity`] gave.
pub(crate) fn is_owner_alive(owner: &str) -> bool {
    let Some((pid, started)) = owner.split_once(':') else {
        return false;
    };
    let pid = pid.parse().ok().and_then(Pid::from_raw);
    pid.and_then(start_time)
        .is_some_and(|now| now.to_string() == started)
}

/// This process: its pid and when it began.
pub(crate) fn own_identity() -> String {
    let pid = rustix::process::getpid();
    format!(
        "{}:{}",
        pid.as_raw_nonzero(),
        start_time(pid).unwrap_or_default()
    )
}

/// When a process began, in ticks since the boot: field 22 of `/proc/PID/stat`, proc_pid_stat(5).
fn start_time(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = crate::observe::read_bounded(path.as_ref(), 4096).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The second field is the command's name, which may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_alive_as_long_as_that_very_process() {
        let own = Holder::new("web", &own_identity()).expect("a holder");
        assert!(is_alive(&own));
        let pid = std::process::id();
        for owner in [
            format!("{pid}:1"),
            format!("{pid}"),
            "0:0".into(),
            "x:y".into(),
        ] {
            let holder = Holder::new("web", &owner).expect("a holder");
            assert!(!is_alive(&holder), "{owner}");
        }
    }
}
