//! Limits and statistics.

use cgroup::Controller;

use super::super::cgroups::{Found, Refused};
use super::super::{Facts, Finding, Topic};
use super::Subject;

fn subject(name: &'static str, purpose: &'static str) -> Subject {
    Subject {
        topic: Topic::Cgroups,
        name,
        purpose,
    }
}

pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let hierarchy = subject(
        "cgroup2",
        "limits, statistics, and the end of all processes at once",
    );
    match &facts.cgroups {
        Err(Refused { because, remedy }) => findings.push(hierarchy.missing(because, remedy)),
        Ok(found) => {
            let beside = if found.hybrid {
                ", beside version 1"
            } else {
                ""
            };
            let at = found.mount_point.display();
            findings.extend([hierarchy.ok(format!("{at}{beside}")), place(found)]);
            findings.extend(found.controllers.iter().map(|(controller, had)| {
                let subject = of_controller(*controller);
                match had {
                    Ok(()) => subject.ok("can be had"),
                    Err(Refused { because, remedy }) => subject.missing(because, remedy),
                }
            }));
            findings.extend(files(facts, found));
        }
    }
    findings.push(pressure(facts));
}

fn place(found: &Found) -> Finding {
    let subject = subject("place", "the group that containers' groups are made in");
    match &found.place {
        Ok(dir) => subject.ok(dir.display().to_string()),
        Err(Refused { because, remedy }) => subject.limited(because, remedy),
    }
}

fn of_controller(controller: Controller) -> Subject {
    let purpose = match controller {
        Controller::Memory => "`resources.memory`, the peak in the exit report",
        Controller::Cpu => "`resources.cpu`: `max`, `weight`",
        Controller::Cpuset => "`resources.cpu`: `cpus`, `mems`",
        Controller::Io => "`resources.io`, `resources.io-weight`",
        Controller::Pids => "`resources.pids`, a limit by default",
        _ => "its limits",
    };
    subject(controller.name(), purpose)
}

/// Files of groups that came later than cgroup2 itself.
fn files(facts: &Facts, found: &Found) -> [Finding; 2] {
    let kill = subject(
        "cgroup.kill",
        "the end of everything in a container at once",
    );
    let peak = subject(
        "memory.peak",
        "the most memory that was used, in the exit report",
    );
    let memory = found
        .controllers
        .iter()
        .find_map(|(controller, had)| (*controller == Controller::Memory).then_some(had));
    [
        if found.kill {
            kill.ok("there")
        } else {
            kill.by_version(facts, (5, 14))
        },
        match memory {
            _ if found.peak => peak.ok("there"),
            Some(Err(Refused { remedy, .. })) => {
                peak.missing("comes with the memory controller", remedy)
            }
            _ => peak.by_version(facts, (5, 19)),
        },
    ]
}

fn pressure(facts: &Facts) -> Finding {
    let subject = subject(
        "pressure",
        "how long a container waited for CPU, memory and disk",
    );
    if facts.files.pressure.is_empty() {
        return subject.missing(
            "no /proc/pressure",
            "a kernel with CONFIG_PSI=y, booted with psi=1",
        );
    }
    subject.ok(facts.files.pressure.join(" "))
}
