//! Which socket families can be had.

use std::collections::BTreeMap;

use probe::Answer;

use crate::sys;

/// One more than the highest that Linux knows (AF_MCTP, 45): an unknown one answers EAFNOSUPPORT.
const FAMILIES: u32 = 47;

/// A socket of each family, of the first of the usual types that its protocol has.
///
/// A raw socket is the last choice: without CAP_NET_RAW it is EPERM, which would look like a filter.
pub(crate) fn families() -> BTreeMap<u32, Answer> {
    let types = [
        libc::SOCK_DGRAM,
        libc::SOCK_STREAM,
        libc::SOCK_SEQPACKET,
        libc::SOCK_RAW,
    ];
    (0..FAMILIES)
        .map(|family| {
            let mut answer = Answer::Errno(libc::EAFNOSUPPORT);
            for kind in types {
                answer = sys::socket(family as i32, kind);
                let other_type = [
                    libc::ESOCKTNOSUPPORT,
                    libc::EPROTONOSUPPORT,
                    libc::EPROTOTYPE,
                    libc::EINVAL,
                ];
                if !matches!(answer, Answer::Errno(errno) if other_type.contains(&errno)) {
                    break;
                }
            }
            (family, answer)
        })
        .collect()
}
