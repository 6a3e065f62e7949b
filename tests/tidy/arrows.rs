//! Which crate may use which: one table. An arrow that is not in it is a mistake in a manifest, or a decision that belongs
//! into an ADR and then into the table.

use std::collections::BTreeSet;

use crate::tree::{manifest, members, read, rust_files};

/// What one crate may use of ours.
struct Arrows {
    from: &'static str,
    /// In its product code.
    to: &'static [&'static str],
    /// Only behind a feature (ADR 0002).
    optional: &'static [&'static str],
    /// Only in its tests.
    tests: &'static [&'static str],
}

const TABLE: [Arrows; 9] = [
    Arrows { from: "rollout-core", to: &[], optional: &[], tests: &[] },
    Arrows { from: "rollout-engine", to: &["rollout-core"], optional: &[], tests: &[] },
    Arrows {
        from: "rollout-convex",
        to: &["rollout-core"],
        optional: &[],
        tests: &["convex-emulator"],
    },
    Arrows { from: "rollout-api", to: &[], optional: &["rollout-core"], tests: &[] },
    Arrows { from: "rolloutctl", to: &["rollout-api", "rollout-core"], optional: &[], tests: &[] },
    Arrows {
        from: "rolloutd",
        to: &["rollout-engine", "rollout-convex", "rollout-api", "rollout-core", "convex-emulator"],
        optional: &[],
        tests: &[],
    },
    Arrows { from: "convex-emulator", to: &[], optional: &[], tests: &[] },
    Arrows {
        from: "rollout-sim",
        to: &["rollout-engine", "rollout-core", "rollout-convex", "convex-emulator"],
        optional: &[],
        tests: &[],
    },
    Arrows {
        from: "rollout-e2e",
        // The store alone is driven for the torn writes: a daemon does not wear it out in the time of a test.
        to: &[
            "rolloutd",
            "rolloutctl",
            "rollout-api",
            "rollout-engine",
            "rollout-core",
            "convex-emulator",
        ],
        optional: &[],
        // Convex's command line and the adapter do the same to two deployments, and what those saw is compared.
        tests: &["rollout-convex"],
    },
];

/// One arrow as a manifest has it.
struct Arrow {
    to: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    Optional,
    TestsOnly,
}

#[test]
fn every_arrow_is_in_the_table() {
    let ours = our_crates();
    let mut seen = 0;
    for (path, manifest) in members() {
        let name = manifest["package"]["name"].as_str().unwrap();
        let row = TABLE.iter().find(|row| row.from == name);
        let row = row.unwrap_or_else(|| panic!("{path}: `{name}` is not in the table of arrows"));
        for arrow in arrows(&manifest, &ours) {
            let to = arrow.to.as_str();
            let allowed = row.to.contains(&to)
                || (row.optional.contains(&to) && arrow.kind == Kind::Optional)
                || arrow.kind == Kind::TestsOnly
                    && (row.tests.contains(&to) || row.optional.contains(&to));
            assert!(allowed, "{path}: {name} -> {to} is not allowed, or not like this");
            seen += 1;
        }
    }
    assert!(seen >= 12, "only {seen} arrows were found");
}

#[test]
fn the_core_is_free_of_io_and_the_emulator_of_the_adapter() {
    let names = |name: &str| {
        let found = members()
            .into_iter()
            .find(|(_, manifest)| manifest["package"]["name"].as_str() == Some(name));
        let (_, manifest) = found.unwrap();
        manifest["dependencies"].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>()
    };
    let allowed = ["jiff", "thiserror", "libm"];
    assert!(
        names("rollout-core").iter().all(|name| allowed.contains(&name.as_str())),
        "{:?}",
        names("rollout-core")
    );
    let lib = read("crates/rollout-core/src/lib.rs");
    assert!(lib.lines().any(|line| line == "#![no_std]"), "the core is compiled without std");
    let core =
        rust_files().into_iter().filter(|file| file.path.starts_with("crates/rollout-core/src/"));
    for file in core.filter(|file| !file.path.contains("/tests")) {
        assert!(!file.text.contains("use std::"), "{} uses std", file.path);
    }
    let ctl = names("rolloutctl");
    for never in ["sled", "bincode", "axum", "reqwest"] {
        assert!(!ctl.contains(never), "rolloutctl names {never}");
    }
}

#[test]
fn every_member_keeps_the_lints_and_takes_its_versions_from_the_root() {
    for (path, manifest) in members() {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(
            lints.and_then(toml::Value::as_bool),
            Some(true),
            "{path}: no `lints.workspace = true`"
        );
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = manifest.get(table).and_then(toml::Value::as_table);
            for (name, value) in entries.into_iter().flatten() {
                let from_root = value.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(from_root, Some(true), "{path}: {name} has a version of its own");
            }
        }
    }
}

fn our_crates() -> BTreeSet<String> {
    let root = manifest("Cargo.toml");
    let all = root["workspace"]["dependencies"].as_table().unwrap();
    let mut ours: BTreeSet<_> = all
        .iter()
        .filter(|(_, value)| value.get("path").is_some())
        .map(|(name, _)| name.clone())
        .collect();
    ours.extend(
        members()
            .into_iter()
            .map(|(_, manifest)| manifest["package"]["name"].as_str().unwrap().to_string()),
    );
    ours
}

fn arrows(manifest: &toml::Table, ours: &BTreeSet<String>) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for (table, tests) in
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let entries = manifest.get(table).and_then(toml::Value::as_table);
        for (name, value) in entries.into_iter().flatten().filter(|(name, _)| ours.contains(*name))
        {
            let optional = value.get("optional").and_then(toml::Value::as_bool) == Some(true);
            let kind = match (tests, optional) {
                (true, _) => Kind::TestsOnly,
                (false, true) => Kind::Optional,
                (false, false) => Kind::Always,
            };
            arrows.push(Arrow { to: name.clone(), kind });
        }
    }
    arrows
}
