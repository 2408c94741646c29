//! The traffic control messages: queues, and one filter.
//!
//! netlink-packet-route has no tbf; its attributes are put together here from
//! [`include/uapi/linux/pkt_sched.h`].
//!
//! [`include/uapi/linux/pkt_sched.h`]: https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/pkt_sched.h

use netlink_packet_core::DefaultNla;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption,
    TcActionType, TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcMessage, TcMirror,
    TcMirrorActionType, TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
};

use super::request::Tbf;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_LINKLAYER_ETHERNET: u8 = 1;
/// `ETH_P_ALL`, in network byte order as the lower half of `tcm_info` has it.
const ETH_P_ALL: u16 = 3u16.to_be();

fn message(index: u32, handle: TcHandle, parent: TcHandle) -> TcMessage {
    // An ifindex is a positive int of the kernel's.
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.handle = handle;
    message.header.parent = parent;
    message
}

/// The root qdisc, whichever it is.
pub(super) fn root(index: u32) -> TcMessage {
    message(index, TcHandle::UNSPEC, TcHandle::ROOT)
}

/// A token bucket as the root qdisc.
pub(super) fn tbf(index: u32, tbf: &Tbf) -> TcMessage {
    let mut message = root(index);
    let rate = tbf.rate.0 / 8;
    let mut options = vec![nla(TCA_TBF_PARMS, &tbf_qopt(rate, tbf.limit_bytes))];
    if u32::try_from(rate).is_err() {
        options.push(nla(TCA_TBF_RATE64, &rate.to_ne_bytes()));
    }
    // In bytes: without it the kernel takes `buffer` of the parameters, in units of its clock.
    options.push(nla(TCA_TBF_BURST, &tbf.burst_bytes.to_ne_bytes()));
    message.attributes = vec![
        TcAttribute::Kind("tbf".to_owned()),
        TcAttribute::Options(options),
    ];
    message
}

fn nla(kind: u16, value: &[u8]) -> TcOption {
    TcOption::Other(DefaultNla::new(kind, value.to_vec()))
}

/// `struct tc_tbf_qopt`: rate, peak rate (none), limit, buffer, mtu. A known link layer spares the
/// table of times per packet size that old kernels wanted.
fn tbf_qopt(bytes_per_second: u64, limit: u32) -> Vec<u8> {
    let rate = u32::try_from(bytes_per_second).unwrap_or(u32::MAX);
    let ratespec = |rate: u32| {
        let mut spec = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
        spec.extend(rate.to_ne_bytes());
        spec
    };
    let mut qopt = ratespec(rate);
    qopt.extend(ratespec(0));
    qopt.extend(limit.to_ne_bytes());
    qopt.extend([0; 8]);
    qopt
}

/// Where filters see what is received. The parameters are the same for making and removing.
pub(super) fn clsact(index: u32) -> TcMessage {
    let handle = TcHandle {
        major: u16::MAX,
        minor: 0,
    };
    let mut message = message(index, handle, TcHandle::CLSACT);
    message.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
    message
}

/// A `u32` filter without a condition, whose action hands the packet to `to` as if `to` sent it.
/// `matchall` would say it shorter, and is missing from more kernels.
pub(super) fn redirect(from: u32, to: u32) -> TcMessage {
    let ingress = TcHandle {
        major: u16::MAX,
        minor: TcHandle::MIN_INGRESS,
    };
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = to;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(
            mirror,
        ))]),
    ];
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    selector.nkeys = 1;
    selector.keys = vec![TcU32Key::default()];
    let mut message = message(from, TcHandle::UNSPEC, ingress);
    // The priority in the upper half: the first of all.
    message.header.info = 1 << 16 | u32::from(ETH_P_ALL);
    message.attributes = vec![
        TcAttribute::Kind(TcFilterU32::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::U32(TcFilterU32Option::Selector(selector)),
            TcOption::U32(TcFilterU32Option::Action(vec![action])),
        ]),
    ];
    message
}
