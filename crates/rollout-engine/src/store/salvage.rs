//! Owns what is kept of a rollout that is set aside: its readable entries as a backup, and the same as a page for people.
//!
//! The page is the rollout log up to the last readable entry: it says which flags the rollout had turned on by then. The
//! damaged files themselves are kept whole beside it. Refuses to make up what cannot be read.

use std::fs::{File, Permissions};
use std::io::{BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rollout_core::{Event, EventKind, FlagName, LogOptions};

use super::backup::{self, About, Encoder};
use super::directory::{create_private, sync_directory};
use super::record::decode_event;
use super::{Age, Entry, Hash, Head, Quarantined, Standing, StoreError};

/// What a rollout that was set aside was about: as much as must be known to look after its flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Its deployment, by the name in the plan.
    pub deployment: String,
    /// Where that deployment answered.
    pub url: String,
    /// The flags of its plan; which of them are on is not known.
    pub flags: Vec<FlagName>,
}

/// Reads what a rollout in quarantine was about; `dir` is the store's directory. `None` where its first entry was not to be read,
/// or is not kept here, as after a restore on another machine.
pub fn salvaged(dir: &Path, aside: &Quarantined) -> Option<Salvaged> {
    let kept = dir.join(&aside.place).join(format!("{}.backup", aside.rollout));
    let first = backup::first_entry(&mut BufReader::new(File::open(kept).ok()?)).ok()??;
    let EventKind::RolloutCreated { plan, url, .. } = decode_event(&first).ok()?.kind else {
        return None;
    };
    Some(Salvaged { deployment: plan.deployment.clone(), url, flags: plan.flags() })
}

/// Writes `<dir>/r2.backup` and `<dir>/r2.md`, durably.
pub(super) fn keep_readable(
    dir: &Path,
    aside: &Quarantined,
    entries: &[(Entry, Hash)],
) -> Result<(), StoreError> {
    create_private(dir).map_err(StoreError::io(KEEPING))?;
    let rollout = aside.rollout;
    write(&dir.join(format!("{rollout}.md")), page(aside, entries).as_bytes())?;
    if let Some((last, hash)) = entries.last() {
        let head = Head { rollout, seq: last.seq, hash: *hash, standing: Standing::Live };
        let about =
            About { made_at: 0, version: env!("CARGO_PKG_VERSION").into(), age: Age::default() };
        let mut encoder = Encoder::new();
        let mut bytes = encoder.begin(&about);
        bytes.extend(encoder.rollout(&head, entries.iter().map(|(entry, _)| entry)));
        bytes.extend(encoder.end(&[], &[]));
        write(&dir.join(format!("{rollout}.backup")), &bytes)?;
    }
    sync_directory(dir)
}

/// What could be read, in words.
fn page(aside: &Quarantined, entries: &[(Entry, Hash)]) -> String {
    let rollout = aside.rollout;
    let events: Result<Vec<Event>, _> =
        entries.iter().map(|(entry, _)| decode_event(&entry.payload)).collect();
    let log = match &events {
        Ok(events) if !events.is_empty() => rollout_core::log(events, LogOptions::default()),
        Ok(_) => "No entry of this rollout can be read.\n".to_owned(),
        Err(error) => format!("The readable entries cannot be shown: {error}\n"),
    };
    let readable = entries.len();
    format!(
        "# {rollout} is quarantined\n\n{}.\n\nEntries that can be read: {readable}. What the rollout did after them is not \
         known here: it may have turned more flags on than this page shows, or put them back. Compare with the deployment \
         (`npx convex env list --prod`). What follows is its log up to entry {readable}.\n\n---\n\n{log}",
        aside.why
    )
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create(path).map_err(StoreError::io(KEEPING))?;
    file.write_all(bytes).map_err(StoreError::io(KEEPING))?;
    let private = Permissions::from_mode(0o600);
    file.set_permissions(private).map_err(StoreError::io(KEEPING))?;
    file.sync_all().map_err(StoreError::io(KEEPING))
}

const KEEPING: &str = "keep what can be read of a damaged rollout";
