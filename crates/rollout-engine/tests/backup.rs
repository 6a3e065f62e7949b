//! Backup and restore of a store: what comes back, and every way in which a file is refused.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use jiff::SignedDuration;
use rollout_core::{
    Effect, EventKind, FunctionCall, HoldReason, Plan, PlanParts, Rollout, RolloutId, Seq,
    SmokeRepeat, SmokeTest,
};
use rollout_engine::store::backup::{self, About, BackupError, Encoder, Existing, HoldOrder, Then};
use rollout_engine::store::record::{decode_event, encode_event};
use rollout_engine::store::{
    Append, BackupStream, Entry, Head, IdempotencyRow, OnDamage, OpenOptions, SledStore, Standing,
    Store, Writer,
};
use tempfile::TempDir;

type Everything = (Vec<(Head, Vec<Entry>)>, Vec<IdempotencyRow>);

fn everything(store: &SledStore) -> Everything {
    let journals = store.heads().unwrap().into_iter();
    let journals = journals.map(|head| (head, store.journal(head.rollout, Seq::FIRST).unwrap()));
    (journals.collect(), store.idempotency_rows().unwrap())
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, OpenOptions::default()).unwrap().0
}

/// A store with a live rollout, an ended one, and one with an entry in parts.
fn filled() -> (TempDir, SledStore) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join("store"));
    let journals = [(1, 20), (2, usize::MAX), (3, 12)];
    let journals = journals.map(|(number, max)| support::journal(number, max));
    support::write(&mut store, &journals).unwrap();
    (dir, store)
}

fn backed_up(store: &SledStore) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut bytes = encoder.begin(&About { made_at: 7, version: "1.2.3".into(), age: store.age() });
    for (head, entries) in everything(store).0 {
        bytes.extend(encoder.rollout(&head, entries.iter()));
    }
    bytes.extend(encoder.end(&store.idempotency_rows().unwrap(), &store.quarantined()));
    bytes
}

fn restore(dir: &Path, bytes: &[u8], existing: Existing) -> Result<(), BackupError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    backup::restore(dir, &mut File::open(file.path()).unwrap(), existing, &Then::GoOn).map(drop)
}

#[test]
fn what_was_backed_up_comes_back_and_goes_on() {
    let (dir, mut store) = filled();
    let (bytes, sound, age) = (backed_up(&store), everything(&store), store.age());
    let contents = backup::check(&mut &bytes[..]).unwrap();
    assert_eq!((contents.about.version.as_str(), contents.rollouts.len()), ("1.2.3", 3));
    store.close().unwrap();
    drop(store);

    let place = dir.path().join("restored");
    restore(&place, &bytes, Existing::Keep).unwrap();
    let beside = names(dir.path());
    assert!(!beside.iter().any(|name| name.contains("before-restore")), "{beside:?}");
    let mut restored = open(&place);
    assert!(everything(&restored) == sound, "something is another one after the restore");
    assert!(restored.age().incarnation > age.incarnation, "openings are counted on");
    let next = Append {
        rollout: RolloutId::FIRST,
        after: 20,
        entries: vec![b"on".to_vec()],
        standing: Standing::Live,
        idempotency: None,
    };
    restored.commit(&[next]).unwrap();
    drop(restored);
    assert!(SledStore::examine(&place).unwrap().findings.is_empty());
    assert!(!names(&place).iter().any(|name| name.starts_with("exchange") || name == "rebuild"));
}

#[test]
fn a_store_that_is_there_is_kept_or_moved_and_never_lost() {
    let (dir, store) = filled();
    let (bytes, sound) = (backed_up(&store), everything(&store));
    let place = dir.path().join("store");
    let held = restore(&place, &bytes, Existing::MoveAway).unwrap_err();
    assert_eq!(held.code(), "RO0204", "{held}");
    drop(store);
    assert!(matches!(restore(&place, &bytes, Existing::Keep), Err(BackupError::Occupied)));
    assert!(everything(&open(&place)) == sound, "the refusals changed something");
    for number in 1..=2 {
        restore(&place, &bytes, Existing::MoveAway).unwrap();
        let moved = dir.path().join(format!("store.before-restore-{number}"));
        assert!(everything(&open(&moved)) == sound, "the store before restore {number}");
        assert!(everything(&open(&place)) == sound, "restore {number}");
    }
}

/// A store on a file system of its own cannot be moved beside itself, and must stay what it is.
#[test]
fn a_store_that_cannot_be_moved_is_left_as_it_is() {
    let (dir, store) = filled();
    let (bytes, sound) = (backed_up(&store), everything(&store));
    drop(store);
    let place = dir.path().join("store");
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    let elsewhere = tempfile::tempdir_in("/dev/shm").ok();
    let elsewhere = elsewhere.filter(|other| device(other.path()) != device(dir.path()));
    let Some(elsewhere) = elsewhere else {
        assert!(std::env::var_os("ROLLOUT_REQUIRE_ALL").is_none(), "no second file system");
        eprintln!("skipped: /dev/shm is not a second file system");
        return;
    };
    restore(&elsewhere.path().join("store"), &bytes, Existing::Keep).unwrap();
    fs::remove_dir_all(&place).unwrap();
    symlink(elsewhere.path().join("store"), &place).unwrap();
    let refused = restore(&place, &bytes, Existing::MoveAway).unwrap_err();
    assert_eq!(refused.code(), "RO0205", "{refused}");
    assert!(everything(&open(&place)) == sound, "the failed exchange changed something");
    assert!(!names(&place).iter().any(|name| name.starts_with("exchange") || name == "rebuild"));
    assert!(!dir.path().join("store.before-restore-1").exists());
}

/// A person may have said stop since the backup: what is restored turns nothing on by itself.
#[test]
fn live_rollouts_are_held_and_ended_ones_left_alone() {
    let (dir, store) = filled();
    let (bytes, before) = (backed_up(&store), everything(&store).0);
    drop(store);
    let file = dir.path().join("backup");
    fs::write(&file, &bytes).unwrap();
    let at = "2026-12-01T00:00:00Z".parse().unwrap();
    let order = HoldOrder { at, actor: "ada".into(), reason: "restored".into() };
    let place = dir.path().join("held");
    let (mut file, then) = (File::open(&file).unwrap(), Then::Hold(order));
    backup::restore(&place, &mut file, Existing::Keep, &then).unwrap();
    for ((head, sound), (held, entries)) in before.iter().zip(everything(&open(&place)).0) {
        let is_live = head.standing == Standing::Live;
        assert_eq!(held.seq.get(), head.seq.get() + u64::from(is_live), "{}", head.rollout);
        assert_eq!(entries[..sound.len()], sound[..]);
        let events: Vec<_> =
            entries.iter().map(|entry| decode_event(&entry.payload).unwrap()).collect();
        assert_eq!(Rollout::replay(&events).unwrap().is_held(), is_live);
    }
}

/// The reason names the file, and paths may be longer than a reason.
#[test]
fn rollouts_are_held_for_whatever_reason_is_given_or_the_restore_fails() {
    let (dir, mut store) = filled();
    let file = dir.path().join("backup");
    fs::write(&file, backed_up(&store)).unwrap();
    store.close().unwrap();
    let held = |place: &Path, reason: String| {
        let at = "2027-01-01T00:00:00Z".parse().unwrap();
        let then = Then::Hold(HoldOrder { at, actor: "ada".into(), reason });
        backup::restore(place, &mut File::open(&file).unwrap(), Existing::Keep, &then).map(drop)
    };
    let place = dir.path().join("long");
    held(&place, format!("restored from /{}", "ö/".repeat(2_000))).unwrap();
    let back = open(&place);
    let mut live = 0;
    for head in back.heads().unwrap().iter().filter(|head| head.standing == Standing::Live) {
        let entries = back.journal(head.rollout, Seq::FIRST).unwrap();
        let events: Vec<_> = entries.iter().map(|it| decode_event(&it.payload).unwrap()).collect();
        let rollout = Rollout::replay(&events).unwrap();
        assert!(rollout.holds().iter().any(|hold| hold.reason == HoldReason::Person));
        assert!(events.last().unwrap().note.as_ref().unwrap().starts_with("restored from /ö/ö/"));
        live += 1;
    }
    assert!(live > 0, "some rollouts were live");
    let place = dir.path().join("refused");
    let refused = held(&place, " ".into()).unwrap_err();
    assert!(
        refused.to_string().contains("say why") || format!("{refused:?}").contains("say why"),
        "{refused:?}"
    );
    assert!(!SledStore::is_in(&place), "nothing that looks restored and is not held");
}

/// A hold lets what has begun come to its end; after a restore nobody knows whether it has, so a person looks first.
#[test]
fn what_was_about_to_change_something_is_stopped() {
    let mut enabling = support::journal(1, usize::MAX);
    let begun = |bytes: &Vec<u8>| {
        matches!(decode_event(bytes).unwrap().kind, EventKind::EnablingStarted { .. })
    };
    enabling.entries.truncate(enabling.entries.iter().position(begun).unwrap() + 1);
    enabling.standing = Standing::Live;
    for (number, journal) in [enabling.clone(), smoke_testing()].into_iter().enumerate() {
        let writes = |entries: &[Vec<u8>]| {
            let pending = replayed(entries).pending();
            pending.iter().any(|it| !matches!(it.effect, Effect::Observe(_)))
        };
        assert!(writes(&journal.entries), "journal {number} is about to change something");
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir.path().join("store"));
        support::write(&mut store, std::slice::from_ref(&journal)).unwrap();
        let file = dir.path().join("backup");
        fs::write(&file, backed_up(&store)).unwrap();
        // As long after the backup as a night, or with a clock that is behind.
        for (place, at) in [("late", "2026-12-01T00:00:00Z"), ("early", "2020-01-01T00:00:00Z")] {
            let (at, place) = (at.parse().unwrap(), dir.path().join(place));
            let order = HoldOrder { at, actor: "ada".into(), reason: "restored".into() };
            let mut file = File::open(&file).unwrap();
            backup::restore(&place, &mut file, Existing::Keep, &Then::Hold(order)).unwrap();
            let (_, entries) = everything(&open(&place)).0.remove(0);
            let entries: Vec<_> = entries.into_iter().map(|entry| entry.payload).collect();
            assert_eq!(entries[..journal.entries.len()], journal.entries[..]);
            let rollout = replayed(&entries);
            assert!(rollout.holds().iter().any(|hold| hold.reason == HoldReason::Person));
            assert!(!writes(&entries), "journal {number}: {:?}", rollout.pending());
            let times: Vec<_> =
                entries.iter().map(|entry| decode_event(entry).unwrap().at).collect();
            assert!(times.is_sorted(), "journal {number} goes back in time");
        }
    }
}

fn replayed(entries: &[Vec<u8>]) -> Rollout {
    let events: Vec<_> = entries.iter().map(|entry| decode_event(entry).unwrap()).collect();
    Rollout::replay(&events).unwrap()
}

/// A whole rollout, with a smoke test at its end whose first call is under way.
fn smoke_testing() -> support::Journal {
    let mut journal = support::journal(1, usize::MAX);
    let mut events: Vec<_> =
        journal.entries.iter().map(|entry| decode_event(entry).unwrap()).collect();
    let EventKind::RolloutCreated { plan, .. } = &mut events[0].kind else { panic!("no creation") };
    let call = |path: &str| FunctionCall { path: path.into(), args: "{}".into() };
    let smoke = SmokeTest {
        name: "final-verification-test".into(),
        create: call("tasks:create"),
        id_pointer: "/id".into(),
        poll: call("tasks:get"),
        state_pointer: "/state".into(),
        success: "done".into(),
        failure: vec!["failed".into()],
        timeout: SignedDuration::from_mins(10),
        every: SignedDuration::from_secs(5),
        repeat: SmokeRepeat::Safe,
    };
    let parts = PlanParts { smoke: Some(smoke), ..PlanParts::clone(plan) };
    **plan = Plan::try_new(parts).unwrap();
    let last = events.last_mut().unwrap();
    assert_eq!(last.kind, EventKind::RolloutCompleted);
    last.kind = EventKind::SmokeStarted;
    journal.entries = events.iter().map(|event| encode_event(event).unwrap()).collect();
    journal.standing = Standing::Live;
    journal
}

/// Whatever is flipped, cut, added or swapped in a backup is noticed before anything is changed.
#[test]
fn no_damaged_backup_is_restored() {
    let (dir, store) = filled();
    let bytes = backed_up(&store);
    drop(store);
    let place = dir.path().join("nothing");
    let mut random = fastrand::Rng::with_seed(20_261_122);
    for case in 0..400 {
        let mut damaged = bytes.clone();
        let at = random.usize(..bytes.len());
        match case % 4 {
            0 => damaged[at] ^= 1 << random.u8(..8),
            1 => damaged.truncate(at),
            2 => damaged.insert(at, random.u8(..)),
            _ => drop(damaged.splice(at..(at + 40).min(bytes.len()), [0; 40])),
        }
        if damaged == bytes {
            continue;
        }
        let refused = restore(&place, &damaged, Existing::Keep).unwrap_err();
        assert_eq!(refused.code(), "RO0209", "case {case} at {at}: {refused}");
        assert!(!place.exists(), "case {case} at {at} left something behind");
    }
    let twice = [&bytes[..], &bytes].concat();
    let refused = backup::check(&mut &twice[..]).unwrap_err();
    let BackupError::Damaged { offset, .. } = refused else { panic!("{refused}") };
    assert_eq!(offset, bytes.len() as u64, "what follows the end is named by its offset");
    let newer = [b"rolloutd backup 2\n", &bytes[18..]].concat();
    let refused = backup::check(&mut &newer[..]).unwrap_err();
    assert!(matches!(refused, BackupError::TooNew { found: 2 }), "{refused}");
    let foreign = backup::check(&mut &b"PK\x03\x04 something else"[..]).unwrap_err();
    assert!(matches!(foreign, BackupError::Foreign), "{foreign}");
}

/// A rollout that was set aside stays so through a backup: its id is not free after the restore either.
#[test]
fn quarantined_rollouts_stay_quarantined() {
    let (dir, store) = filled();
    let place = dir.path().join("store");
    drop(store);
    let older = dir.path().join("older");
    restore(&older, &backed_up(&open(&place)), Existing::Keep).unwrap();
    for name in ["witness.0", "witness.1", "anchor"] {
        fs::copy(place.join(name), older.join(name)).unwrap();
    }
    let mut store = open(&place);
    let last = store.heads().unwrap()[0];
    let append = Append {
        rollout: last.rollout,
        after: last.seq.get(),
        entries: vec![b"lost".to_vec()],
        standing: Standing::Live,
        idempotency: None,
    };
    store.commit(&[append]).unwrap();
    drop(store);
    for name in ["witness.0", "witness.1", "anchor"] {
        fs::copy(place.join(name), older.join(name)).unwrap();
    }
    let options = OpenOptions { damage: OnDamage::SetAside, ..OpenOptions::default() };
    let (store, report) = SledStore::open(&older, options).unwrap();
    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    let bytes = backed_up(&store);
    let restored = dir.path().join("restored");
    restore(&restored, &bytes, Existing::Keep).unwrap();
    assert_eq!(open(&restored).quarantined(), report.quarantined);
    let page = older.join(&report.quarantined[0].place);
    let readable = fs::read(page.join("r1.backup")).unwrap();
    let readable = backup::check(&mut &readable[..]).unwrap();
    assert_eq!(readable.rollouts[0].entries, last.seq.get(), "what can be read is a backup, too");
}

/// A backup that is made while commits go on shows one moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_store_shows_one_moment() {
    let (_dir, store) = filled();
    let sound = everything(&store);
    let (writer, handle) = Writer::spawn(Box::new(store)).unwrap();
    let mut stream = BackupStream::begin(handle.clone(), 7, "1.2.3").await.unwrap();
    let mut bytes = Vec::new();
    let mut after = 20;
    while let Some(piece) = stream.next().await.unwrap() {
        bytes.extend(piece);
        let entries = vec![b"meanwhile".to_vec()];
        let (rollout, standing) = (RolloutId::FIRST, Standing::Live);
        let append = Append { rollout, after, entries, standing, idempotency: None };
        handle.commit(vec![append]).await.unwrap();
        after += 1;
    }
    writer.close().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    restore(&place.path().join("store"), &bytes, Existing::Keep).unwrap();
    assert!(everything(&open(&place.path().join("store"))) == sound);
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
