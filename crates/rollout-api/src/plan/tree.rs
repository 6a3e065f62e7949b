//! Owns the walk down a TOML document: typed access that notes every mistake with its place and goes on.
//!
//! A table is opened with the keys it may have; all others are noted at once. A key that was probably misspelled is not
//! also noted as missing.

use std::fmt;
use std::ops::Range;

use jiff::SignedDuration;
use rollout_core::Scalar;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::complaint::{Complaint, Notes, meant, suggestion};
use super::duration;
use super::spans::child;

/// A value with its place.
pub(super) struct Node<'a> {
    pub(super) pointer: String,
    value: &'a Spanned<DeValue<'a>>,
    notes: &'a Notes,
}

/// A table whose keys were looked at.
pub(super) struct Table<'a> {
    pub(super) pointer: String,
    span: Option<Range<usize>>,
    entries: &'a DeTable<'a>,
    notes: &'a Notes,
}

impl<'a> Table<'a> {
    /// The document itself.
    pub(super) fn root(entries: &'a DeTable<'a>, known: &[&'static str], notes: &'a Notes) -> Self {
        Self::open(String::new(), None, entries, notes).closed_to(known)
    }

    fn open(
        pointer: String,
        span: Option<Range<usize>>,
        entries: &'a DeTable<'a>,
        notes: &'a Notes,
    ) -> Self {
        Self { pointer, span, entries, notes }
    }

    /// Notes every key that is not among `known`.
    pub(super) fn closed_to(self, known: &[&'static str]) -> Self {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            if let Some(meant) = meant(name, known) {
                self.notes.excuse(child(&self.pointer, meant));
            }
            let complaint =
                Complaint::hinted(format!("unknown key `{name}`"), suggestion(name, known));
            self.notes.add(&child(&self.pointer, name), Some(key.span()), complaint);
        }
        self
    }

    /// Every key with its value, in the order of the names.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        let node = |(key, value): (&'a Spanned<_>, &'a _)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            (&**name, self.node(name, value))
        };
        self.entries.iter().map(node)
    }

    fn node(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Node<'a> {
        Node { pointer: child(&self.pointer, key), value, notes: self.notes }
    }

    /// The value of a key that may be absent.
    pub(super) fn optional(&self, key: &str) -> Option<Node<'a>> {
        self.entries.get(key).map(|value| self.node(key, value))
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &str) -> Option<Node<'a>> {
        let found = self.optional(key);
        let pointer = child(&self.pointer, key);
        if found.is_none() && !self.notes.is_excused(&pointer) {
            let complaint = Complaint::new(format!("`{key}` is missing"));
            self.notes.add(&pointer, self.span.clone(), complaint);
        }
        found
    }

    /// A text that must be there; empty where it is not, which is then noted.
    pub(super) fn text(&self, key: &str) -> String {
        self.required(key).and_then(|node| node.text()).map(str::to_string).unwrap_or_default()
    }

    /// A text that may be absent.
    pub(super) fn text_or(&self, key: &str, default: &str) -> String {
        self.optional(key).and_then(|node| node.text()).unwrap_or(default).to_string()
    }

    /// A length of time that may be absent.
    pub(super) fn duration_or(&self, key: &str, default: SignedDuration) -> SignedDuration {
        self.optional(key).and_then(|node| node.duration()).unwrap_or(default)
    }

    /// The entries of a list that may be absent.
    pub(super) fn list(&self, key: &str) -> Vec<Node<'a>> {
        self.optional(key).map(|node| node.list()).unwrap_or_default()
    }

    /// The tables of a list that may be absent. An entry that is no table is noted and left out.
    pub(super) fn tables(&self, key: &str, known: &[&'static str]) -> Vec<Table<'a>> {
        let entries = self.list(key);
        let tables: Vec<_> = entries.iter().filter_map(|node| node.table(known)).collect();
        if tables.len() < entries.len() {
            self.notes.lose_place();
        }
        tables
    }

    /// Notes something about the table as a whole.
    pub(super) fn complain(&self, complaint: Complaint) {
        self.notes.add(&self.pointer, self.span.clone(), complaint);
    }
}

impl<'a> Node<'a> {
    /// Notes something about this value.
    pub(super) fn complain(&self, complaint: Complaint) {
        self.notes.add(&self.pointer, Some(self.value.span()), complaint);
    }

    fn wrong_kind<T>(&self, wanted: &str) -> Option<T> {
        self.complain(Complaint::new(format!(
            "expected {wanted}, found {}",
            Kind(self.value.get_ref())
        )));
        None
    }

    /// Notes why a value cannot be taken, or takes it.
    pub(super) fn take<T>(&self, taken: Result<T, Complaint>) -> Option<T> {
        taken.map_err(|complaint| self.complain(complaint)).ok()
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        let DeValue::String(text) = self.value.get_ref() else {
            return self.wrong_kind("a text in quotes");
        };
        Some(text)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let written = self.text()?;
        let found = words.iter().find(|(word, _)| *word == written);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{written}` is none of {}", known.join(", "));
            let hint = meant(written, &known).map(|word| format!("did you mean `{word}`?"));
            self.complain(Complaint { message, hint });
        }
        found.map(|(_, value)| *value)
    }

    /// A whole number that fits a byte.
    pub(super) fn small_number(&self) -> Option<u8> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return self.wrong_kind("a whole number without quotes");
        };
        let small = u8::from_str_radix(number.as_str(), number.radix()).ok();
        if small.is_none() {
            self.complain(Complaint::new(format!("{number} does not lie between 0 and 255")));
        }
        small
    }

    /// A whole number that counts something.
    pub(super) fn number(&self) -> Option<u32> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return self.wrong_kind("a whole number without quotes");
        };
        let counted = u32::from_str_radix(number.as_str(), number.radix()).ok();
        if counted.is_none() {
            self.complain(Complaint::new(format!("{number} is no number of calls")));
        }
        counted
    }

    pub(super) fn duration(&self) -> Option<SignedDuration> {
        if let DeValue::Integer(number) = self.value.get_ref() {
            let hint =
                format!("write `\"{number}h\"`, `\"{number}m\"` or `\"{number}s\"`, in quotes");
            self.complain(Complaint::hinted(format!("`{number}` has no unit"), hint));
            return None;
        }
        let DeValue::String(text) = self.value.get_ref() else {
            return self.wrong_kind("a duration such as \"24h\" or \"1h 30m\"");
        };
        self.take(duration::parse(text))
    }

    pub(super) fn list(&self) -> Vec<Node<'a>> {
        let DeValue::Array(list) = self.value.get_ref() else {
            let message = format!("expected a list, found {}", Kind(self.value.get_ref()));
            let key = self.pointer.rsplit('/').next().unwrap_or_default();
            let is_table = matches!(self.value.get_ref(), DeValue::Table(_));
            let brackets = format!("write `[[{key}]]`, with double brackets");
            let hint = if is_table { brackets } else { String::from("put it in square brackets") };
            self.complain(Complaint::hinted(message, hint));
            return Vec::new();
        };
        let entry = |(index, value)| Node {
            pointer: format!("{}/{index}", self.pointer),
            value,
            notes: self.notes,
        };
        list.iter().enumerate().map(entry).collect()
    }

    /// The text that this value is, if it is one.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// Visits this value and every one in it, each with the key that it has in its table.
    pub(super) fn walk(&self, visit: &mut impl FnMut(Option<&'a str>, &Node<'a>)) {
        visit(None, self);
        self.walk_below(visit);
    }

    fn walk_below(&self, visit: &mut impl FnMut(Option<&'a str>, &Node<'a>)) {
        if self.is_list() {
            for entry in self.list() {
                entry.walk(visit);
            }
        } else if matches!(self.value.get_ref(), DeValue::Table(_)) {
            for (key, node) in self.open_table().iter().flat_map(Table::each) {
                visit(Some(key), &node);
                node.walk_below(visit);
            }
        }
    }

    /// True for a list; such a value is then read by [`Self::list`].
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    /// A table with these keys only.
    pub(super) fn table(&self, known: &[&'static str]) -> Option<Table<'a>> {
        Some(self.open_table()?.closed_to(known))
    }

    /// A table whose keys are names that the person chose.
    pub(super) fn open_table(&self) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.value.get_ref() else {
            return self.wrong_kind("a table");
        };
        Some(Table::open(self.pointer.clone(), Some(self.value.span()), entries, self.notes))
    }

    pub(super) fn scalar(&self) -> Option<Scalar> {
        match self.json(self.value)? {
            Value::Bool(value) => Some(Scalar::Boolean(value)),
            Value::Number(number) => number.as_f64().map(Scalar::Number),
            Value::String(text) => Some(Scalar::Text(text)),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.wrong_kind("a text, a number, true or false")
            }
        }
    }

    /// A table as the text of one JSON object.
    pub(super) fn json_object(&self) -> Option<String> {
        if !matches!(self.value.get_ref(), DeValue::Table(_)) {
            return self.wrong_kind("a table of arguments such as { limit = 5 }");
        }
        self.json(self.value).map(|object| object.to_string())
    }

    fn json(&self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let number = match value.get_ref() {
            DeValue::String(text) => return Some(Value::from(text.as_ref())),
            DeValue::Boolean(value) => return Some(Value::from(*value)),
            DeValue::Array(list) => return list.iter().map(|entry| self.json(entry)).collect(),
            DeValue::Table(table) => {
                let pair = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, _)| {
                    Some((key.get_ref().to_string(), self.json(value)?))
                };
                return table.iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::Object);
            }
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Number::from)
            }
            DeValue::Float(number) => number.as_str().parse().ok().and_then(Number::from_f64),
            DeValue::Datetime(_) => None,
        };
        if number.is_none() {
            let complaint =
                Complaint::hinted("JSON has no such value", "write it as a text, in quotes");
            self.notes.add(&self.pointer, Some(value.span()), complaint);
        }
        number.map(Value::Number)
    }
}

/// The kind of a value in words.
struct Kind<'a>(&'a DeValue<'a>);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DeValue::String(text) => write!(f, "the text {text:?}"),
            DeValue::Integer(number) => write!(f, "the number {number}"),
            DeValue::Float(number) => write!(f, "the number {number}"),
            DeValue::Boolean(value) => write!(f, "{value}"),
            DeValue::Datetime(moment) => write!(f, "the date {moment}"),
            DeValue::Array(_) => f.write_str("a list"),
            DeValue::Table(_) => f.write_str("a table"),
        }
    }
}
