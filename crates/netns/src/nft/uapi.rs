//! Numbers of `<linux/netfilter/nf_tables.h>` and its neighbours that the libc crate does not have.
//!
//! They, and the few lines of [`attr`](super::attr), stand here instead of a bindings crate: the one
//! that is synchronous and freely licensed takes `NFTA_SET_ELEM_KEY_END` for 9 (it is 10, after
//! `PAD` and `OBJREF`), does not know `masq`, reads into 8 KiB and hands out no descriptor to poll.
//!
//! `u16` are attributes, `u32` are values.

pub(crate) const LIST_ELEM: u16 = 1;

pub(crate) const TABLE_NAME: u16 = 1;

pub(crate) const CHAIN_TABLE: u16 = 1;
pub(crate) const CHAIN_NAME: u16 = 3;
pub(crate) const CHAIN_HOOK: u16 = 4;
pub(crate) const CHAIN_POLICY: u16 = 5;
pub(crate) const CHAIN_TYPE: u16 = 7;

pub(crate) const HOOK_HOOKNUM: u16 = 1;
pub(crate) const HOOK_PRIORITY: u16 = 2;

pub(crate) const RULE_TABLE: u16 = 1;
pub(crate) const RULE_CHAIN: u16 = 2;
pub(crate) const RULE_EXPRESSIONS: u16 = 4;
pub(crate) const RULE_USERDATA: u16 = 7;
/// A type-length-value inside the user data, as `nft` writes it (libnftnl's udata.h).
pub(crate) const UDATA_RULE_COMMENT: u8 = 0;

pub(crate) const EXPR_NAME: u16 = 1;
pub(crate) const EXPR_DATA: u16 = 2;

pub(crate) const SET_TABLE: u16 = 1;
pub(crate) const SET_NAME: u16 = 2;
pub(crate) const SET_FLAGS: u16 = 3;
pub(crate) const SET_KEY_TYPE: u16 = 4;
pub(crate) const SET_KEY_LEN: u16 = 5;
pub(crate) const SET_DATA_TYPE: u16 = 6;
pub(crate) const SET_DATA_LEN: u16 = 7;
pub(crate) const SET_DESC: u16 = 9;
pub(crate) const SET_ID: u16 = 10;
pub(crate) const SET_USERDATA: u16 = 13;
/// Inside the user data of a set (libnftnl's udata.h), and `BYTEORDER_HOST_ENDIAN` of nft.
pub(crate) const UDATA_SET_KEYBYTEORDER: u8 = 0;
pub(crate) const HOST_ENDIAN: u32 = 1;
pub(crate) const SET_DESC_CONCAT: u16 = 2;
pub(crate) const SET_FIELD_LEN: u16 = 1;
pub(crate) const SET_CONCAT: u32 = 0x80;

pub(crate) const ELEM_LIST_TABLE: u16 = 1;
pub(crate) const ELEM_LIST_SET: u16 = 2;
pub(crate) const ELEM_LIST_ELEMENTS: u16 = 3;
pub(crate) const ELEM_KEY: u16 = 1;
pub(crate) const ELEM_DATA: u16 = 2;
pub(crate) const ELEM_KEY_END: u16 = 10;

pub(crate) const DATA_VALUE: u16 = 1;
pub(crate) const DATA_VERDICT: u16 = 2;
/// `NFT_DATA_VERDICT`: the data type of a verdict map.
pub(crate) const DATA_TYPE_VERDICT: u32 = 0xffff_ff00;
pub(crate) const VERDICT_CODE: u16 = 1;
pub(crate) const VERDICT_CHAIN: u16 = 2;

pub(crate) const META_DREG: u16 = 1;
pub(crate) const META_KEY: u16 = 2;

pub(crate) const CT_DREG: u16 = 1;
pub(crate) const CT_KEY: u16 = 2;
pub(crate) const CT_DIRECTION: u16 = 3;

pub(crate) const PAYLOAD_DREG: u16 = 1;
pub(crate) const PAYLOAD_BASE: u16 = 2;
pub(crate) const PAYLOAD_OFFSET: u16 = 3;
pub(crate) const PAYLOAD_LEN: u16 = 4;

pub(crate) const FIB_DREG: u16 = 1;
pub(crate) const FIB_RESULT: u16 = 2;
pub(crate) const FIB_FLAGS: u16 = 3;
pub(crate) const FIB_RESULT_ADDRTYPE: u32 = 3;
pub(crate) const FIB_F_DADDR: u32 = 2;

pub(crate) const BITWISE_SREG: u16 = 1;
pub(crate) const BITWISE_DREG: u16 = 2;
pub(crate) const BITWISE_LEN: u16 = 3;
pub(crate) const BITWISE_MASK: u16 = 4;
pub(crate) const BITWISE_XOR: u16 = 5;

pub(crate) const CMP_SREG: u16 = 1;
pub(crate) const CMP_OP: u16 = 2;
pub(crate) const CMP_DATA: u16 = 3;

pub(crate) const LOOKUP_SET: u16 = 1;
pub(crate) const LOOKUP_SREG: u16 = 2;
pub(crate) const LOOKUP_DREG: u16 = 3;
pub(crate) const LOOKUP_FLAGS: u16 = 5;

pub(crate) const NAT_TYPE: u16 = 1;
pub(crate) const NAT_FAMILY: u16 = 2;
pub(crate) const NAT_REG_ADDR_MIN: u16 = 3;
pub(crate) const NAT_REG_PROTO_MIN: u16 = 5;
pub(crate) const NAT_TYPE_DNAT: u32 = 1;

pub(crate) const IMMEDIATE_DREG: u16 = 1;
pub(crate) const IMMEDIATE_DATA: u16 = 2;

pub(crate) const REJECT_TYPE: u16 = 1;
pub(crate) const REJECT_CODE: u16 = 2;

/// `NFTA_MATCH_NAME` and `NFTA_TARGET_NAME` of what `iptables-nft` leaves to xtables.
pub(crate) const COMPAT_NAME: u16 = 1;

pub(crate) const GEN_ID: u16 = 1;

pub(crate) const NLMSGERR_MSG: u16 = 1;
pub(crate) const NLMSGERR_OFFSET: u16 = 2;
