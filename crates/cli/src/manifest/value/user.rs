//! Users: `name`, `uid`, either with `:group`.
//!
//! Digits are a number and nothing else: an image whose passwd names a user `1000` cannot lend it
//! another uid (CVE-2016-3697), and a number that does not fit is not 0 (CVE-2024-40635).

use engine::spec::{Group, User};

use crate::manifest::walk::Rule;

/// Who the program runs as.
pub(crate) fn user(text: &str) -> Result<User, Rule> {
    let (user, group) = match text.split_once(':') {
        Some((_, group)) if group.contains(':') => {
            return Err("at most one `:`, between user and group".into());
        }
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let group = group
        .map(|g| match id(g, "group")? {
            Some(gid) => Ok(Group::Id(gid)),
            None => Ok::<_, Rule>(Group::Name(g.to_owned())),
        })
        .transpose()?;
    Ok(match id(user, "user")? {
        Some(uid) => User::Id { uid, group },
        None => User::Name {
            user: user.to_owned(),
            group,
        },
    })
}

/// The number, or `None` for a name.
fn id(text: &str, what: &str) -> Result<Option<u32>, Rule> {
    if text.is_empty() {
        return Err(format!(
            "the {what} is empty; the forms are \"name\", \"uid\", \"name:group\" and \"uid:gid\""
        )
        .into());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!("the {what}'s number has leading zeros").into());
        }
        // (uid_t) -1 means "leave as it is" to the kernel.
        return match text.parse::<u32>() {
            Ok(id) if id != u32::MAX => Ok(Some(id)),
            _ => Err(format!("the {what}'s number is above 4294967294").into()),
        };
    }
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = |c: char| first(c) || c.is_ascii_digit() || matches!(c, '.' | '-');
    let body = text.strip_suffix('$').unwrap_or(text);
    if text.len() > 256 || !body.starts_with(first) || !body.chars().all(rest) {
        return Err(format!(
            "the {what} is neither a number nor a name (letters, digits, `_`, `.`, `-`, not starting with a digit)"
        )
        .into());
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::value::tests::check;

    #[test]
    fn numbers_are_numbers_and_names_are_names() {
        check(
            user,
            &[
                ("nginx", Ok("Name { user: \"nginx\", group: None }")),
                ("_apt$", Ok("Name { user: \"_apt$\", group: None }")),
                ("1000", Ok("Id { uid: 1000, group: None }")),
                ("0", Ok("Id { uid: 0, group: None }")),
                (
                    "4294967294:7",
                    Ok("Id { uid: 4294967294, group: Some(Id(7)) }"),
                ),
                (
                    "a:www-data",
                    Ok("Name { user: \"a\", group: Some(Name(\"www-data\")) }"),
                ),
                ("2147483648", Ok("Id { uid: 2147483648, group: None }")),
                ("4294967295", Err("above 4294967294")),
                ("4294967296", Err("above 4294967294")),
                ("99999999999999999999", Err("above 4294967294")),
                ("1:4294967295", Err("group's number")),
                ("-1", Err("neither a number nor a name")),
                ("0x0", Err("neither a number nor a name")),
                ("00", Err("leading zeros")),
                ("", Err("the user is empty")),
                ("1000:", Err("the group is empty")),
                (":0", Err("the user is empty")),
                ("a:b:c", Err("at most one `:`")),
                ("a b", Err("neither")),
                ("a\nroot", Err("neither")),
                ("1000 ", Err("neither")),
                ("+0", Err("neither")),
            ],
        );
    }
}
