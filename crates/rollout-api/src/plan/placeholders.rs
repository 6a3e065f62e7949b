//! Owns the names that begin with `$` in arguments, paths and queries: which of them are filled in, and where.
//!
//! Refuses a name that nothing is filled in for, one end of a range of time without the other, and one where it would be
//! sent as it is. A text that only looks like such a name, as `$5`, stays.

use std::collections::BTreeSet;

use super::complaint::{Complaint, suggestion};
use super::tree::Node;

/// The range of time that a health source is asked about.
pub(super) const RANGE: [&str; 2] = ["$from", "$to"];

/// The wrappers of values that JSON does not have (wire contract, section 3): no other field begins with `$`.
const WRAPPERS: [&str; 3] = ["$integer", "$float", "$bytes"];

/// Complains about arguments in which nothing, or not all, is filled in. `known` are the names that are, here.
pub(super) fn in_args(args: &Node<'_>, known: &[&str]) {
    let mut used = BTreeSet::new();
    let mut has_slips = false;
    args.walk(&mut |key, node| {
        if let Some(key) = key.filter(|key| is_name(key) && !WRAPPERS.contains(key)) {
            node.complain(Complaint::hinted(
                format!("no field of a function's arguments may be called `{key}`"),
                "a placeholder is a value: `from = \"$from\"`",
            ));
        }
        let Some(text) = node.as_text() else { return };
        if known.contains(&text) {
            used.insert(text);
        } else if is_name(text) {
            has_slips = true;
            let hint = match known {
                [] => "write the value itself".to_string(),
                known => suggestion(text, known),
            };
            node.complain(Complaint::hinted(
                format!("nothing is filled in for `{text}` here"),
                hint,
            ));
        } else if let Some(name) = names(text).find(|name| known.contains(&name.text)) {
            node.complain(Complaint::hinted(
                format!("`{}` is filled in only where it is the whole text", name.text),
                format!("write `\"{}\"` alone; it becomes a value of its own", name.text),
            ));
        }
    });
    // A slip may well be the other end.
    if known == RANGE && !has_slips {
        both_ends(args, &used);
    }
}

/// Complains about a path in which not all is filled in.
pub(super) fn in_path(node: &Node<'_>, path: &str) {
    let mut used = BTreeSet::new();
    let mut has_slips = false;
    for name in names(path) {
        if RANGE.contains(&name.text) {
            used.insert(name.text);
        // Other servers have names of their own that begin with `$`, such as `$filter`; as a value there is none.
        } else if path[..name.start].ends_with('=') {
            has_slips = true;
            let hint = format!("{}; a dollar sign itself is `%24`", suggestion(name.text, &RANGE));
            let message = format!("nothing is filled in for `{}` here", name.text);
            node.complain(Complaint::hinted(message, hint));
        }
    }
    if !has_slips {
        both_ends(node, &used);
    }
}

fn both_ends(node: &Node<'_>, used: &BTreeSet<&str>) {
    let missing = RANGE.iter().find(|end| !used.contains(*end));
    if let (Some(missing), Some(there)) = (missing, used.first()) {
        node.complain(Complaint::hinted(
            format!("`{there}` is there without `{missing}`"),
            "a range of time has two ends: use both, or none of them",
        ));
    }
}

/// A name in a text, with its `$`.
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
}

/// Every name in a text. It ends where its letters, digits and `_` end, so `$token` is not `$to`.
pub(super) fn names(text: &str) -> impl Iterator<Item = Name<'_>> {
    text.match_indices('$').filter_map(move |(start, _)| {
        let rest = &text[start + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let text = &text[start..start + 1 + end.unwrap_or(rest.len())];
        is_name(text).then_some(Name { text, start })
    })
}

fn is_name(text: &str) -> bool {
    let Some(name) = text.strip_prefix('$') else { return false };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
