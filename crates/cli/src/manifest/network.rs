//! `[network]`.

use engine::spec::Network;

use super::keys;
use super::model::Given;
use super::walk::{Reader, Rule, Section, Value};
use crate::diagnostic::Code;

pub(super) fn read(r: &Reader, value: &Value<'_>) -> Option<Given<Network>> {
    let table = Section::open(r, &keys::NETWORK, value, "a table like [network]")?;
    let like = "a string: \"none\" or \"host\"";
    table.get("mode")?.parse(r, like, |text| match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        "" => Err("one of \"none\" and \"host\"".into()),
        _ => Err(Rule::from(
            "only \"none\" and \"host\" are; a later release brings bridges and named networks",
        )
        .code(Code::NotSupported)),
    })
}
