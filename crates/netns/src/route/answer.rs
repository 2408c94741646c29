//! What the kernel answers, taken apart. Pure: bytes in, values out, nothing trusted.

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use rustix::io::Errno;

/// A message type of `linux/netlink.h`.
pub(crate) const NLMSG_ERROR: u16 = 2;
/// The end of a dump.
pub(crate) const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The request that an error repeats was cut to its header.
const NLM_F_CAPPED: u16 = 0x100;
/// Attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER: usize = 16;

/// One message of a datagram.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    flags: u16,
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// The objects changed while they were listed: the list may be inconsistent.
    pub(crate) fn interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }
}

/// The messages of a datagram, up to the first that does not fit into it.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = buffer.length() as usize;
        let payload = datagram.get(HEADER..length)?;
        let message = Message {
            kind: buffer.message_type(),
            sequence: buffer.sequence_number(),
            flags: buffer.flags(),
            payload,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// `struct nlmsgerr`: 0 is an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// None is an acknowledgement.
    pub(crate) errno: Option<Errno>,
    /// What the kernel says besides (`NLMSGERR_ATTR_MSG`, since 4.12).
    pub(crate) text: Option<String>,
}

/// The errno of a code, which is negated. `EBADMSG` for what no kernel says: rustix takes only what
/// can be one.
pub(crate) fn errno(code: i32) -> Option<Errno> {
    match code {
        0 => None,
        -4095..=-1 => Some(Errno::from_raw_os_error(-code)),
        _ => Some(Errno::BADMSG),
    }
}

/// None if the message is too short to be one.
pub(crate) fn answer(message: &Message<'_>) -> Option<Answer> {
    let payload = message.payload;
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    Some(Answer {
        errno: errno(code),
        text: extended(message),
    })
}

fn extended(message: &Message<'_>) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = message.payload.get(4..)?;
    let length = if message.flags & NLM_F_CAPPED == 0 {
        u32::from_ne_bytes(request.get(..4)?.try_into().ok()?) as usize
    } else {
        HEADER
    };
    let attributes = request.get(length.checked_next_multiple_of(4)?..)?;
    let text = attribute(attributes, NLMSGERR_ATTR_MSG)?;
    Some(string(text))
}

/// The value of the first attribute of this kind.
pub(crate) fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    for_each_attribute(attributes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// Every attribute up to the first that makes no sense.
pub(crate) fn for_each_attribute(attributes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(attributes).map_while(|nla| {
        let nla = nla.ok()?;
        let kind = nla.kind();
        let length = usize::from(nla.length());
        Some((kind, nla.into_inner().get(4..length)?))
    })
}

/// A string of the kernel's, with or without its terminating zero.
pub(crate) fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(flags: u16, code: i32, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + 4 + rest.len()).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(9u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(code.to_ne_bytes());
        bytes.extend(rest);
        bytes
    }

    fn request(length: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([0; 12]);
        bytes.extend(payload);
        bytes
    }

    const TEXT: &[u8] = b"\x08\0\x01\0no!\0";

    #[track_caller]
    fn check(bytes: &[u8], errno: Option<Errno>, text: Option<&str>) {
        let message = messages(bytes).next().expect("message");
        assert_eq!(message.sequence, 9);
        let answer = answer(&message).expect("answer");
        assert_eq!((answer.errno, answer.text.as_deref()), (errno, text));
    }

    #[test]
    fn the_text_follows_the_request_whether_that_is_cut_or_not() {
        let flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        let cut = [request(40, &[]), TEXT.to_vec()].concat();
        check(&error(flags, -17, &cut), Some(Errno::EXIST), Some("no!"));
        let whole = [request(24, &[1; 8]), TEXT.to_vec()].concat();
        check(
            &error(NLM_F_ACK_TLVS, -17, &whole),
            Some(Errno::EXIST),
            Some("no!"),
        );
        check(&error(NLM_F_CAPPED, 0, &request(40, &[])), None, None);
    }

    #[test]
    fn a_length_that_leads_outside_ends_the_reading_quietly() {
        check(
            &error(NLM_F_ACK_TLVS, -1, &request(u32::MAX, &[])),
            Some(Errno::PERM),
            None,
        );
        check(
            &error(NLM_F_ACK_TLVS, i32::MIN, &[]),
            Some(Errno::BADMSG),
            None,
        );
        let mut long = error(0, 0, &[]);
        long[0] = 200;
        assert_eq!(messages(&long).count(), 0);
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(for_each_attribute(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(for_each_attribute(&[9, 0, 1, 0, 0]).count(), 0);
    }

    #[test]
    fn a_datagram_may_hold_several_messages() {
        let two = [error(0, 0, &[]), error(0, -1, &[])].concat();
        let codes: Vec<_> = messages(&two).filter_map(|m| answer(&m)).collect();
        assert_eq!(codes.len(), 2);
        assert_eq!(codes[1].errno, Some(Errno::PERM));
    }
}
