//! What an errno means here, where its text alone misleads.
//!
//! Keyed on the file and the errno; each was looked up in the kernel function that returns it
//! (`kernel/cgroup/cgroup.c`, `cpuset.c`, `block/blk-cgroup.c`, `blk-throttle.c`, `mm/memcontrol.c`,
//! Linux 6.12).

use rustix::io::Errno;

pub(crate) const NO_CGROUP2: &str = "limits need cgroup v2: boot with systemd.unified_cgroup_hierarchy=1 (and without \
     cgroup_no_v1=none); to run without limits a bare mount is enough: \
     mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
pub(crate) const HELD_BY_V1: &str = "a controller belongs to one version at a time: boot with systemd.unified_cgroup_hierarchy=1, \
     or with cgroup_no_v1=all, or unmount the v1 hierarchy once it has no groups left";
pub(crate) const NOT_ENABLED: &str = "a group offers what its parent enables: the parent's cgroup.subtree_control needs the \
     controller, and the parent must hold no processes of its own; for a user's systemd services: \
     a drop-in for user@.service with `[Service]` and `Delegate=cpu cpuset io memory pids`";
pub(crate) const ABOVE_THE_MOUNT: &str = "the mount shows a subtree only (a cgroup namespace): who made it must enable the controller \
     in the subtree's parent";
pub(crate) const NOT_IN_KERNEL: &str = "it is not built in (CONFIG_MEMCG, CONFIG_CGROUP_SCHED, CONFIG_CPUSETS, CONFIG_BLK_CGROUP, \
     CONFIG_CGROUP_PIDS, …) or switched off on the kernel's command line by cgroup_disable=";
pub(crate) const HOLDS_PROCESSES: &str = "only the root group may hold processes and enable controllers (\"no internal processes\"): \
     start it in a group of its own, or put the processes into a child first";
pub(crate) const STILL_POPULATED: &str = "a process in uninterruptible sleep (a hanging disk, NFS or FUSE server) takes the signal when \
     what it waits for comes back; remove the group again then";
pub(crate) const PARTITION: &str = "limits of the io controller are those of a whole disk";

pub(crate) fn create(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EXIST => Some(
            "a group of this name is there: another start of the same name is under way, or an \
             earlier one was not removed",
        ),
        Errno::AGAIN => Some("an ancestor's cgroup.max.descendants or cgroup.max.depth is reached"),
        Errno::NOSPC | Errno::NOMEM => Some(
            "the kernel knows at most 65 535 memory groups, dying ones included: see \
             nr_dying_descendants in cgroup.stat",
        ),
        Errno::ACCESS | Errno::PERM => {
            Some("the parent is not delegated to this user: it needs write permission on it")
        }
        Errno::ROFS => Some("the cgroup2 mount is read-only, as in a container"),
        Errno::NODEV | Errno::NOENT => Some("the parent was removed meanwhile"),
        _ => None,
    }
}

pub(crate) fn remove(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::BUSY => Some("it holds processes or child groups"),
        Errno::ACCESS | Errno::PERM => Some("its parent is not delegated to this user"),
        Errno::ROFS => Some("the cgroup2 mount is read-only, as in a container"),
        _ => None,
    }
}

pub(crate) fn read(file: &str, errno: Errno) -> Option<&'static str> {
    match (file, errno) {
        (_, Errno::NODEV) => Some("the group was removed meanwhile"),
        (file, Errno::OPNOTSUPP) if file.ends_with(".pressure") => Some(PSI_OFF),
        (file, Errno::NOENT) => missing(file),
        _ => None,
    }
}

pub(crate) fn write(file: &str, errno: Errno) -> Option<&'static str> {
    let special = match file {
        "cgroup.subtree_control" => subtree_control(errno),
        "cgroup.procs" | "cgroup.threads" => procs(errno),
        "cgroup.kill" if errno == Errno::OPNOTSUPP => {
            Some("a threaded group is killed through its nearest domain ancestor")
        }
        file if file.ends_with(".pressure") => pressure(errno),
        file if file.starts_with("cpuset.") => cpuset(file, errno),
        file if file.starts_with("io.") => io(file, errno),
        file if file.starts_with("cpu.") => cpu(file, errno),
        file if file.starts_with("rdma.") || file.starts_with("misc.") => match errno {
            Errno::NODEV | Errno::INVAL => Some(
                "the device or resource is not among those in the root's *.capacity or *.current",
            ),
            _ => None,
        },
        _ => None,
    };
    special.or(match errno {
        Errno::NOENT => missing(file),
        Errno::NODEV => Some("the group was removed meanwhile"),
        Errno::PERM => Some(
            "the mount has nsdelegate, and the limits of a cgroup namespace's own root are not \
             the namespace's to change",
        ),
        Errno::ACCESS => Some("the file is not delegated to this user"),
        Errno::ROFS => Some("the cgroup2 mount is read-only, as in a container"),
        Errno::INVAL => Some("the kernel does not take this value for this file"),
        _ => None,
    })
}

/// Why a file is not there at all.
fn missing(file: &str) -> Option<&'static str> {
    Some(match file {
        "cgroup.kill" => {
            "needs Linux 5.14, and the root group has none; before that, freeze the group and \
             send SIGKILL to every process in cgroup.procs"
        }
        "cgroup.freeze" => "needs Linux 5.2, and the root group has none",
        "cgroup.pressure" => "needs Linux 6.1 with CONFIG_PSI",
        "cgroup.events" | "cgroup.type" => "the root group has none",
        "memory.peak" | "memory.reclaim" => {
            "needs Linux 5.19, and the memory controller enabled in \
             the parent's cgroup.subtree_control"
        }
        "memory.zswap.max" | "memory.zswap.current" => {
            "needs Linux 5.19 with CONFIG_ZSWAP, and the memory controller enabled in the parent's \
             cgroup.subtree_control"
        }
        "memory.zswap.writeback" => "needs Linux 6.8 with CONFIG_ZSWAP, and the memory controller",
        "pids.peak" => "needs Linux 6.1, and the pids controller",
        "pids.events.local" => "needs Linux 6.11, and the pids controller",
        "cpu.max.burst" => "needs Linux 5.14 with CONFIG_CFS_BANDWIDTH, and the cpu controller",
        "cpu.idle" => "needs Linux 5.15, and the cpu controller",
        "cpuset.cpus.exclusive" => "needs Linux 6.7, and the cpuset controller",
        "io.weight" => {
            "needs CONFIG_BLK_CGROUP_IOCOST and the io controller; a disk scheduled by bfq has \
             io.bfq.weight instead"
        }
        "io.bfq.weight" => {
            "needs the bfq scheduler (CONFIG_BFQ_GROUP_IOSCHED) and the io controller"
        }
        "io.latency" => "needs CONFIG_BLK_CGROUP_IOLATENCY and the io controller",
        "io.prio.class" => "needs CONFIG_BLK_CGROUP_IOPRIO and the io controller",
        "irq.pressure" => "needs Linux 6.1 with CONFIG_IRQ_TIME_ACCOUNTING",
        file if file.starts_with("memory.swap") => {
            "needs CONFIG_SWAP and no swapaccount=0 on the kernel's command line, and the memory \
             controller enabled in the parent's cgroup.subtree_control"
        }
        file if file.starts_with("cpu.uclamp") => "needs CONFIG_UCLAMP_TASK_GROUP",
        file if file.starts_with("hugetlb.") => {
            "needs CONFIG_CGROUP_HUGETLB, a page size that /sys/kernel/mm/hugepages has, and the \
             hugetlb controller enabled in the parent's cgroup.subtree_control"
        }
        file if file.ends_with(".pressure") => PSI_OFF,
        file if file.starts_with("cgroup.") => "this is not the directory of a cgroup v2 group",
        _ => {
            "the controller is not enabled in the parent's cgroup.subtree_control, or this kernel \
             does not have the file"
        }
    })
}

const PSI_OFF: &str =
    "pressure is not measured: needs CONFIG_PSI and psi=1 on the kernel's command line";

fn subtree_control(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::NOENT => Some("the controller is not in this group's cgroup.controllers"),
        Errno::BUSY => Some(
            "a group that holds processes cannot enable controllers for its children; and one \
             that a child enables further cannot be disabled",
        ),
        Errno::INVAL => Some(
            "no controller of this name (the cpu controller also refuses while real-time processes \
             run outside the root and CONFIG_RT_GROUP_SCHED is on)",
        ),
        Errno::OPNOTSUPP => {
            Some("the group is threaded: it can enable only cpu, cpuset, pids and perf_event")
        }
        _ => None,
    }
}

fn procs(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::BUSY => {
            Some("the group enables controllers for its children, so it cannot hold processes")
        }
        Errno::OPNOTSUPP => {
            Some("the group is threaded, or below a threaded one (cgroup.type says which)")
        }
        Errno::ACCESS => Some(
            "needs write permission on cgroup.procs of the common ancestor of both groups as well \
             (\"delegation containment\")",
        ),
        Errno::NOENT => {
            Some("with nsdelegate, both groups must be inside the writer's cgroup namespace")
        }
        Errno::SRCH => Some("no such process"),
        _ => None,
    }
}

fn cpuset(file: &str, errno: Errno) -> Option<&'static str> {
    match (file, errno) {
        ("cpuset.cpus" | "cpuset.cpus.exclusive", Errno::INVAL | Errno::RANGE) => Some(
            "a list as 0-2,4 of CPUs that exist, none of which a sibling has for itself \
             (cpuset.cpus.partition)",
        ),
        ("cpuset.mems", Errno::INVAL | Errno::RANGE) => {
            Some("a list as 0-1 of memory nodes that exist and have memory")
        }
        ("cpuset.cpus.partition", Errno::INVAL) => Some("one of member, root and isolated"),
        (_, Errno::BUSY) => Some("deadline tasks would lose the bandwidth they were promised"),
        (_, Errno::NOSPC) => Some("processes would be left without a CPU or a memory node"),
        _ => None,
    }
}

fn io(file: &str, errno: Errno) -> Option<&'static str> {
    match (file, errno) {
        (_, Errno::NODEV) => Some(
            "the number must be that of a whole disk, not of a partition or a character device, \
             and the disk must be there",
        ),
        ("io.weight", Errno::OPNOTSUPP) => {
            Some("the disk has no request queue that could weigh requests")
        }
        ("io.max", Errno::INVAL | Errno::RANGE) => {
            Some("MAJOR:MINOR and any of rbps= wbps= riops= wiops=, each a number above 0 or max")
        }
        ("io.latency", Errno::INVAL) => Some("MAJOR:MINOR target=MICROSECONDS"),
        ("io.weight" | "io.bfq.weight", Errno::INVAL | Errno::RANGE) => {
            Some("1 to 10000 (bfq: 1 to 1000)")
        }
        _ => None,
    }
}

fn cpu(file: &str, errno: Errno) -> Option<&'static str> {
    match (file, errno) {
        ("cpu.max", Errno::INVAL) => Some(
            "QUOTA and PERIOD in microseconds: a quota of 1000 at least, a period of 1000 to 1000000",
        ),
        ("cpu.max.burst", Errno::INVAL) => Some("at most the quota of cpu.max"),
        ("cpu.weight" | "cpu.weight.nice", Errno::INVAL) => {
            Some("an idle group (cpu.idle) has no weight")
        }
        ("cpu.weight" | "cpu.weight.nice", Errno::RANGE) => {
            Some("weights are 1 to 10000, nice values -20 to 19")
        }
        _ => None,
    }
}

fn pressure(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::INVAL => Some(
            "a window is 500 ms to 10 s, without CAP_SYS_RESOURCE a multiple of 2 s, and the \
             threshold lies between 0 and the window",
        ),
        Errno::PERM => Some("before Linux 6.6, a trigger needs CAP_SYS_RESOURCE"),
        Errno::OPNOTSUPP => Some(PSI_OFF),
        _ => None,
    }
}

pub(crate) fn not_in_effect(file: &str) -> Option<&'static str> {
    match file {
        "cpuset.cpus.effective" | "cpuset.mems.effective" => Some(
            "the parent group does not have them (or they are offline); the kernel then uses the \
             parent's instead of refusing",
        ),
        "cpuset.cpus.partition" => {
            Some("the kernel takes an impossible partition and marks it invalid, with the reason")
        }
        _ => None,
    }
}

pub(crate) fn timeout(wanted: &str) -> Option<&'static str> {
    match wanted {
        "frozen 1" => Some(
            "a process in uninterruptible sleep or in vfork(2) cannot be frozen before it comes back",
        ),
        "populated 0" => Some(STILL_POPULATED),
        _ => None,
    }
}

pub(crate) fn bpf(command: &str, errno: Errno) -> Option<&'static str> {
    match (command, errno) {
        ("BPF_PROG_ATTACH", Errno::PERM) => Some(
            "needs CAP_NET_ADMIN in the initial user namespace; or an ancestor's program does not \
             allow others below it (it was attached without BPF_F_ALLOW_MULTI)",
        ),
        (_, Errno::PERM) => Some(
            "device access of a group is for CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the \
             initial user namespace; an ordinary user's container reaches no device but those bound \
             into its /dev",
        ),
        (_, Errno::NOSYS) => Some(
            "the kernel is built without CONFIG_BPF_SYSCALL, or a seccomp filter refuses bpf(2)",
        ),
        (_, Errno::INVAL) => Some("the kernel is built without CONFIG_CGROUP_BPF"),
        ("BPF_PROG_ATTACH", Errno::TOOBIG) => Some("64 programs are attached to this group"),
        ("BPF_PROG_ATTACH" | "BPF_PROG_QUERY", Errno::BADF) => {
            Some("the directory is not that of a cgroup v2 group")
        }
        _ => None,
    }
}
