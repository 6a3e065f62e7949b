//! Owns how a store is made from a backup: checked whole first, built beside what is there, put in its place at the end.
//!
//! Refuses a directory that a daemon holds, and one that holds a store unless that is to be moved away. Never deletes a store.

use std::fs::{self, File};
use std::io::{BufReader, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::directory::Directory;
use super::super::rebuild::Rebuild;
use super::super::replace;
use super::super::sled::holds_a_store;
use super::hold::{HoldOrder, hold_live};
use super::read::{self, Item};
use super::{BackupError, Contents};

/// What to do with a store that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Keep,
    /// Move it to `<dir>.before-restore-<n>`.
    MoveAway,
}

/// What becomes of the rollouts that were live.
#[derive(Clone, Debug)]
pub enum Then {
    /// Each is held before anybody drives it: flags that are on are watched, and none is turned on.
    Hold(HoldOrder),
    /// They go on where they stood: nothing happened since the backup that they do not know of.
    GoOn,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub contents: Contents,
    /// Where the store is that was there before, or what was left of one.
    pub moved_to: Option<PathBuf>,
}

/// Makes the store in `dir` from the backup in `file`. Its hash chains are computed anew and compared with the backup's;
/// what `then` adds comes behind.
///
/// # Errors
/// `RO0209` for a damaged, foreign or later backup, `RO0204` when the directory is held or occupied, `RO0205` for the disk.
/// The store that was there is untouched then.
pub fn restore(
    dir: &Path,
    file: &mut File,
    existing: Existing,
    then: &Then,
) -> Result<Restored, BackupError> {
    let contents = read::check(&mut BufReader::new(&mut *file))?;
    file.rewind().map_err(|source| BackupError::Io { source: Arc::new(source) })?;
    let directory = Directory::claim_to_replace(dir)?;
    replace::finish(&directory)?;
    let is_occupied = holds_a_store(dir);
    if is_occupied && existing == Existing::Keep {
        return Err(BackupError::Occupied);
    }
    build(&directory, file, &contents, then).inspect_err(|_| replace::discard(&directory))?;
    let aside = free_name(dir);
    directory.wait_for_database()?;
    replace::exchange(&directory, &aside)?;
    // Where there was nothing, nothing was moved: only an empty directory goes.
    let is_empty = !is_occupied && fs::remove_dir(&aside).is_ok();
    Ok(Restored { contents, moved_to: (!is_empty).then_some(aside) })
}

fn build(
    directory: &Directory,
    file: &File,
    contents: &Contents,
    then: &Then,
) -> Result<(), BackupError> {
    let mut rebuild = Rebuild::begin(directory, contents.about.age)?;
    let mut keys = Vec::new();
    read::walk(&mut BufReader::new(file), &mut |item| {
        match item {
            Item::Entry(rollout, payload) => rebuild.entry(rollout, payload)?,
            Item::Head(head) => rebuild.head(head)?,
            Item::Key(key) => keys.push(key),
        }
        Ok(())
    })?;
    if let Then::Hold(order) = then {
        hold_live(rebuild.store(), order)?;
    }
    Ok(rebuild.finish(&keys, &contents.quarantined)?)
}

/// `store.before-restore-1` beside `store`, or with the next number that is free.
fn free_name(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number: u64| dir.with_file_name(format!("{name}.before-restore-{number}"));
    let mut number = 1;
    while numbered(number).exists() {
        number += 1;
    }
    numbered(number)
}
