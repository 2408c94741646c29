//! What to do where errno alone misleads.

use rustix::io::Errno;

use super::{Change, Family};

pub(super) fn change(change: &Change, errno: Errno) -> Option<&'static str> {
    Some(match (change, errno) {
        (_, Errno::PERM) => {
            "needs CAP_NET_ADMIN in the user namespace that owns the network namespace; a table \
             that another program owns (flags owner) cannot be changed either"
        }
        (Change::AddElements { set, .. }, Errno::EXIST) if set.ranges => {
            "it overlaps another element without being the same; the kernel keeps ranges apart"
        }
        (Change::AddElements { .. }, Errno::BUSY | Errno::EXIST) => {
            "the key is there already and leads elsewhere: another container publishes this port, \
             or one that died did and was not cleaned up after"
        }
        (
            Change::AddElements { .. } | Change::DeleteElements { .. } | Change::FlushTable(_),
            Errno::NOENT,
        ) => {
            "the table, the set or the element is gone: somebody flushed the ruleset (nftables.service \
             and firewall reloads do); write the whole table again"
        }
        (Change::AddChain(_), Errno::NOENT | Errno::OPNOTSUPP) => {
            "the kernel lacks this kind of chain: CONFIG_NFT_NAT, CONFIG_NF_TABLES_INET and \
             CONFIG_NF_TABLES_BRIDGE are needed (modules nft_chain_nat, nf_tables)"
        }
        (Change::AddTable(_), Errno::OPNOTSUPP | Errno::AFNOSUPPORT) => {
            "the kernel lacks this family: CONFIG_NF_TABLES_INET, CONFIG_NF_TABLES_BRIDGE"
        }
        (Change::AddRule(rule), Errno::NOENT | Errno::OPNOTSUPP)
            if rule.table.family == Family::Bridge =>
        {
            "the kernel lacks an expression of this rule, or its chain or set is not there; where \
             CONFIG_NFT_BRIDGE_META is a module, a bridge table needs it (modprobe nft_meta_bridge)"
        }
        (Change::AddRule(_), Errno::NOENT | Errno::OPNOTSUPP) => {
            "the kernel lacks an expression of this rule: CONFIG_NFT_CT, CONFIG_NFT_FIB_INET, \
             CONFIG_NFT_NAT, CONFIG_NFT_MASQ are needed; or its chain or set is not there"
        }
        (Change::AddSet(_) | Change::AddChain(_), Errno::EXIST | Errno::BUSY) => {
            "one of this name is there and is different: the table is of another version of ctr or \
             of another program; write the whole table again"
        }
        _ => return None,
    })
}

pub(crate) fn netlink(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM => "needs CAP_NET_ADMIN in the user namespace that owns the network namespace",
        Errno::PROTONOSUPPORT | Errno::INVAL | Errno::OPNOTSUPP => {
            "the kernel has no nf_tables, or may not load it: CONFIG_NF_TABLES (modprobe nf_tables)"
        }
        Errno::MSGSIZE => {
            "the batch is larger than net.core.wmem_max allows a process without CAP_NET_ADMIN on \
             the host"
        }
        _ => return None,
    })
}
