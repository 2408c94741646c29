//! Who a program runs as: names and numbers of the container's own `/etc/passwd` and `/etc/group`,
//! [`passwd(5)`], [`group(5)`].
//!
//! The files are the container's, so they are read by this module and never by the C library, whose
//! NSS would load code to do it; and they may be hostile, so they are bounded in size and lines, the
//! first match wins, and lines that make no sense are passed over.
//!
//! A number is a number: `user = "1000"` is uid 1000 even where somebody is *called* 1000
//! (CVE-2016-3697).
//!
//! [`passwd(5)`]: https://man7.org/linux/man-pages/man5/passwd.5.html
//! [`group(5)`]: https://man7.org/linux/man-pages/man5/group.5.html

use crate::doctor::near::{did_you_mean, near};
use crate::spec::{Group, User};

/// Largest `/etc/passwd` or `/etc/group` that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Most lines of one of them. So nobody can be in more groups than a process can have: 65,536,
/// `NGROUPS_MAX` of [`setgroups(2)`].
///
/// [`setgroups(2)`]: https://man7.org/linux/man-pages/man2/setgroups.2.html
pub const MAX_LINES: usize = 50_000;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The ids of a program, as they are inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// What [`setgroups(2)`] is to set: `gid` first, as login does it, then the others.
    ///
    /// `gid` is among them because a file may *deny* a group something, and the process could
    /// otherwise shed that group by changing its gid (CVE-2022-36109).
    ///
    /// [`setgroups(2)`]: https://man7.org/linux/man-pages/man2/setgroups.2.html
    pub groups: Vec<u32>,
    /// Login name, when `/etc/passwd` has one.
    pub name: Option<String>,
    /// Home directory, when `/etc/passwd` has one.
    pub home: Option<String>,
    /// Shell, when `/etc/passwd` has one.
    pub shell: Option<String>,
}

/// The container's files, read up to [`MAX_BYTES`] + 1 bytes each; `None`: it has no such file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// `/etc/passwd`.
    pub passwd: Option<&'a [u8]>,
    /// `/etc/group`.
    pub group: Option<&'a [u8]>,
}

/// Why a user cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such name.
    #[error(
        "{kind} {name:?} is not in {file} of the container{}",
        did_you_mean(near)
    )]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// As asked for.
        name: String,
        /// Where it was looked for.
        file: &'static str,
        /// Names that are there and look alike.
        near: Vec<String>,
    },
    /// A name, and nothing to look it up in.
    #[error(
        "{kind} {name:?} cannot be looked up: the container has no {file}; a number needs none"
    )]
    NoFile {
        /// `user` or `group`.
        kind: &'static str,
        /// As asked for.
        name: String,
        /// What is missing.
        file: &'static str,
    },
    /// A number that no user or group can have.
    #[error("{kind} {text:?} is out of range: ids are 0 to 4294967294")]
    Range {
        /// `user` or `group`.
        kind: &'static str,
        /// As asked for.
        text: String,
    },
    /// Neither a number nor a possible name.
    #[error("{kind} {text:?} is neither a number nor a name")]
    BadName {
        /// `user` or `group`.
        kind: &'static str,
        /// As asked for.
        text: String,
    },
    /// A file beyond [`MAX_BYTES`] or [`MAX_LINES`].
    #[error("{file} of the container is larger than {MAX_BYTES} bytes or {MAX_LINES} lines")]
    TooLarge {
        /// Which.
        file: &'static str,
    },
}

/// Looks `user` up in the container's files, as Docker does:
///
/// - a name must be there; a number need not be, and then has gid 0 and no other group;
/// - without a group the one of `/etc/passwd` counts, and the groups of `/etc/group` that list the
///   user's name are added; with one, that group is the only one.
///
/// # Errors
///
/// Each variant of [`Error`].
pub fn resolve(user: &User, files: &Files<'_>) -> Result<Credentials, Error> {
    let (wanted, group) = match user {
        User::Name { user, group } => (Ref::parse("user", user)?, group),
        User::Id { uid, group } => (Ref::id("user", *uid)?, group),
    };
    let entry = find_user(wanted, files.passwd)?;
    let uid = match (&entry, wanted) {
        (Some(entry), _) => entry.uid,
        (None, Ref::Id(uid)) => uid,
        (None, Ref::Name(name)) => {
            let names = files
                .passwd
                .map(|text| user_names(text).collect::<Vec<_>>());
            return Err(unknown("user", name, PASSWD, names));
        }
    };
    let name = entry.as_ref().map(|entry| entry.name);
    let gid = match group {
        Some(group) => find_group(group, files.group)?,
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut groups = vec![gid];
    if let (None, Some(name)) = (group, name) {
        add_memberships(name, files.group, &mut groups)?;
    }
    let field =
        |of: fn(&PasswdEntry<'_>) -> String| entry.as_ref().map(of).filter(|text| !text.is_empty());
    Ok(Credentials {
        uid,
        gid,
        groups,
        name: field(|entry| entry.name.to_owned()),
        home: field(|entry| entry.home.to_owned()),
        shell: field(|entry| entry.shell.to_owned()),
    })
}

/// The login name of `uid` in a passwd file, for messages and for files that list users by name.
pub fn name_of(passwd: &str, uid: u32) -> Option<String> {
    let entry = find_user(Ref::Id(uid), Some(passwd.as_bytes())).ok()??;
    Some(entry.name.to_owned())
}

/// A user or group as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ref<'a> {
    Id(u32),
    Name(&'a str),
}

impl<'a> Ref<'a> {
    /// What is all digits is a number, whatever names there may be.
    fn parse(kind: &'static str, text: &'a str) -> Result<Self, Error> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match number(text) {
                Some(id) => Ok(Self::Id(id)),
                None => Err(Error::Range {
                    kind,
                    text: text.to_owned(),
                }),
            };
        }
        let possible = !text.is_empty()
            && !text.starts_with(['-', '+', '#'])
            && !text
                .contains(|c: char| c == ':' || c == ',' || c.is_whitespace() || c.is_control());
        if possible {
            Ok(Self::Name(text))
        } else {
            Err(Error::BadName {
                kind,
                text: text.to_owned(),
            })
        }
    }

    fn id(kind: &'static str, id: u32) -> Result<Self, Error> {
        if id == u32::MAX {
            return Err(Error::Range {
                kind,
                text: id.to_string(),
            });
        }
        Ok(Self::Id(id))
    }
}

/// Digits only (`str::parse` would take a `+`), and not 4294967295: setuid(2) and chown(2) take
/// that for "leave it".
fn number(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// A line of `/etc/passwd`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

/// A line of `/etc/group`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a [u8],
}

/// The lines of a file that is within the bounds.
fn lines<'a>(
    file: &'static str,
    text: &'a [u8],
) -> Result<impl Iterator<Item = &'a [u8]> + Clone, Error> {
    if text.len() > MAX_BYTES || text.iter().filter(|byte| **byte == b'\n').count() > MAX_LINES {
        return Err(Error::TooLarge { file });
    }
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.contains(&0)))
}

/// The seven fields of passwd(5), of which group(5) has four; what is missing is empty. `None` for a
/// comment, an NIS entry (`+name`) or a line without a name.
fn fields(line: &[u8]) -> Option<[&[u8]; 7]> {
    let mut fields: [&[u8]; 7] = [b""; 7];
    for (to, from) in fields.iter_mut().zip(line.split(|byte| *byte == b':')) {
        *to = from;
    }
    match fields[0].first() {
        None | Some(b'+' | b'-' | b'#') => None,
        Some(_) => Some(fields),
    }
}

/// A field that is not UTF-8 counts as empty: it can be no number, and no name that was asked for.
fn text(field: &[u8]) -> &str {
    std::str::from_utf8(field).unwrap_or("")
}

fn passwd_entry(line: &[u8]) -> Option<PasswdEntry<'_>> {
    let [name, _password, uid, gid, _comment, home, shell] = fields(line)?;
    let (uid, gid) = (number(text(uid))?, number(text(gid))?);
    Some(PasswdEntry {
        name: text(name),
        uid,
        gid,
        home: text(home),
        shell: text(shell),
    })
}

fn group_entry(line: &[u8]) -> Option<GroupEntry<'_>> {
    let [name, _password, gid, members, ..] = fields(line)?;
    Some(GroupEntry {
        name: text(name),
        gid: number(text(gid))?,
        members,
    })
}

fn find_user<'a>(
    wanted: Ref<'_>,
    passwd: Option<&'a [u8]>,
) -> Result<Option<PasswdEntry<'a>>, Error> {
    let Some(text) = passwd else { return Ok(None) };
    Ok(lines(PASSWD, text)?
        .filter_map(passwd_entry)
        .find(|entry| match wanted {
            Ref::Id(uid) => entry.uid == uid,
            Ref::Name(name) => entry.name == name,
        }))
}

fn find_group(group: &Group, text: Option<&[u8]>) -> Result<u32, Error> {
    let name = match group {
        Group::Id(gid) => match Ref::id("group", *gid)? {
            Ref::Id(gid) => return Ok(gid),
            Ref::Name(name) => name,
        },
        Group::Name(name) => match Ref::parse("group", name)? {
            Ref::Id(gid) => return Ok(gid),
            Ref::Name(name) => name,
        },
    };
    let Some(text) = text else {
        return Err(unknown("group", name, GROUP, None));
    };
    let entries = lines(GROUP, text)?.filter_map(group_entry);
    match entries.clone().find(|entry| entry.name == name) {
        Some(entry) => Ok(entry.gid),
        None => Err(unknown(
            "group",
            name,
            GROUP,
            Some(entries.map(|entry| entry.name).collect()),
        )),
    }
}

/// Adds the groups that list `name`, each once.
fn add_memberships(name: &str, text: Option<&[u8]>, groups: &mut Vec<u32>) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    let mut seen: std::collections::HashSet<u32> = groups.iter().copied().collect();
    for entry in lines(GROUP, text)?.filter_map(group_entry) {
        let listed = entry
            .members
            .split(|byte| *byte == b',')
            .any(|m| m == name.as_bytes());
        if listed && seen.insert(entry.gid) {
            groups.push(entry.gid);
        }
    }
    Ok(())
}

fn user_names(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| *byte == b'\n')
        .filter_map(passwd_entry)
        .map(|entry| entry.name)
}

fn unknown(kind: &'static str, name: &str, file: &'static str, names: Option<Vec<&str>>) -> Error {
    let name = name.to_owned();
    match names {
        None => Error::NoFile { kind, name, file },
        Some(names) => {
            let near = near(&name, names.into_iter());
            Error::Unknown {
                kind,
                name,
                file,
                near,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_TEXT: &str = "\
root:x:0:0:root:/root:/bin/sh
# comment:x:1:1::/:
+nis:x:2:2::/:
1000:x:0:0:a user who is called 1000:/evil:/bin/evil
broken
:x:3:3::/:
negative:x:-1:5::/:
plus:x:+6:6::/:
huge:x:4294967296:7::/:
nochange:x:4294967295:7::/:
nginx:x:101:102:nginx:/var/cache/nginx:/sbin/nologin
nginx:x:0:0:second of the name:/root:/bin/sh
twin:x:101:0::/:
homeless:x:500:501::
short:x:502:503
";
    const GROUP_TEXT: &str = "\
root:x:0:
102:x:0:nginx
nginx:x:102:nginx
www:x:33:other,nginx,nginx
web:x:33:nginx
ssl:x:200:nginx
bad:x:x:nginx
staff:x:50:root,nginx2
";

    fn files() -> Files<'static> {
        Files {
            passwd: Some(PASSWD_TEXT.as_bytes()),
            group: Some(GROUP_TEXT.as_bytes()),
        }
    }

    /// `USER[:GROUP]`, names and numbers alike as names: what they are is for `resolve` to see.
    fn user(text: &str) -> User {
        let (user, group) = text
            .split_once(':')
            .map_or((text, None), |(u, g)| (u, Some(g)));
        let group = group.map(|group| Group::Name(group.to_owned()));
        User::Name {
            user: user.to_owned(),
            group,
        }
    }

    /// uid, gid, groups, home of `USER[:GROUP]`.
    fn ids(text: &str) -> (u32, u32, Vec<u32>, Option<String>) {
        let who = resolve(&user(text), &files()).expect(text);
        (who.uid, who.gid, who.groups, who.home)
    }

    fn fails(text: &str, files: &Files<'_>) -> Error {
        resolve(&user(text), files).expect_err(text)
    }

    #[test]
    fn a_name_brings_its_group_its_other_groups_and_its_home() {
        let home = Some("/var/cache/nginx".to_owned());
        assert_eq!(
            ids("nginx"),
            (101, 102, vec![102, 0, 33, 200], home.clone())
        );
        assert_eq!(ids("101"), (101, 102, vec![102, 0, 33, 200], home));
        assert_eq!(ids("root"), (0, 0, vec![0, 50], Some("/root".to_owned())));
    }

    #[test]
    fn a_group_that_was_asked_for_is_the_only_one() {
        let home = Some("/var/cache/nginx".to_owned());
        assert_eq!(ids("nginx:ssl"), (101, 200, vec![200], home.clone()));
        assert_eq!(ids("nginx:7"), (101, 7, vec![7], home));
        assert_eq!(ids("7:staff"), (7, 50, vec![50], None));
    }

    #[test]
    fn a_number_without_an_entry_has_group_0_and_no_other() {
        assert_eq!(ids("4000"), (4000, 0, vec![0], None));
        let none = Files::default();
        let who = resolve(&user("4000"), &none).expect("no file needed");
        assert_eq!((who.uid, who.gid, who.groups), (4000, 0, vec![0]));
    }

    #[test]
    fn a_number_is_never_looked_up_as_a_name() {
        assert_eq!(ids("1000"), (1000, 0, vec![0], None));
        assert_eq!(ids("0:102"), (0, 102, vec![102], Some("/root".to_owned())));
        let sly = User::Name {
            user: "1000".into(),
            group: Some(Group::Name("102".into())),
        };
        let who = resolve(&sly, &files()).expect("numbers");
        assert_eq!((who.uid, who.gid), (1000, 102));
    }

    #[test]
    fn fields_that_are_missing_are_none() {
        assert_eq!(ids("homeless"), (500, 501, vec![501], None));
        assert_eq!(ids("short"), (502, 503, vec![503], None));
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        for name in ["broken", "negative", "plus", "huge", "nochange", "nis"] {
            let error = fails(name, &files());
            assert!(
                matches!(error, Error::Unknown { kind: "user", .. }),
                "{name}: {error}"
            );
        }
        assert!(matches!(
            fails("root:bad", &files()),
            Error::Unknown { kind: "group", .. }
        ));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_file_and_the_nearest() {
        assert_eq!(
            fails("ngnix", &files()).to_string(),
            r#"user "ngnix" is not in /etc/passwd of the container; did you mean "nginx"?"#
        );
        assert_eq!(
            fails("root:stuff", &files()).to_string(),
            r#"group "stuff" is not in /etc/group of the container; did you mean "staff"?"#
        );
        assert_eq!(
            fails("nginx", &Files::default()).to_string(),
            r#"user "nginx" cannot be looked up: the container has no /etc/passwd; a number needs none"#
        );
    }

    #[test]
    fn what_is_neither_number_nor_name_is_refused() {
        let table = [
            ("user", "", &["", ":0", ":"][..]),
            ("group", "", &["0:"]),
            ("group", "b:c", &["0:b:c"]),
            ("user", "-1", &["-1", "-1:0"]),
            ("user", "+1", &["+1"]),
            ("user", "a b", &["a b"]),
            ("user", "a\n", &["a\n"]),
            ("user", "a\0", &["a\0"]),
        ];
        for (kind, text, inputs) in table {
            for input in inputs {
                let error = Error::BadName {
                    kind,
                    text: text.into(),
                };
                assert_eq!(fails(input, &files()), error, "{input:?}");
            }
        }
        for big in ["4294967295", "4294967296", "99999999999999999999"] {
            assert_eq!(
                fails(big, &files()),
                Error::Range {
                    kind: "user",
                    text: big.into()
                }
            );
            let error = Error::Range {
                kind: "group",
                text: big.into(),
            };
            assert_eq!(fails(&format!("0:{big}"), &files()), error);
        }
    }

    #[test]
    fn a_number_that_no_id_can_have_and_a_name_with_a_colon_are_refused_as_values() {
        let sly = User::Id {
            uid: u32::MAX,
            group: None,
        };
        assert!(matches!(resolve(&sly, &files()), Err(Error::Range { .. })));
        let sly = User::Name {
            user: "root:x:0".into(),
            group: None,
        };
        assert!(matches!(
            resolve(&sly, &files()),
            Err(Error::BadName { .. })
        ));
    }

    #[test]
    fn a_file_beyond_the_bounds_is_an_error_that_names_it() {
        let long = vec![b'x'; MAX_BYTES + 1];
        let many = vec![b'\n'; MAX_LINES + 1];
        for text in [&long, &many] {
            let passwd = Files {
                passwd: Some(text),
                ..files()
            };
            assert_eq!(fails("0", &passwd), Error::TooLarge { file: PASSWD });
            let group = Files {
                group: Some(text),
                ..files()
            };
            assert_eq!(fails("root", &group), Error::TooLarge { file: GROUP });
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_only_their_own_field() {
        let passwd =
            b"jos\xe9:x:1:1::/:\nanna:x:2:2:\xe9t\xe9:/home/anna:/bin/sh\nnul\0:x:3:3::/:\n";
        let group = b"g:x:9:jos\xe9,anna\n";
        let files = Files {
            passwd: Some(passwd),
            group: Some(group),
        };
        let who = resolve(&user("anna"), &files).expect("anna");
        assert_eq!(
            (who.groups, who.home.as_deref()),
            (vec![2, 9], Some("/home/anna"))
        );
        assert!(matches!(fails("nul", &files), Error::Unknown { .. }));
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic_and_numbers_keep_their_uid(
            passwd in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            group in "([a-c0-9:,\n#+-]|\\PC){0,120}",
            uid in 0..u32::MAX,
        ) {
            let files = Files { passwd: Some(&passwd), group: Some(group.as_bytes()) };
            let who = resolve(&User::Id { uid, group: None }, &files).expect("a number resolves");
            assert_eq!(who.uid, uid);
            assert_eq!(who.groups[0], who.gid);
        }

        #[test]
        fn what_was_written_as_a_line_is_found(
            name in "[a-z_][a-z0-9_-]{0,10}", uid in 0..u32::MAX, gid in 0..u32::MAX, home in "/[a-z/]{0,9}",
        ) {
            let passwd = format!("x:y\n{name}:x:{uid}:{gid}::{home}:/bin/sh\n{name}:x:1:1::/:\n");
            let files = Files { passwd: Some(passwd.as_bytes()), group: None };
            let who = resolve(&user(&name), &files).expect("is there");
            assert_eq!((who.uid, who.gid, who.home), (uid, gid, Some(home)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}|[0-9:+-]{0,14}") {
            drop(resolve(&user(&text), &files()));
        }
    }

    #[test]
    fn the_name_of_a_number_is_that_of_its_first_line() {
        assert_eq!(name_of(PASSWD_TEXT, 101).as_deref(), Some("nginx"));
        assert_eq!(name_of(PASSWD_TEXT, 4000), None);
    }
}
