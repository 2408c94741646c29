//! What to do about a refused request, where errno alone misleads.

use rustix::io::Errno;

use super::request::{Kind, NewLink, Request};

const CAPABILITY: &str = "needs CAP_NET_ADMIN in the user namespace that owns the network namespace; \
                          CAP_NET_ADMIN in any other does not count";
const NO_SUCH_LINK: &str = "no interface of that name or number is in this network namespace";
const NO_MASTER: &str = "its bridge, or the interface below it, is not in this network namespace";
const NO_IPV6: &str = "IPv6 is switched off here: ipv6.disable=1 at boot, or \
                       net.ipv6.conf.*.disable_ipv6 of the interface";

pub(super) fn request(request: &Request, errno: Errno) -> Option<&'static str> {
    if request.is_for_a_container() {
        return Some("the request is for a container whose namespace was not put in");
    }
    match (request, errno) {
        // From recvfrom(2), where the memory for answers ended.
        (_, Errno::NOBUFS) => {
            Some("the kernel dropped answers: what became of the requests is unknown")
        }
        (Request::AddLink(link), _) => add_link(link, errno),
        (_, Errno::PERM) => Some(CAPABILITY),
        (_, Errno::NODEV) => Some(NO_SUCH_LINK),
        (Request::SetLink(change), _) => match errno {
            Errno::BUSY if change.name.is_some() => {
                Some("an interface must be down to be renamed (on kernels before 6.2)")
            }
            Errno::EXIST => Some("an interface of that name is there already"),
            Errno::INVAL if change.netns.is_some() => Some(
                "this interface cannot leave its network namespace, or the descriptor is not one",
            ),
            Errno::SRCH => Some("the process whose network namespace was meant is gone"),
            _ => None,
        },
        (Request::SetBridgePort { .. }, Errno::OPNOTSUPP | Errno::INVAL) => {
            Some("the interface is no port of a bridge")
        }
        (Request::AddAddress(_), Errno::EXIST) => Some("the interface has this address already"),
        (Request::AddAddress(_) | Request::AddRoute(_), Errno::ACCESS | Errno::OPNOTSUPP) => {
            Some(NO_IPV6)
        }
        (Request::DeleteAddress(_), Errno::ADDRNOTAVAIL) => {
            Some("the interface does not have this address")
        }
        (Request::AddRoute(_), _) => add_route(errno),
        (Request::DeleteRoute(_), Errno::SRCH) => Some("there is no such route in the main table"),
        (Request::AddTbf { .. }, Errno::NOENT) => {
            Some("the kernel has no tbf: module sch_tbf is missing (CONFIG_NET_SCH_TBF)")
        }
        (Request::AddClsact(_), Errno::NOENT) => {
            Some("the kernel has no clsact: module sch_ingress is missing (CONFIG_NET_SCH_INGRESS)")
        }
        (Request::AddClsact(_), Errno::EXIST) => {
            Some("the interface has an ingress or clsact qdisc already")
        }
        (Request::Redirect { .. }, Errno::NOENT) => Some(
            "module cls_u32 or act_mirred is missing (CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)",
        ),
        (Request::Redirect { .. }, Errno::INVAL) => Some("the interface has no clsact qdisc yet"),
        _ => None,
    }
}

fn add_link(link: &NewLink, errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::PERM => Some(
            "needs CAP_NET_ADMIN in the user namespace that owns the network namespace, and in that \
             of the namespace the interface or its peer is born in",
        ),
        Errno::EXIST => Some(
            "an interface of that name, or a peer of its name where that is born, is there already",
        ),
        Errno::BUSY if matches!(link.kind, Kind::Macvlan { .. } | Kind::Ipvlan { .. }) => Some(
            "the interface below is taken: it is a port of a bridge, or carries macvlan where ipvlan \
             is wanted, or the other way round",
        ),
        Errno::BUSY => Some("an interface of that number is there already"),
        Errno::OPNOTSUPP => Some(match link.kind {
            Kind::Veth(_) => "the kernel has no veth: module veth is missing (CONFIG_VETH)",
            Kind::Bridge { .. } => {
                "the kernel has no bridge: module bridge is missing (CONFIG_BRIDGE)"
            }
            Kind::Vlan { .. } => {
                "the kernel has no vlan: module 8021q is missing (CONFIG_VLAN_8021Q)"
            }
            Kind::Macvlan { .. } => {
                "the kernel has no macvlan: module macvlan is missing (CONFIG_MACVLAN)"
            }
            Kind::Ipvlan { .. } => {
                "the kernel has no ipvlan: module ipvlan is missing (CONFIG_IPVLAN)"
            }
            Kind::Ifb => "the kernel has no ifb: module ifb is missing (CONFIG_IFB)",
        }),
        // A number that is no interface's is EINVAL, a name ENODEV.
        Errno::NODEV => Some(NO_MASTER),
        Errno::INVAL if link.master.is_some() => Some(NO_MASTER),
        Errno::SRCH => Some("the process whose network namespace was meant is gone"),
        Errno::BADF => Some("the descriptor of the network namespace is not open"),
        _ => None,
    }
}

fn add_route(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EXIST => Some("there is a route to this network with the same metric already"),
        Errno::NETUNREACH | Errno::HOSTUNREACH => Some(
            "the gateway is in no network of an interface that is up: add the address first, or say \
             onlink",
        ),
        Errno::NETDOWN => Some("the interface is down: bring it up before its routes"),
        Errno::INVAL => Some(
            "bits of the destination after its prefix must be zero, and the source address must be \
             one of this namespace's",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Link, LinkName};
    use super::*;

    #[test]
    fn a_missing_kind_names_its_module() {
        let name = LinkName::new("x0").expect("name");
        let lower = Link::Index(2);
        let kinds = [
            (Kind::Ifb, "CONFIG_IFB"),
            (Kind::Vlan { lower, id: 5 }, "8021q"),
        ];
        for (kind, word) in kinds {
            let add = Request::AddLink(NewLink::new(name.clone(), kind));
            let hint = request(&add, Errno::OPNOTSUPP).expect("hint");
            assert!(hint.contains(word), "{hint}");
        }
    }

    #[test]
    fn eperm_says_whose_capability_is_missing() {
        let delete = Request::DeleteLink(Link::Index(2));
        assert!(request(&delete, Errno::PERM).is_some_and(|hint| hint.contains("owns")));
    }
}
