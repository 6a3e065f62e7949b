//! Owns the way back from a JSON pointer to its place in the text.
//!
//! A pointer that is not in the file (a default, a missing key) maps to its nearest ancestor that is.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The place of every key and list entry of a document.
pub(super) struct Spans(BTreeMap<String, Range<usize>>);

impl Spans {
    pub(super) fn of(document: &Spanned<DeTable<'_>>) -> Self {
        let mut spans = Self(BTreeMap::new());
        spans.table("", document.get_ref());
        spans
    }

    /// The place of `pointer` or of its nearest ancestor; `None` for the document as a whole.
    pub(super) fn nearest(&self, pointer: &str) -> Option<Range<usize>> {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.0.get(pointer) {
                return Some(span.clone());
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    fn table(&mut self, at: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            self.value(&child(at, key.get_ref()), value);
        }
    }

    fn value(&mut self, at: &str, value: &Spanned<DeValue<'_>>) {
        self.0.insert(at.to_string(), value.span());
        match value.get_ref() {
            DeValue::Table(table) => self.table(at, table),
            DeValue::Array(list) => {
                for (index, entry) in list.iter().enumerate() {
                    self.value(&format!("{at}/{index}"), entry);
                    self.name_of_short_flag(at, entry);
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    /// `flags = ["ENABLE_X"]` is short for a table with that key, and the core points into that table.
    fn name_of_short_flag(&mut self, at: &str, entry: &Spanned<DeValue<'_>>) {
        if let (true, DeValue::String(name)) = (at.ends_with("/flags"), entry.get_ref()) {
            self.0.entry(child(at, name)).or_insert(entry.span());
        }
    }
}

/// The pointer of a key under the pointer `at` (RFC 6901).
pub(super) fn child(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}
