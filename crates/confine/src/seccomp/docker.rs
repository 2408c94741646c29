//! Docker's and OCI's JSON profiles.
//!
//! The format is moby's (`profiles/seccomp`), of which OCI's `linux.seccomp` is the part without
//! conditions on capabilities, architecture and kernel. A field this module does not know is an error, as
//! is a call no architecture has. Calls only other architectures have are skipped, as libseccomp does.
//!
//! What the profile says about other ABIs (`archMap`'s `subArchitectures`, `SCMP_ARCH_X86` in
//! `architectures`) is read and not granted: calls through them always get ENOSYS, which is stricter.
//!
//! For one call, rules with conditions are tried before those without, whatever their order in the file;
//! libseccomp would drop the ones with conditions. Numbers without a name get ENOSYS unless the default
//! action lets everything through, as runc does.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Arch;
use super::profile::{Action, Comparison, Condition, Flags, Profile, Rule};
use crate::{CapSet, Error};

/// A profile larger than this is refused.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What the conditions of a profile are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The architecture the filter is for.
    pub arch: Arch,
    /// The bounding set of the process.
    pub capabilities: CapSet,
    /// Major and minor version of the running kernel.
    pub kernel: (u32, u32),
}

/// A profile as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The rules.
    pub profile: Profile,
    /// Where the listener is to be sent, `listenerPath`.
    pub listener_path: Option<String>,
    /// What is sent with it, `listenerMetadata`.
    pub listener_metadata: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    default_action: Name,
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    arch_map: Vec<ArchMap>,
    #[serde(default, deserialize_with = "nullable")]
    architectures: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    flags: Vec<String>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    #[expect(
        dead_code,
        reason = "read so that it may be there; other ABIs are never granted"
    )]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    action: Name,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<Arg>,
    #[expect(dead_code, reason = "read so that it may be there")]
    comment: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    includes: Filter,
    #[serde(default, deserialize_with = "nullable")]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    #[serde(default, deserialize_with = "nullable")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// An action's name.
#[derive(Deserialize)]
struct Name(String);

/// Go writes an empty list as null.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

/// Reads a profile.
///
/// # Errors
/// [`Error::ProfileSize`], [`Error::ProfileJson`] with line and column, [`Error::ProfileValue`] and
/// [`Error::ProfileRule`] with the entry.
pub fn parse(json: &str, context: &Context) -> Result<Parsed, Error> {
    if json.len() > MAX_BYTES {
        return Err(Error::ProfileSize {
            bytes: json.len(),
            limit: MAX_BYTES,
        });
    }
    let document: Document =
        serde_json::from_str(json).map_err(|source| Error::ProfileJson { source })?;
    check_architectures(&document, context.arch)?;
    let default = action(
        &document.default_action,
        document.default_errno_ret,
        "defaultAction",
    )?;
    let mut profile = Profile::new(default);
    profile.flags = flags(&document.flags)?;
    let mut rules = Rules::default();
    for (i, entry) in document.syscalls.iter().enumerate() {
        let place = format!("syscalls[{i}]");
        check_names(entry, &place)?;
        if applies(entry, context, &place)? {
            rules.add(entry, &place)?;
        } else {
            rules.check(entry, &place)?;
        }
    }
    rules.finish(&mut profile)?;
    Ok(Parsed {
        profile,
        listener_path: document.listener_path,
        listener_metadata: document.listener_metadata,
    })
}

fn value_error(place: &str, problem: impl Into<String>) -> Error {
    Error::ProfileValue {
        place: place.to_owned(),
        problem: problem.into(),
    }
}

/// A profile that names architectures and not this one would leave its calls to the default action.
fn check_architectures(document: &Document, arch: Arch) -> Result<(), Error> {
    if !document.arch_map.is_empty() && !document.architectures.is_empty() {
        return Err(value_error(
            "archMap",
            "cannot stand beside `architectures`",
        ));
    }
    let mut listed = document
        .architectures
        .iter()
        .chain(document.arch_map.iter().map(|map| &map.architecture));
    let none = document.architectures.is_empty() && document.arch_map.is_empty();
    if none || listed.any(|name| name == arch.scmp_name() || name == "SCMP_ARCH_NATIVE") {
        return Ok(());
    }
    Err(value_error(
        "architectures",
        format!("{} is not among them", arch.scmp_name()),
    ))
}

fn check_names(entry: &Entry, place: &str) -> Result<(), Error> {
    match (&entry.name, entry.names.is_empty()) {
        (Some(_), false) => Err(value_error(place, "has both `name` and `names`")),
        (None, true) => Err(value_error(place, "has neither `name` nor `names`")),
        _ => Ok(()),
    }
}

fn action(name: &Name, errno: Option<u32>, place: &str) -> Result<Action, Error> {
    const EPERM: u32 = 1;
    let number = errno.unwrap_or(EPERM);
    if errno.is_some() && !matches!(name.0.as_str(), "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") {
        return Err(value_error(place, format!("{} takes no errno", name.0)));
    }
    let action = match name.0.as_str() {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap(0),
        "SCMP_ACT_ERRNO" => {
            let errno = u16::try_from(number).ok().filter(|errno| *errno < 4096);
            Action::Errno(errno.ok_or(Error::ErrnoRange { value: number })?)
        }
        "SCMP_ACT_TRACE" => {
            let data = u16::try_from(number);
            Action::Trace(data.or(Err(Error::ErrnoRange { value: number }))?)
        }
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        other => return Err(value_error(place, format!("unknown action {other:?}"))),
    };
    Ok(action)
}

fn flags(names: &[String]) -> Result<Flags, Error> {
    let mut flags = Flags::default();
    for name in names {
        match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => flags.tsync = true,
            "SECCOMP_FILTER_FLAG_LOG" => flags.log = true,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.spec_allow = true,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags.wait_killable_recv = true,
            other => return Err(value_error("flags", format!("unknown flag {other:?}"))),
        }
    }
    Ok(flags)
}

/// All of `includes` hold and none of `excludes`.
fn applies(entry: &Entry, context: &Context, place: &str) -> Result<bool, Error> {
    let Context {
        arch,
        capabilities,
        kernel,
    } = *context;
    let place_of = |part: &str| format!("{place}.{part}");
    let has = |name: &String, part: &str| -> Result<bool, Error> {
        let set = CapSet::from_name(name).map_err(|source| Error::ProfileRule {
            place: place_of(part),
            source: Box::new(source),
        })?;
        Ok(set.is_subset(capabilities))
    };
    let here = |names: &[String]| names.iter().any(|name| name == arch.go_name());
    let (includes, excludes) = (&entry.includes, &entry.excludes);

    let mut verdict = includes.arches.is_empty() || here(&includes.arches);
    verdict &= !here(&excludes.arches);
    for name in &includes.caps {
        verdict &= has(name, "includes.caps")?;
    }
    for name in &excludes.caps {
        verdict &= !has(name, "excludes.caps")?;
    }
    if let Some(version) = &includes.min_kernel {
        verdict &= kernel >= version_of(version, &place_of("includes.minKernel"))?;
    }
    if let Some(version) = &excludes.min_kernel {
        verdict &= kernel < version_of(version, &place_of("excludes.minKernel"))?;
    }
    Ok(verdict)
}

fn version_of(text: &str, place: &str) -> Result<(u32, u32), Error> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => Err(value_error(
            place,
            format!("{text:?} is not a kernel version like \"4.8\""),
        )),
    }
}

fn condition(arg: &Arg, place: &str) -> Result<Condition, Error> {
    let is = match arg.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Eq(arg.value),
        "SCMP_CMP_NE" => Comparison::Ne(arg.value),
        "SCMP_CMP_LT" => Comparison::Lt(arg.value),
        "SCMP_CMP_LE" => Comparison::Le(arg.value),
        "SCMP_CMP_GT" => Comparison::Gt(arg.value),
        "SCMP_CMP_GE" => Comparison::Ge(arg.value),
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEq {
            mask: arg.value,
            value: arg.value_two,
        },
        other => return Err(value_error(place, format!("unknown operator {other:?}"))),
    };
    match u8::try_from(arg.index) {
        Ok(index @ 0..=5) => Ok(Condition { arg: index, is }),
        _ => Err(value_error(
            place,
            format!("there is no argument {}, they are 0 to 5", arg.index),
        )),
    }
}

/// The conditions of an entry, one list for each rule it stands for. Two on the same argument are
/// alternatives, and then so are all of the entry: what runc makes of profiles that were written before
/// libseccomp could join conditions.
fn alternatives(entry: &Entry, place: &str) -> Result<Vec<Vec<Condition>>, Error> {
    let mut all = Vec::with_capacity(entry.args.len());
    for (i, arg) in entry.args.iter().enumerate() {
        all.push(condition(arg, &format!("{place}.args[{i}]"))?);
    }
    let repeated = (1..all.len()).any(|i| all[..i].iter().any(|one| one.arg == all[i].arg));
    Ok(if repeated {
        all.into_iter().map(|one| vec![one]).collect()
    } else {
        vec![all]
    })
}

/// The rules by call, each with where it stands.
#[derive(Default)]
struct Rules {
    by_name: BTreeMap<String, Vec<(Rule, String)>>,
}

impl Rules {
    fn add(&mut self, entry: &Entry, place: &str) -> Result<(), Error> {
        let action = action(&entry.action, entry.errno_ret, place)?;
        let alternatives = alternatives(entry, place)?;
        for (i, name) in entry.name.iter().chain(&entry.names).enumerate() {
            let list = self.by_name.entry(name.clone()).or_default();
            let place = format!("{place}.names[{i}]");
            for conditions in &alternatives {
                list.push((
                    Rule {
                        action,
                        conditions: conditions.clone(),
                    },
                    place.clone(),
                ));
            }
        }
        Ok(())
    }

    /// What does not apply here must still make sense.
    fn check(&self, entry: &Entry, place: &str) -> Result<(), Error> {
        let mut scratch = Self::default();
        scratch.add(entry, place)?;
        let mut nowhere = Profile::new(Action::Allow);
        scratch.finish(&mut nowhere)
    }

    fn finish(self, profile: &mut Profile) -> Result<(), Error> {
        for (name, mut rules) in self.by_name {
            // Stable: those with conditions first, each kind in the file's order.
            rules.sort_by_key(|(rule, _)| rule.conditions.is_empty());
            for (rule, place) in rules {
                profile
                    .add(&name, rule)
                    .map_err(|source| Error::ProfileRule {
                        place,
                        source: Box::new(source),
                    })?;
            }
        }
        Ok(())
    }
}
