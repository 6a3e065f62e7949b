//! The store on a real disk: what crashes, damage, full disks and other processes do to it.
//!
//! The rules that hold for every store are in `src/store/contract.rs`; here is what only a directory can suffer.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rollout_core::{RolloutId, Seq};
use rollout_engine::store::{
    Append, Damage, Finding, Findings, Loss, OnDamage, OpenOptions, OpenReport, Origin, Repair,
    SledStore, Standing, Store, StoreError, Writer,
};
use tempfile::TempDir;

fn open(dir: &Path) -> Result<(SledStore, OpenReport), StoreError> {
    SledStore::open(dir, OpenOptions::default())
}

fn id(number: u64) -> RolloutId {
    RolloutId::new(number).unwrap()
}

fn append(rollout: u64, after: u64, entries: &[&str]) -> Append {
    let entries = entries.iter().map(|entry| entry.as_bytes().to_vec()).collect();
    Append { rollout: id(rollout), after, entries, standing: Standing::Live, idempotency: None }
}

/// A closed store with two rollouts of three entries each; entry 3 of rollout 2 is kept in parts.
fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    store.commit(&[append(1, 0, &["a", "b", "c"]), append(2, 0, &["d", "e"])]).unwrap();
    let large = Append { entries: vec![vec![7; 20_000]], ..append(2, 2, &[]) };
    store.commit(&[large]).unwrap();
    store.close().unwrap();
    dir
}

/// Changes rows behind the store's back, as a fault below it would.
fn tamper(dir: &Path, table: &str, change: impl FnOnce(&sled::Tree)) {
    wait_for_database(dir);
    let db = sled::Config::new()
        .path(dir)
        .mode(sled::Mode::LowSpace)
        .segment_size(2 << 20)
        .open()
        .unwrap();
    change(&db.open_tree(table).unwrap());
    db.flush().unwrap();
}

/// sled lets go of its file some time after a store was dropped.
fn wait_for_database(dir: &Path) {
    if let Ok(file) = fs::File::open(dir.join("db")) {
        file.lock().unwrap();
        file.unlock().unwrap();
    }
}

fn journal_key(rollout: u64, seq: u64) -> Vec<u8> {
    [rollout.to_be_bytes(), seq.to_be_bytes()].concat()
}

fn flip(tree: &sled::Tree, key: &[u8], at: usize) {
    let mut value = tree.get(key).unwrap().expect("the row exists").to_vec();
    value[at] ^= 1;
    tree.insert(key, value).unwrap();
}

/// Everything that opening refuses to accept.
fn findings(dir: &Path) -> Findings {
    match open(dir) {
        Err(StoreError::Unsound { findings }) => (*findings).clone(),
        other => panic!("expected findings, got {other:?}"),
    }
}

/// The only thing that is wrong in `dir`.
fn damage(dir: &Path) -> (u64, u64, Damage) {
    let findings = findings(dir);
    let [Finding { rollout, seq, what, .. }] = findings.rollouts[..] else {
        panic!("expected one finding, got {findings}");
    };
    assert!(findings.rows.is_empty() && findings.loss.is_none(), "{findings}");
    (rollout.get(), seq, what)
}

fn set_aside(dir: &Path) -> (SledStore, OpenReport) {
    let options = OpenOptions { damage: OnDamage::SetAside, ..OpenOptions::default() };
    SledStore::open(dir, options).unwrap()
}

#[test]
fn a_flipped_byte_names_rollout_and_entry() {
    for at in [0, 9, 45, 52] {
        let dir = filled();
        tamper(dir.path(), "journal", |journal| flip(journal, &journal_key(1, 2), at));
        assert_eq!(damage(dir.path()), (1, 2, Damage::Checksum), "byte {at}");
        let (store, _) = set_aside(dir.path());
        assert_eq!(store.journal(id(1), Seq::FIRST).unwrap(), [], "it is not served");
        let sound = store.journal(id(2), Seq::FIRST).unwrap();
        assert_eq!(sound.len(), 3, "the other rollout is sound");
    }
}

#[test]
fn misplaced_and_swapped_rows_are_caught() {
    let dir = filled();
    tamper(dir.path(), "journal", |journal| {
        let row = journal.get(journal_key(1, 2)).unwrap().unwrap();
        journal.insert(journal_key(2, 2), row).unwrap();
    });
    assert_eq!(damage(dir.path()), (2, 2, Damage::Checksum));

    let dir = filled();
    tamper(dir.path(), "journal", |journal| {
        let (first, second) = (journal_key(1, 1), journal_key(1, 2));
        let row = journal.get(&first).unwrap().unwrap();
        let other = journal.insert(&second, row).unwrap().unwrap();
        journal.insert(&first, other).unwrap();
    });
    assert_eq!(damage(dir.path()), (1, 1, Damage::Checksum));
}

#[test]
fn missing_rows_and_parts_and_rows_beyond_the_head_are_caught() {
    for seq in 1..=3 {
        let dir = filled();
        tamper(dir.path(), "journal", |journal| {
            journal.remove(journal_key(1, seq)).unwrap().expect("the row exists");
        });
        assert_eq!(damage(dir.path()), (1, seq, Damage::Missing));
    }

    let dir = filled();
    tamper(dir.path(), "chunks", |parts| {
        let key = [journal_key(2, 3), vec![0, 1]].concat();
        parts.remove(key).unwrap().expect("the part exists");
    });
    assert_eq!(damage(dir.path()), (2, 3, Damage::PartMissing));

    let dir = filled();
    tamper(dir.path(), "heads", |heads| {
        heads.remove(1_u64.to_be_bytes()).unwrap().expect("the head exists");
    });
    assert_eq!(damage(dir.path()), (1, 1, Damage::BeyondHead));
}

#[test]
fn an_older_row_put_back_breaks_the_chain_to_the_head() {
    let (older, newer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rows = BTreeMap::new();
    for (dir, second) in [(&older, "other"), (&newer, "b")] {
        let (mut store, _) = open(dir.path()).unwrap();
        store.commit(&[append(1, 0, &["a", second, "c"])]).unwrap();
    }
    tamper(older.path(), "journal", |journal| {
        for seq in [2, 3] {
            rows.insert(seq, journal.get(journal_key(1, seq)).unwrap().unwrap());
        }
    });
    tamper(newer.path(), "journal", |journal| {
        journal.insert(journal_key(1, 2), &rows[&2]).unwrap();
    });
    assert_eq!(damage(newer.path()), (1, 3, Damage::BrokenChain));
    tamper(newer.path(), "journal", |journal| {
        journal.insert(journal_key(1, 3), &rows[&3]).unwrap();
    });
    assert_eq!(damage(newer.path()), (1, 3, Damage::HeadMismatch));
}

#[test]
fn a_damaged_head_refuses_to_open_and_names_the_rollout() {
    let dir = filled();
    tamper(dir.path(), "heads", |heads| flip(heads, &2_u64.to_be_bytes(), 20));
    assert_eq!(damage(dir.path()), (2, 0, Damage::Checksum));
}

#[test]
fn a_store_without_its_own_rows_is_not_taken_for_a_new_one() {
    for key in ["schema", "commit_seq"] {
        let dir = filled();
        tamper(dir.path(), "meta", |meta| {
            meta.remove(key).unwrap().expect("the row exists");
        });
        assert_eq!(open(dir.path()).unwrap_err().code(), "RO0202", "{key}");
    }
}

/// A directory whose database is older than its witness: entry 4 of rollout 1 is gone, and all of rollout 3.
fn went_back() -> TempDir {
    let dir = filled();
    let older = tempfile::tempdir().unwrap();
    copy(dir.path(), older.path());
    let (mut store, report) = open(dir.path()).unwrap();
    assert_eq!(report.commits, 2);
    store.commit(&[append(1, 3, &["lost"]), append(3, 0, &["lost"])]).unwrap();
    drop(store);
    wait_for_database(dir.path());
    let witness = ["anchor", "witness.0", "witness.1"]
        .map(|name| (name, fs::read(dir.path().join(name)).unwrap()));
    copy(older.path(), dir.path());
    for (name, bytes) in witness {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

#[test]
fn a_lost_tail_is_refused_and_named_until_the_loss_is_accepted() {
    let dir = went_back();
    for _ in 0..2 {
        let found = findings(dir.path());
        assert_eq!(found.loss, Some(Loss::Behind { store: 2, witness: 3 }));
        let lost: Vec<_> =
            found.rollouts.iter().map(|it| (it.rollout.get(), it.seq, it.what)).collect();
        assert_eq!(lost, [(1, 4, Damage::Lost { upto: 4 }), (3, 1, Damage::Lost { upto: 1 })]);
        assert_eq!(found.code(), "RO0203");
        assert!(found.to_string().contains("went back in time"), "{found}");
    }
    let (mut store, report) = set_aside(dir.path());
    let quarantined: Vec<_> = report.quarantined.iter().map(|it| it.rollout.get()).collect();
    assert_eq!(quarantined, [1, 3]);
    assert!(report.quarantined[0].why.contains("from entry 4 on"), "{report:?}");
    let refused = store.commit(&[append(3, 0, &["again"])]).unwrap_err();
    assert!(refused.is_refusal(), "an id that was handed out is not handed out again: {refused}");
    store.commit(&[append(2, 3, &["goes on"]), append(4, 0, &["new"])]).unwrap();
    drop(store);
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!(report.quarantined.len(), 2, "it is still said");
    assert_eq!((report.live, report.repairs), (2, Vec::new()));
    assert_eq!(store.journal(id(2), id_seq(4)).unwrap()[0].payload, b"goes on");
    let place = dir.path().join(&report.quarantined[0].place);
    assert!(place.join("store/db").exists() && place.join("r1.backup").exists());
    let page = fs::read_to_string(place.join("r1.md")).unwrap();
    assert!(page.contains("Entries that can be read: 3"), "{page}");
}

/// A witness of the first released format knows that something is lost, not whose it was.
#[test]
fn a_loss_that_has_no_name_is_everybodys() {
    let dir = went_back();
    for name in ["witness.0", "witness.1"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let found = findings(dir.path());
    let suspects: Vec<_> = found.rollouts.iter().map(|it| (it.rollout.get(), it.what)).collect();
    assert_eq!(suspects, [(1, Damage::Suspect), (2, Damage::Suspect)]);
}

#[test]
fn a_witness_of_another_history_is_refused() {
    let (one, other) = (filled(), tempfile::tempdir().unwrap());
    let (mut store, _) = open(other.path()).unwrap();
    store.commit(&[append(1, 0, &["x"])]).unwrap();
    store.commit(&[append(1, 1, &["y"])]).unwrap();
    drop(store);
    fs::copy(other.path().join("anchor"), one.path().join("anchor")).unwrap();
    assert_eq!(findings(one.path()).loss, Some(Loss::Diverged { commit: 2 }));
}

#[test]
fn a_lost_witness_is_started_anew_and_reported() {
    let dir = filled();
    fs::remove_file(dir.path().join("anchor")).unwrap();
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!(report.repairs, [Repair::WitnessRestarted]);
    drop(store);
    assert_eq!(open(dir.path()).unwrap().1.repairs, []);
}

#[test]
fn a_second_opening_is_refused_with_the_pid_of_the_first() {
    let dir = filled();
    let (store, _) = open(dir.path()).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(refused.code(), "RO0204");
    assert!(
        matches!(refused, StoreError::Locked { pid: Some(pid) } if pid == std::process::id()),
        "{refused:?}"
    );
    drop(store);
    open(dir.path()).unwrap();
}

#[test]
fn a_database_held_behind_our_lock_is_refused_too() {
    let dir = filled();
    let file = fs::File::open(dir.path().join("db")).unwrap();
    file.lock().unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { pid: None }), "{refused:?}");
    file.unlock().unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn broken_snapshots_are_put_aside_and_nothing_is_lost() {
    let dir = filled();
    let snapshot = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("snap."));
    let half = "snap.00000000FFFFFFFF.generating";
    fs::write(dir.path().join(half), b"half").unwrap();
    fs::write(dir.path().join("snap.00000000FFFFFFFE"), vec![0xAB; 4096]).unwrap();
    if let Some(snapshot) = &snapshot {
        fs::write(dir.path().join(snapshot), b"garbage that is long enough to have a checksum")
            .unwrap();
    }
    let (store, report) = open(dir.path()).unwrap();
    let to = dir.path().join("quarantine/1");
    assert!(to.join("snap.00000000FFFFFFFE").exists());
    let half_removed = Repair::HalfSnapshotRemoved { name: half.to_owned() };
    assert_eq!(report.repairs, [half_removed, Repair::SnapshotQuarantined { to }]);
    assert_eq!(store.journal(id(1), Seq::FIRST).unwrap().len(), 3);
    assert_eq!(store.journal(id(2), Seq::FIRST).unwrap()[2].payload, vec![7; 20_000]);
    drop(store);
    assert_eq!(open(dir.path()).unwrap().1.repairs, [], "the next opening finds nothing to do");
}

/// sled overwrites the segments that its new snapshot does not need as soon as that is written, whether or not its name is
/// on disk. After a power cut only a whole snapshot under another name is left of it.
#[test]
fn a_whole_snapshot_without_its_name_is_all_that_is_left_and_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let entry = "x".repeat(300);
    let mut ends = [0; ROLLOUTS];
    for number in 0..800 {
        let rollouts = (0..6).map(|nth| (number * 7 + nth * 5) % ROLLOUTS);
        let batch: Vec<_> = rollouts
            .map(|at| {
                ends[at] += 1;
                append(at as u64 + 1, ends[at] - 1, &[&entry])
            })
            .collect();
        store.commit(&batch).unwrap();
    }
    store.close().unwrap();
    drop(store);
    drop(open(dir.path()).unwrap());
    wait_for_database(dir.path());
    let database = fs::read(dir.path().join("db")).unwrap();
    let is_gone = |segment: &[u8]| segment.iter().all(|byte| *byte == 0);
    assert!(database.chunks(2 << 20).any(is_gone), "no segment was overwritten: too few commits");

    let name = contents(dir.path()).into_keys().find(|name| name.starts_with("snap.")).unwrap();
    let snapshot = dir.path().join(&name);
    fs::rename(&snapshot, dir.path().join(format!("{name}.generating"))).unwrap();
    // Nor is half a copy of ours to be taken for it.
    fs::write(dir.path().join(format!("{name}.afresh")), b"half").unwrap();
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!(report.repairs, [Repair::SnapshotNamed { name }]);
    for (at, end) in ends.iter().enumerate() {
        let entries = store.journal(id(at as u64 + 1), Seq::FIRST).unwrap();
        assert_eq!(entries.len() as u64, *end);
    }
}

#[test]
fn a_later_format_is_refused_and_the_directory_untouched() {
    let dir = filled();
    fs::write(dir.path().join("format"), "rolloutd store format 2\n").unwrap();
    let before = contents(dir.path());
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { found: 2, known: 1 }), "{refused:?}");
    assert_eq!(refused.code(), "RO0201");
    assert!(contents(dir.path()) == before, "the directory was changed");
}

#[test]
fn a_later_schema_or_row_is_refused_even_if_the_directory_says_otherwise() {
    for (version, schema) in [(1_u16, 2_u32), (2, 1)] {
        let dir = filled();
        tamper(dir.path(), "meta", |meta| {
            let mut row = vec![0xA7, 1];
            row.extend_from_slice(&version.to_le_bytes());
            row.extend_from_slice(&4_u32.to_le_bytes());
            row.extend_from_slice(&schema.to_le_bytes());
            let checked = [b"metaschema".as_slice(), &row].concat();
            row.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
            meta.insert("schema", row).unwrap();
        });
        let refused = open(dir.path()).unwrap_err();
        assert!(matches!(refused, StoreError::TooNew { found: 2, known: 1 }), "{refused:?}");
        assert_eq!(open(dir.path()).unwrap_err().code(), "RO0201", "it is not repaired either");
    }
}

#[test]
fn blobs_are_refused() {
    let dir = filled();
    fs::write(dir.path().join("blobs/0000"), b"unsynced").unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(refused.to_string().contains("blobs/"), "{refused}");
    assert_eq!(refused.code(), "RO0202");
}

#[test]
fn a_new_directory_is_private_and_openings_are_counted() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state/store");
    let (mut store, report) = open(&dir).unwrap();
    assert_eq!((report.origin, report.incarnation, report.commits), (Origin::Created, 1, 0));
    for created in [&dir, &parent.path().join("state")] {
        assert_eq!(fs::metadata(created).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let ended = Append { standing: Standing::Ended, ..append(2, 0, &["a"]) };
    store.commit(&[append(1, 0, &["a"]), ended, append(3, 0, &["a"])]).unwrap();
    drop(store);
    let (_store, report) = open(&dir).unwrap();
    assert_eq!((report.origin, report.incarnation, report.commits), (Origin::Reopened, 2, 1));
    assert_eq!((report.live, report.ended), (2, 1));
    assert_eq!(fs::read_dir(dir.join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_creation_that_was_cut_short_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    tamper(dir.path(), "meta", |_| {});
    let (mut store, report) = open(dir.path()).unwrap();
    assert_eq!((report.origin, report.repairs), (Origin::Created, Vec::new()));
    store.commit(&[append(1, 0, &["a"])]).unwrap();
}

/// One flipped bit anywhere in the database: refused, or named, or without effect; never a silent loss.
#[test]
fn a_flipped_bit_in_the_database_file_never_passes_silently() {
    let original = tempfile::tempdir().unwrap();
    let (mut store, _) = open(original.path()).unwrap();
    for seq in 0..60 {
        let entries = vec![payload(1, seq + 1)];
        store.commit(&[Append { entries, ..append(1, seq, &[]) }]).unwrap();
    }
    store.close().unwrap();
    let sound = store.journal(id(1), Seq::FIRST).unwrap();
    drop(store);
    let database = fs::read(original.path().join("db")).unwrap();
    let used = database.iter().rposition(|byte| *byte != 0).unwrap();

    let read_with = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        fs::write(dir.path().join("db"), bytes).unwrap();
        let (store, _) = open(dir.path())?;
        let read = || store.journal(id(1), Seq::FIRST);
        catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(StoreError::Closed))
    };
    assert!(read_with(&database).unwrap() == sound, "an untouched copy reads back");
    let mut tails_lost = 0;
    for at in (0..FLIPS).map(|flip| used * flip / FLIPS + flip) {
        let mut flipped = database.clone();
        flipped[at] ^= 1 << (at % 8);
        match read_with(&flipped) {
            Ok(entries) => assert!(entries == sound, "byte {at}: a silent loss"),
            Err(error) => tails_lost += u32::from(error.code() == "RO0203"),
        }
    }
    assert!(tails_lost > 0, "no flip made the database lose its tail: not a fair sample");
}

/// Ten crashes on one directory: whatever a killed process had acknowledged is there, whole, and goes on.
#[test]
fn acknowledged_commits_survive_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..10 {
        let before: u64 = acked.values().sum();
        let mut child = Committer::start(dir.path(), "");
        for _ in 0..20 + 13 * round {
            let (rollout, seq) = child.next_ack().expect("the child commits until it is killed");
            acked.insert(rollout, seq);
        }
        child.kill();
        while let Some((rollout, seq)) = child.next_ack() {
            acked.insert(rollout, seq);
        }
        assert!(acked.values().sum::<u64>() >= before + 20, "round {round} made no progress");
        assert_all_there(dir.path(), &acked);
    }
    assert_eq!(acked.len(), 8, "every writer of the child got its turn");
}

/// A disk that refuses to grow: the commit fails, later ones fail alike, and what was acknowledged is there.
#[test]
fn a_full_disk_stops_the_store_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Committer::start(dir.path(), "trap '' XFSZ; ulimit -f 6000; ");
    let mut acked = BTreeMap::new();
    while let Some((rollout, seq)) = child.next_ack() {
        acked.insert(rollout, seq);
    }
    let code = child.wait();
    assert_eq!(code, Some(FAILED_ALIKE), "the child saw two commits fail with RO0205");
    assert!(acked.values().sum::<u64>() > 8, "something was committed before the disk was full");
    assert_all_there(dir.path(), &acked);
    let (mut store, _) = open(dir.path()).unwrap();
    store.commit(&[append(99, 0, &["room again"])]).unwrap();
}

fn assert_all_there(dir: &Path, acked: &BTreeMap<u64, u64>) {
    let (store, _) = open(dir).unwrap();
    for (rollout, seq) in acked {
        let entries = store.journal(id(*rollout), Seq::FIRST).unwrap();
        assert!(entries.len() as u64 >= *seq, "rollout {rollout}: {} of {seq}", entries.len());
        for entry in entries {
            assert!(
                entry.payload == payload(*rollout, entry.seq.get()),
                "entry {} differs",
                entry.seq
            );
        }
    }
}

/// What the child writes as entry `seq`: mostly small, now and then in parts.
fn payload(rollout: u64, seq: u64) -> Vec<u8> {
    let len = if seq.is_multiple_of(10) { 17_000 } else { seq * 37 % 900 };
    (0..len).map(|at| (at * rollout + seq) as u8).collect()
}

/// The child's part of the crash tests: eight writers commit and print an acknowledgement each, for ever. Does
/// nothing when it is run as an ordinary test.
#[test]
fn child_that_commits_until_it_is_stopped() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (store, _) = open(Path::new(&dir)).unwrap();
    let mut ends: BTreeMap<u64, u64> = (1..=8).map(|rollout| (rollout, 0)).collect();
    for head in store.heads().unwrap() {
        ends.insert(head.rollout.get(), head.seq.get());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_writer, handle) = Writer::spawn(Box::new(store)).unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for (rollout, mut end) in ends {
            let handle = handle.clone();
            writers.spawn(async move {
                loop {
                    let entries = vec![payload(rollout, end + 1)];
                    let next = Append { entries, ..append(rollout, end, &[]) };
                    if let Err(first) = handle.commit(vec![next.clone()]).await {
                        let again = handle.commit(vec![next]).await.unwrap_err();
                        let is_alike = first.code() == "RO0205" && again.code() == "RO0205";
                        std::process::exit(if is_alike { FAILED_ALIKE } else { 1 });
                    }
                    end += 1;
                    println!("ack {rollout} {end}");
                }
            });
        }
        writers.join_all().await;
    });
}

/// This test binary, run again as [`child_that_commits_until_it_is_stopped`].
struct Committer {
    process: Child,
    acks: mpsc::Receiver<(u64, u64)>,
}

impl Committer {
    /// `setup` is shell that runs before the child takes the shell's place.
    fn start(dir: &Path, setup: &str) -> Self {
        let mut process = Command::new("bash")
            .arg("-c")
            .arg(format!(
                "{setup} exec \"$0\" --exact child_that_commits_until_it_is_stopped --nocapture"
            ))
            .arg(std::env::current_exe().unwrap())
            .env(CHILD_DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (send, acks) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let ack = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' '));
                let Some((rollout, seq)) = ack else { continue };
                if send.send((rollout.parse().unwrap(), seq.parse().unwrap())).is_err() {
                    break;
                }
            }
        });
        Self { process, acks }
    }

    /// `None` once the child is gone and all it said was read.
    fn next_ack(&self) -> Option<(u64, u64)> {
        match self.acks.recv_timeout(Duration::from_secs(30)) {
            Ok(ack) => Some(ack),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the child hangs"),
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn id_seq(position: u64) -> Seq {
    Seq::new(position).unwrap()
}

/// Replaces the files of `to` by those of `from`.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(to).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn contents(dir: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).ok())
        })
        .collect()
}

/// Rollouts whose entries wear the database out.
const ROLLOUTS: usize = 40;
/// Places to flip a bit at, spread evenly over the file.
const FLIPS: usize = 60;
const CHILD_DIR: &str = "ROLLOUT_STORE_CHILD_DIR";
/// Exit code of a child that saw the disk refuse, twice alike.
const FAILED_ALIKE: i32 = 42;
