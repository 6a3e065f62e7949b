//! A state directory that an earlier version wrote opens for ever; `tests/fixtures/README.md` says how it was made.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rollout_core::{Event, Rollout, Seq};
use rollout_engine::store::record::decode_event;
use rollout_engine::store::{OpenOptions, Origin, SledStore, Store as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

#[test]
fn the_first_released_format_opens_for_ever() {
    let Some(store) = unpacked("v1") else { return };
    let names = ["witness.0", "witness.1"].map(|name| store.path().join("store").join(name));
    assert!(names.iter().all(|name| !name.exists()), "it is of the first format");
    opens(&store, "v1");
    assert!(names.iter().all(|name| name.exists()), "the witness names rollouts now");
}

#[test]
fn a_directory_with_records_of_the_second_format_opens_for_ever() {
    let Some(store) = unpacked("v2") else { return };
    opens(&store, "v2");
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A copy of the directory that this version wrote; `None` where nothing can unpack it.
fn unpacked(version: &str) -> Option<TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let archive = fixtures().join(format!("store-format-{version}.tar.gz"));
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(dir.path()).status();
    let Ok(status) = unpacked else {
        let is_required = std::env::var_os("ROLLOUT_REQUIRE_ALL").is_some_and(|it| it == "1");
        assert!(!is_required, "tar is missing");
        eprintln!("SKIPPED a directory of format {version}: there is no tar here");
        return None;
    };
    assert!(status.success(), "tar: {status}");
    Some(dir)
}

fn opens(dir: &TempDir, version: &str) {
    let store = dir.path().join("store");
    let survey = SledStore::examine(&store).unwrap();
    assert!(survey.findings.is_empty(), "{}", survey.findings);
    assert_eq!((survey.rollouts.len(), survey.keys), (4, 4));
    let expected =
        fs::read_to_string(fixtures().join(format!("store-format-{version}.txt"))).unwrap();
    for opening in 0..2 {
        let (store, report) = SledStore::open(&store, OpenOptions::default()).unwrap();
        assert_eq!((report.origin, report.repairs), (Origin::Reopened, vec![]), "{opening}");
        assert_eq!((report.live, report.ended), (2, 2));
        assert_eq!(lines(&store), expected, "opening {opening}");
    }
}

/// The journals as the expectation has them; each also folds to a rollout.
fn lines(store: &SledStore) -> String {
    let mut text = String::new();
    for head in store.heads().unwrap() {
        let entries = store.journal(head.rollout, Seq::FIRST).unwrap();
        let mut hasher = Sha256::new();
        for entry in &entries {
            hasher.update((entry.payload.len() as u64).to_le_bytes());
            hasher.update(&entry.payload);
        }
        let mut digest = String::new();
        hasher.finalize().iter().for_each(|byte| write!(digest, "{byte:02x}").unwrap());
        let (id, standing) = (head.rollout, head.standing);
        writeln!(text, "{id} {standing:?} {} {digest}", entries.len()).unwrap();
        let events: Vec<Event> =
            entries.iter().map(|entry| decode_event(&entry.payload).unwrap()).collect();
        assert_eq!(Rollout::replay(&events).unwrap().id(), id);
    }
    text
}
