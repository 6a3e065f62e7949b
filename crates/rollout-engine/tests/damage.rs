//! Damage: any byte of any file of a state directory cut, flipped, zeroed, swapped or scribbled over, hundreds of times by a
//! seed. Either everything is there, or the store refuses and names; never a panic, never a hang, never a silent loss.
//!
//! `ROLLOUT_DAMAGE_SEED` and `ROLLOUT_DAMAGE_CASES` choose other cases; a failure prints what repeats it.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rollout_core::{RolloutId, Seq};
use rollout_engine::store::{
    OnDamage, OpenOptions, Quarantined, SledStore, Standing, Store, StoreError,
};
use tempfile::TempDir;

/// What a directory held before it was damaged.
struct Base {
    name: &'static str,
    dir: TempDir,
    journals: BTreeMap<RolloutId, Vec<Vec<u8>>>,
    keys: usize,
}

/// How one case went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Everything is there.
    Intact,
    /// It opens, and reading the damaged rollout names it.
    NamedOnReading,
    /// Refused; the damaged rollouts or rows are named, and the rest was served after they were set aside.
    NamedAndServed,
    /// Refused; the database as a whole cannot be opened, and that is said.
    Unopenable,
}

#[test]
fn no_damage_goes_unnoticed() {
    let seed = number("ROLLOUT_DAMAGE_SEED", 20_261_122);
    let cases = number("ROLLOUT_DAMAGE_CASES", 640);
    println!("SEED={seed} CASES={cases}");
    let bases: Arc<[Base]> = Arc::new([closed(), killed(), several_segments()]);
    // What sled's threads say when they meet damage is expected, and hundreds of times too much.
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let next = Arc::new(AtomicU64::new(0));
    let (send, outcomes) = mpsc::channel();
    for _ in 0..WORKERS {
        let (bases, next, send) = (Arc::clone(&bases), Arc::clone(&next), send.clone());
        thread::spawn(move || {
            loop {
                let case = next.fetch_add(1, Ordering::Relaxed);
                if case >= cases || send.send((case, Outcome::Begun)).is_err() {
                    return;
                }
                let tried = catch_unwind(AssertUnwindSafe(|| try_case(&bases, seed, case)));
                let outcome = tried.unwrap_or_else(|panic| Err(said(&*panic)));
                if send.send((case, Outcome::Ended(outcome))).is_err() {
                    return;
                }
            }
        });
    }
    drop(send);
    let (mut fates, mut wrong) = (BTreeMap::<Fate, u64>::new(), Vec::new());
    let mut running = BTreeSet::new();
    loop {
        match outcomes.recv_timeout(CASE_MAX) {
            Ok((case, Outcome::Begun)) => drop(running.insert(case)),
            Ok((case, Outcome::Ended(outcome))) => {
                running.remove(&case);
                match outcome {
                    Ok(fate) => *fates.entry(fate).or_default() += 1,
                    Err(what) => wrong.push(format!("case {case}: {what}")),
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                wrong.push(format!("the cases {running:?} hang"));
                break;
            }
        }
    }
    panic::set_hook(loud);
    println!("{fates:?}");
    assert!(wrong.is_empty(), "SEED={seed}\n{}", wrong.join("\n"));
    assert_eq!(fates.values().sum::<u64>(), cases, "some cases never ran");
    if cases >= 600 {
        let seen = [Fate::Intact, Fate::NamedAndServed, Fate::Unopenable];
        assert!(seen.iter().all(|fate| fates.contains_key(fate)), "no case for a fate: {fates:?}");
    }
}

enum Outcome {
    Begun,
    Ended(Result<Fate, String>),
}

/// Damages a copy of one base in one place and looks what the store makes of it.
fn try_case(bases: &[Base], seed: u64, case: u64) -> Result<Fate, String> {
    let mut random = fastrand::Rng::with_seed(seed ^ case.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    // The large one is slow to open; a part of the cases is enough to see several segments.
    let base = match random.u8(..16) {
        0 => &bases[2],
        1..8 => &bases[1],
        _ => &bases[0],
    };
    let copy = tempfile::tempdir().unwrap();
    copy_all(base.dir.path(), copy.path());
    let what = format!("{}: {}", base.name, damage(copy.path(), &mut random));
    judge(base, copy.path()).map_err(|wrong| format!("{what}: {wrong}"))
}

fn judge(base: &Base, dir: &Path) -> Result<Fate, String> {
    let looked_at = unchanged_by_a_look(dir)?;
    let fate = judge_opening(base, dir)?;
    match (fate, looked_at) {
        (Fate::Intact, _) | (_, Looked::NotSound) => Ok(fate),
        (_, Looked::Sound) => Err("a look found nothing".to_owned()),
    }
}

/// What a look at the files says before anything has opened them.
enum Looked {
    Sound,
    NotSound,
}

/// Checks everything, and that not one byte of the directory is another one afterwards.
fn unchanged_by_a_look(dir: &Path) -> Result<Looked, String> {
    let before = files(dir);
    let survey = SledStore::examine(dir);
    let after = files(dir);
    if before != after {
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        return Err(format!("a look changed {:?} to {:?}", names(&before), names(&after)));
    }
    match survey {
        Ok(survey) if survey.findings.is_empty() => Ok(Looked::Sound),
        Ok(_) | Err(_) => Ok(Looked::NotSound),
    }
}

/// Every file below `dir`; the lock says who took it last.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(self::files(&entry.path())),
            false if entry.file_name() == "lock" => {}
            false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}

fn judge_opening(base: &Base, dir: &Path) -> Result<Fate, String> {
    // A second look before anything was changed by the first, so that both say the same.
    let refused = match SledStore::open(dir, OpenOptions::default()) {
        Ok((store, _)) => return judge_opened(base, dir, store),
        Err(error) => error,
    };
    let again = match SledStore::open(dir, OpenOptions::default()) {
        Ok((store, _)) => {
            // Moving a damaged snapshot aside may have been all that was needed.
            return judge_opened(base, dir, store);
        }
        Err(error) => error,
    };
    if refused.code() != again.code() {
        return Err(format!("first {refused}, then {again}"));
    }
    if let StoreError::Unsound { findings } = &again {
        let is_nameless = findings.loss.is_some() && findings.rollouts.is_empty();
        if is_nameless || findings.is_empty() {
            return Err(format!("a loss without a name: {findings}"));
        }
    } else if !["RO0201", "RO0202", "RO0205"].contains(&again.code()) {
        // sled refuses some of its own settings with an error of the disk, RO0205.
        return Err(format!("refused with {} {again}", again.code()));
    }
    let options = OpenOptions { damage: OnDamage::SetAside, ..OpenOptions::default() };
    match SledStore::open(dir, options) {
        Ok((store, report)) => {
            served(base, &store, &report.quarantined, Strictness::AllOrAside)?;
            drop(store);
            let (store, report) = SledStore::open(dir, OpenOptions::default())
                .map_err(|error| format!("not after setting aside: {error}"))?;
            served(base, &store, &report.quarantined, Strictness::AllOrAside)?;
            Ok(Fate::NamedAndServed)
        }
        Err(StoreError::Unsound { findings }) => Err(format!("setting aside left {findings}")),
        Err(_) => Ok(Fate::Unopenable),
    }
}

fn judge_opened(base: &Base, dir: &Path, store: SledStore) -> Result<Fate, String> {
    let damaged = served(base, &store, &[], Strictness::AllOrNamed)?;
    drop(store);
    let survey = SledStore::examine(dir).map_err(|error| format!("verify: {error}"))?;
    let named: BTreeSet<_> = survey.findings.rollouts.iter().map(|it| it.rollout).collect();
    match damaged == named {
        true if damaged.is_empty() && !survey.findings.is_empty() => {
            Err(format!("verify alone finds {}", survey.findings))
        }
        true if damaged.is_empty() => Ok(Fate::Intact),
        true => Ok(Fate::NamedOnReading),
        false => Err(format!("reading names {damaged:?}, verify {named:?}")),
    }
}

enum Strictness {
    /// A rollout that is not quarantined must be whole.
    AllOrAside,
    /// A rollout may be damaged if reading it says so.
    AllOrNamed,
}

/// Compares all that is served with what there was; the rollouts whose reading fails.
fn served(
    base: &Base,
    store: &SledStore,
    quarantined: &[Quarantined],
    strictness: Strictness,
) -> Result<BTreeSet<RolloutId>, String> {
    let mut damaged = BTreeSet::new();
    let aside: BTreeSet<_> = quarantined.iter().map(|aside| aside.rollout).collect();
    for (rollout, sound) in &base.journals {
        if aside.contains(rollout) {
            continue;
        }
        match store.journal(*rollout, Seq::FIRST) {
            Ok(entries) => {
                let same = entries.iter().map(|entry| &entry.payload).eq(sound.iter());
                if !same {
                    return Err(format!(
                        "{rollout} silently has {} entries of {}",
                        entries.len(),
                        sound.len()
                    ));
                }
            }
            Err(StoreError::Damaged { rollout: named, .. })
                if named == *rollout && matches!(strictness, Strictness::AllOrNamed) =>
            {
                damaged.insert(named);
            }
            Err(error) => return Err(format!("{rollout} cannot be read: {error}")),
        }
    }
    if aside.is_empty() {
        let keys = store.idempotency_rows().map_err(|error| error.to_string())?.len();
        if keys != base.keys && matches!(strictness, Strictness::AllOrNamed) {
            return Err(format!("{keys} idempotency keys of {}", base.keys));
        }
    }
    Ok(damaged)
}

/// Damages one file, and says how.
fn damage(dir: &Path, random: &mut fastrand::Rng) -> String {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (entry.file_type().unwrap().is_file() && name != "lock").then_some(name)
        })
        .collect();
    names.sort();
    // Most of what can break is in the database.
    let name = match random.u8(..20) {
        0..13 => "db".to_owned(),
        13 => {
            fs::create_dir_all(dir.join("blobs")).unwrap();
            fs::write(dir.join("blobs/0001"), b"never synced").unwrap();
            return "a blob".to_owned();
        }
        14 => {
            let bytes: Vec<u8> = (0..200).map(|_| random.u8(..)).collect();
            fs::write(dir.join("snap.000000000000FFFF"), bytes).unwrap();
            return "a damaged snapshot".to_owned();
        }
        15 => {
            let path = dir.join("quarantine/1");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"a file where a directory is looked for").unwrap();
            fs::write(dir.join("rebuild"), b"a file, too").unwrap();
            return "strangers in quarantine/ and rebuild".to_owned();
        }
        _ => names[random.usize(..names.len())].clone(),
    };
    let path = dir.join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let how = spoil(&mut bytes, random);
    fs::write(&path, bytes).unwrap();
    format!("{name}: {how}")
}

fn spoil(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) -> String {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = random.usize(..used.max(1)).min(bytes.len().saturating_sub(1));
    let len = (1 + random.usize(..8_192)).min(bytes.len() - at);
    match random.u8(..6) {
        0 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        1 => {
            bytes[at..at + len].fill(0);
            format!("{len} zeros at {at}")
        }
        2 => {
            let other = random.usize(..used.max(1)).min(bytes.len() - 1);
            let len = len.min(bytes.len() - other).min(at.abs_diff(other));
            for offset in 0..len {
                bytes.swap(at + offset, other + offset);
            }
            format!("{len} bytes at {at} and {other} swapped")
        }
        3 => {
            for byte in &mut bytes[at..at + len.min(64)] {
                *byte = random.u8(..);
            }
            format!("noise at {at}")
        }
        _ => {
            let bit = random.u8(..8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
    }
}

/// Live and ended rollouts, one with an entry in parts, closed in good order.
fn closed() -> Base {
    base("closed", &[(1, 40), (2, usize::MAX), (3, 30)], close)
}

/// The same as SIGKILL leaves it: the files as they are under an open store.
fn killed() -> Base {
    base("killed", &[(1, 60), (2, 200), (3, usize::MAX)], |_| {})
}

/// More than one segment of the database, so that old ones are cleaned.
fn several_segments() -> Base {
    let journals: Vec<_> =
        (1..=12).map(|number| (number, if number % 2 == 0 { usize::MAX } else { 200 })).collect();
    let base = base("large", &journals, close);
    let size = fs::metadata(base.dir.path().join("db")).unwrap().len();
    assert!(size > 2 << 20, "one segment only: {size}");
    base
}

fn close(store: &mut SledStore) {
    store.close().unwrap();
}

/// A directory with these journals, as it is after `end` under a store that is still open.
fn base(name: &'static str, sizes: &[(u64, usize)], end: impl FnOnce(&mut SledStore)) -> Base {
    let (live, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journals: Vec<_> =
        sizes.iter().map(|(number, max)| support::journal(*number, *max)).collect();
    assert!(journals.iter().any(|journal| journal.standing == Standing::Live));
    assert!(journals.iter().any(|journal| journal.standing == Standing::Ended));
    let (mut store, _) = SledStore::open(live.path(), OpenOptions::default()).unwrap();
    support::write(&mut store, &journals).unwrap();
    end(&mut store);
    copy_all(live.path(), dir.path());
    drop(store);
    let journals = journals.into_iter().map(|it| (it.rollout, it.entries)).collect();
    Base { name, dir, journals, keys: sizes.len() }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to: PathBuf = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                fs::create_dir_all(&to).unwrap();
                copy_all(&entry.path(), &to);
            }
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic escaped: {}", text.unwrap_or("no message"))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// Cases at the same time.
const WORKERS: usize = 4;
/// No case takes longer, on the busiest machine.
const CASE_MAX: Duration = Duration::from_secs(60);
