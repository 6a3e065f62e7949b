//! The shape of the files, and where a library may be named. Looks at code, not at comments.

use crate::tree::{Source, rust_files};

/// Longest file.
const LINES_MAX: usize = 800;

/// A library and the only places of product code that may name it.
const NAMED_IN: [(&str, &[&str]); 6] = [
    ("bincode", &["crates/rollout-engine/src/store/codec.rs"]),
    ("sled", &["crates/rollout-engine/src/store/"]),
    ("chrono", &["crates/rollout-engine/src/schedule.rs"]),
    ("cron", &["crates/rollout-engine/src/schedule.rs"]),
    // The daemon itself never talks to an emulator; its demo does, and its tests.
    (
        "convex_emulator",
        &[
            "crates/convex-emulator/src/",
            "crates/rollout-sim/src/",
            "crates/rolloutd/src/demo/",
            "crates/rolloutd/src/tests/",
        ],
    ),
    ("miette", &["crates/rolloutctl/src/", "crates/rolloutd/src/config"]),
];

#[test]
fn no_file_is_too_long() {
    for Source { path, text } in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines; at most {LINES_MAX} are allowed");
    }
}

#[test]
fn every_file_says_what_it_owns() {
    for Source { path, text } in rust_files() {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.len() > 8,
            "{path} does not open with what it owns"
        );
    }
}

#[test]
fn nothing_is_left_half_done() {
    let never = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let ignored = format!("#[{}", "ignore");
    for Source { path, text } in rust_files() {
        for (number, line) in code_lines(&text) {
            let found = never.iter().chain([&ignored]).find(|word| line.contains(word.as_str()));
            assert!(found.is_none(), "{path}:{number}: {}", line.trim());
        }
    }
}

#[test]
fn libraries_are_named_where_they_belong() {
    let mut seen = 0;
    let product = rust_files()
        .into_iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/"));
    for Source { path, text } in product {
        for (library, places) in NAMED_IN {
            let named = code_lines(&text).find(|(_, line)| names(line, library));
            let Some((number, line)) = named else { continue };
            let belongs = places.iter().any(|place| path.starts_with(place));
            assert!(belongs, "{path}:{number} names {library}: {}", line.trim());
            seen += 1;
        }
    }
    assert!(seen >= NAMED_IN.len(), "only {seen} files name one of the libraries");
}

#[test]
fn nothing_unsafe_and_no_lint_is_switched_off_silently() {
    let silent = format!("#[{}(", "allow");
    let careless = format!("{} {{", "unsafe");
    for Source { path, text } in rust_files() {
        for (number, line) in code_lines(&text) {
            let found = line.contains(&silent) || line.contains(&careless);
            assert!(!found, "{path}:{number}: {}", line.trim());
        }
    }
}

/// Lines of code with their numbers, without comments. A `//` inside a text cuts the line; that hides nothing looked for.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    (1..).zip(code)
}

/// True when a line uses the library: `use sled`, `sled::Db`, but not `store::sled` or `fused::x`.
fn names(line: &str, library: &str) -> bool {
    let mut rest = line;
    while let Some(at) = rest.find(library) {
        let (before, after) = (&rest[..at], &rest[at + library.len()..]);
        let alone = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if alone && after.starts_with("::") {
            return true;
        }
        rest = after;
    }
    false
}
