//! Walking the spanned document and collecting errors.
//!
//! A [`Reader`] collects, a [`Section`] is a table with fixed keys, a [`Value`] is one value that knows
//! its own name. Nothing here returns an error: a value that is wrong is reported and then absent,
//! and the walk goes on.

#[cfg(debug_assertions)]
use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Place};
use super::model::Given;
use crate::diagnostic::{Code, Diagnostic, LIMIT, Span, quoted};

/// Why a value cannot be, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) code: Code,
    pub(crate) label: String,
    pub(crate) help: Option<String>,
}

impl<T: Into<String>> From<T> for Rule {
    fn from(label: T) -> Self {
        Self {
            code: Code::BadValue,
            label: label.into(),
            help: None,
        }
    }
}

impl Rule {
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
}

/// Collects the errors of one walk.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    found: RefCell<Vec<Diagnostic>>,
}

impl Reader {
    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// An error at `span`.
    pub(crate) fn error(&self, message: String, span: Span, rule: impl Into<Rule>) {
        let Rule { code, label, help } = rule.into();
        self.report(Diagnostic {
            code,
            message,
            span: Some(span),
            label,
            related: Vec::new(),
            help,
        });
    }

    /// Two places that exclude each other; the first one is the wrong one.
    pub(crate) fn conflict(&self, message: String, rule: impl Into<Rule>, at: [(Span, &str); 2]) {
        let Rule { label, help, .. } = rule.into();
        let [(span, _), (other, why)] = at;
        let related = vec![(other, why.to_owned())];
        let code = Code::Conflict;
        self.report(Diagnostic {
            code,
            message,
            span: Some(span),
            label,
            related,
            help,
        });
    }

    pub(crate) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// One value and its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'t> {
    place: &'static Place,
    key: &'t str,
    key_start: usize,
    key_end: usize,
    node: &'t Spanned<DeValue<'t>>,
}

/// The dotted name of a value: `resources.memory.max`.
struct Name<'t>(&'static Place, &'t str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted = match self.0.path {
            "" => self.1.to_owned(),
            path => format!("{path}.{}", self.1),
        };
        f.write_str(&quoted(&dotted))
    }
}

impl<'t> Value<'t> {
    pub(crate) fn key(&self) -> &'t str {
        self.key
    }

    pub(crate) fn key_span(&self) -> Span {
        self.key_start..self.key_end
    }

    pub(crate) fn span(&self) -> Span {
        self.node.span()
    }

    pub(crate) fn is_table(&self) -> bool {
        self.node.get_ref().is_table()
    }

    pub(crate) fn as_str(&self) -> Option<&'t str> {
        self.node.get_ref().as_str()
    }

    /// The right type, the wrong value.
    pub(crate) fn bad(&self, r: &Reader, rule: impl Into<Rule>) {
        let (name, rule) = (Name(self.place, self.key), rule.into());
        let message = match rule.code {
            Code::NotSupported => format!("this value of {name} is not supported yet"),
            _ => format!("bad value for {name}"),
        };
        r.error(message, self.span(), rule);
    }

    /// `expected` as in "expected a string like \"256MiB\", got an integer".
    pub(crate) fn wrong_type(&self, r: &Reader, expected: &str, help: Option<String>) {
        let got = type_name(self.node.get_ref());
        let rule = Rule {
            code: Code::WrongType,
            label: format!("expected {expected}, got {got}"),
            help: help.or_else(|| self.quote_it(expected)),
        };
        r.error(
            format!("wrong type for {}", Name(self.place, self.key)),
            self.span(),
            rule,
        );
    }

    /// A number where a string belongs needs quotes in most cases, and often a unit.
    fn quote_it(&self, expected: &str) -> Option<String> {
        let number = match self.node.get_ref() {
            DeValue::Integer(i) => i.to_string(),
            DeValue::Float(f) => f.to_string(),
            DeValue::Boolean(b) => b.to_string(),
            _ => return None,
        };
        let unit = ["MiB", "10s"]
            .iter()
            .any(|sample| expected.contains(sample));
        match expected.starts_with("a string") {
            true if unit && number != "0" => Some("write it with a unit and quotes".into()),
            true => Some(format!("write it with quotes: \"{number}\"")),
            false => None,
        }
    }

    /// A string. One with a NUL byte is refused at once: no kernel interface carries it.
    pub(crate) fn string(&self, r: &Reader, expected: &str) -> Option<Given<&'t str>> {
        let DeValue::String(text) = self.node.get_ref() else {
            self.wrong_type(r, expected, None);
            return None;
        };
        if text.contains('\0') {
            self.bad(r, "holds a NUL byte, which ends a string for the kernel");
            return None;
        }
        Some(Given::new(text.as_ref(), self.span()))
    }

    /// A string that `parse` understands.
    pub(crate) fn parse<T>(
        &self,
        r: &Reader,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, Rule>,
    ) -> Option<Given<T>> {
        let text = self.string(r, expected)?;
        match parse(text.value) {
            Ok(value) => Some(Given::new(value, self.span())),
            Err(rule) => {
                self.bad(r, rule);
                None
            }
        }
    }

    pub(crate) fn bool(&self, r: &Reader) -> Option<Given<bool>> {
        match self.node.get_ref() {
            DeValue::Boolean(b) => Some(Given::new(*b, self.span())),
            _ => {
                self.wrong_type(r, "true or false", None);
                None
            }
        }
    }

    /// An integer within `range`; `expected` as in "an integer from 1 to 10000".
    pub(crate) fn integer(
        &self,
        r: &Reader,
        expected: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<Given<i64>> {
        let DeValue::Integer(number) = self.node.get_ref() else {
            self.wrong_type(r, expected, None);
            return None;
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if range.contains(&value) => Some(Given::new(value, self.span())),
            _ => {
                self.bad(r, format!("must be {expected}"));
                None
            }
        }
    }

    /// An integer or a float.
    pub(crate) fn number(&self, r: &Reader, expected: &str) -> Option<Given<f64>> {
        let parsed = match self.node.get_ref() {
            DeValue::Integer(i) => i128::from_str_radix(i.as_str(), i.radix())
                .ok()
                .map(|i| i as f64),
            DeValue::Float(f) => f.as_str().parse().ok(),
            _ => {
                self.wrong_type(r, expected, None);
                return None;
            }
        };
        if parsed.is_none() {
            self.bad(r, format!("must be {expected}"));
        }
        parsed.map(|value| Given::new(value, self.span()))
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.node.get_ref().is_integer()
    }

    /// The elements of an array, each under this value's name.
    pub(crate) fn array(&self, r: &Reader, expected: &str) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(array) = self.node.get_ref() else {
            self.wrong_type(r, expected, None);
            return None;
        };
        Some(array.iter().map(|node| Value { node, ..*self }).collect())
    }

    /// An array of strings.
    pub(crate) fn strings(&self, r: &Reader, expected: &str) -> Option<Vec<Given<&'t str>>> {
        let values = self.array(r, expected)?;
        Some(
            values
                .iter()
                .filter_map(|v| v.string(r, "a string"))
                .collect(),
        )
    }

    /// The entries of a table whose keys are the user's own, under the name of `place`.
    pub(crate) fn entries(
        &self,
        r: &Reader,
        place: &'static Place,
        expected: &str,
    ) -> Option<Vec<Value<'t>>> {
        let DeValue::Table(table) = self.node.get_ref() else {
            self.wrong_type(r, expected, None);
            return None;
        };
        Some(
            table
                .iter()
                .map(|(key, node)| Value::of(place, key, node))
                .collect(),
        )
    }

    fn of(
        place: &'static Place,
        key: &'t Spanned<std::borrow::Cow<'t, str>>,
        node: &'t Spanned<DeValue<'t>>,
    ) -> Self {
        let Span { start, end } = key.span();
        Self {
            place,
            key: key.get_ref(),
            key_start: start,
            key_end: end,
            node,
        }
    }
}

/// A table with fixed keys. Keys it does not know are reported when it is opened.
#[derive(Debug)]
pub(crate) struct Section<'r, 't> {
    pub(crate) r: &'r Reader,
    place: &'static Place,
    table: &'t DeTable<'t>,
    span: Span,
    /// Bit n: key n was asked for. A key in the table that nobody reads would be ignored silently.
    #[cfg(debug_assertions)]
    asked: Cell<u64>,
}

impl<'r, 't> Section<'r, 't> {
    /// The whole document.
    pub(crate) fn top(r: &'r Reader, table: &'t DeTable<'t>) -> Self {
        Self::of(r, &keys::TOP, table, 0..0)
    }

    /// `value` as a table with the keys of `place`; `expected` as in "a table like { max = … }".
    pub(crate) fn open(
        r: &'r Reader,
        place: &'static Place,
        value: &Value<'t>,
        expected: &str,
    ) -> Option<Self> {
        let DeValue::Table(table) = value.node.get_ref() else {
            value.wrong_type(r, expected, None);
            return None;
        };
        Some(Self::of(r, place, table, value.span()))
    }

    fn of(r: &'r Reader, place: &'static Place, table: &'t DeTable<'t>, span: Span) -> Self {
        report_foreign(r, place, table);
        #[cfg(debug_assertions)]
        let asked = Cell::new(0);
        Self {
            r,
            place,
            table,
            span,
            #[cfg(debug_assertions)]
            asked,
        }
    }

    /// Where the table is.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Whether the document has `key` here, known or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether it has no keys at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'t>> {
        #[cfg(debug_assertions)]
        {
            let index = self.place.keys.iter().position(|k| *k == key);
            let index = index.unwrap_or_else(|| panic!("`{key}` is not in the table of keys"));
            self.asked.set(self.asked.get() | 1 << index);
        }
        let (key, node) = self.table.get_key_value(key)?;
        Some(Value::of(self.place, key, node))
    }

    /// The value of `key`, whose absence is an error with this label.
    pub(crate) fn require(&self, key: &'static str, why: impl Into<Rule>) -> Option<Value<'t>> {
        let value = self.get(key);
        // Misspelt is not missing, and was reported.
        if value.is_none() && !self.unknown().any(|name| keys::means(name, key)) {
            let message = format!("missing key {}", Name(self.place, key));
            self.r
                .error(message, self.span(), why.into().code(Code::MissingKey));
        }
        value
    }

    /// Whether it has keys that do not belong here, which were reported when it was opened.
    pub(crate) fn has_unknown(&self) -> bool {
        self.unknown().next().is_some()
    }

    fn unknown(&self) -> impl Iterator<Item = &str> {
        let keys = self.table.iter().map(|(key, _)| key.get_ref().as_ref());
        keys.filter(|key: &&str| !self.place.keys.contains(key))
    }
}

#[cfg(debug_assertions)]
impl Drop for Section<'_, '_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let all = (1 << self.place.keys.len()) - 1;
            assert_eq!(
                self.asked.get(),
                all,
                "unread keys in `{}`",
                self.place.path
            );
        }
    }
}

/// Report the keys that `place` does not take.
fn report_foreign(r: &Reader, place: &'static Place, table: &DeTable<'_>) {
    let keys = table.iter().map(|(key, _)| key);
    let mut foreign: Vec<_> = keys
        .filter(|k| !place.keys.contains(&k.get_ref().as_ref()))
        .collect();
    foreign.sort_by_key(|key| key.span().start);
    for (i, key) in foreign.into_iter().enumerate() {
        let name: &str = key.get_ref();
        if let Some((_, advice)) = place.later.iter().find(|(k, _)| *k == name) {
            let mut rule = Rule::from("a later release brings it").code(Code::NotSupported);
            rule.help = advice.map(str::to_owned);
            r.error(
                format!("{} is not supported yet", Name(place, name)),
                key.span(),
                rule,
            );
            continue;
        }
        // A suggestion costs a comparison with every key there is, and nobody sees the later ones.
        let label = if i < LIMIT {
            keys::suggestion(place, name)
        } else {
            String::new()
        };
        let rule = Rule::from(label).code(Code::UnknownKey);
        r.error(format!("unknown key {}", quoted(name)), key.span(), rule);
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
