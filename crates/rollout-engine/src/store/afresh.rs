//! Owns the writing of a store's files to new places on the disk, once a write or a sync of them has failed.
//!
//! After such a failure the cache of the system may hold what the disk does not, and take it for clean; and on ext4 a block whose
//! first write failed stays unwritten on the disk however often it is written again through that cache (ADR 0012 has the
//! measurement). A new file that was filled from the cache, synced and put in the place of the old one has no such past: it is on
//! the disk, or its sync says that it is not. So nothing that the cache still has is lost.
//!
//! Runs under the directory's lock, while nothing of the store is open. Refuses to go on behind an error; then the files are the
//! old ones, or the same bytes in new places.

use std::fs::{self, File, OpenOptions as FileOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::Path;

use super::StoreError;
use super::directory::Directory;
use super::error::is_lack_of_room;
use super::{anchor, ledger};

/// Writes every file of the store in `directory` afresh.
///
/// # Errors
/// `RO0205` for the disk, also where the new files cannot be made durable.
pub(super) fn write_afresh(directory: &Directory) -> Result<(), StoreError> {
    directory.wait_for_database()?;
    discard(directory)?;
    for name in names(directory)? {
        one(&directory.path().join(&name))
            .map_err(StoreError::io("write the store's files afresh"))?;
    }
    directory.sync()
}

/// Removes what a crash left of new files. Before anything is opened: sled would take half a snapshot of ours for its
/// newest.
pub(super) fn discard(directory: &Directory) -> Result<(), StoreError> {
    let discarding = StoreError::io("remove half a file of the store");
    for entry in fs::read_dir(directory.path()).map_err(&discarding)? {
        let draft = entry.map_err(&discarding)?.path();
        if draft.extension().is_some_and(|extension| extension == DRAFT) {
            fs::remove_file(draft).map_err(&discarding)?;
        }
    }
    Ok(())
}

/// Whether the system knows of a failed write to the database that it has told nobody yet. It tells it once.
pub(super) fn has_failed(directory: &Directory) -> bool {
    let database = File::open(directory.path().join(DATABASE));
    database.is_ok_and(|file| file.sync_all().is_err())
}

/// The database last: the others are small, and fail first where nothing can be written.
fn names(directory: &Directory) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<_> = ["conf", "format", anchor::FILE_NAME].map(str::to_owned).into();
    names.extend(ledger::FILE_NAMES.map(str::to_owned));
    names.extend(directory.snapshots()?);
    names.push(DATABASE.to_owned());
    Ok(names)
}

fn one(path: &Path) -> io::Result<()> {
    let file = match FileOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let draft = path.with_added_extension(DRAFT);
    let copied = copy(&file, &draft);
    match copied {
        Ok(copy) => {
            // An error of the sync must not be taken for a lack of room that writing in place could do without.
            let placed = copy.sync_all().and_then(|()| fs::rename(&draft, path));
            placed.inspect_err(|_| drop(fs::remove_file(&draft)))
        }
        Err(full) if is_lack_of_room(&full) => {
            fs::remove_file(&draft).ok();
            over_itself(&file)
        }
        Err(error) => {
            fs::remove_file(&draft).ok();
            Err(error)
        }
    }
}

/// Fills a new file. Not with the system's own copy, which may let both files share their blocks.
fn copy(file: &File, draft: &Path) -> io::Result<File> {
    let found = file.metadata()?;
    let mode = found.permissions().mode();
    let mut copy =
        FileOptions::new().write(true).create(true).truncate(true).mode(mode).open(draft)?;
    // Started as root, as a person in trouble may do, it must leave the daemon's user its store. Nobody else can give
    // files away.
    drop(fchown(&copy, Some(found.uid()), Some(found.gid())));
    each_block(file, |block, _| copy.write_all(block))?;
    Ok(copy)
}

/// Without room for a second file: a full disk refuses a write before anything of it is in the cache, so what is there is whole.
fn over_itself(file: &File) -> io::Result<()> {
    each_block(file, |block, at| file.write_all_at(block, at))?;
    file.sync_all()
}

/// Reads a file from its first byte to its last, and hands each block to `visit` with its place.
pub(super) fn each_block(
    file: &File,
    mut visit: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    loop {
        match file.read_at(&mut block, at) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                visit(&block[..length], at)?;
                at += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

const DATABASE: &str = "db";
const DRAFT: &str = "afresh";
const BLOCK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::{OpenOptions, SledStore, Store as _, Survey};

    fn files(dir: &Path) -> BTreeMap<String, (u64, u32, Vec<u8>)> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let read = |entry: fs::DirEntry| {
            let found = entry.metadata().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), (found.ino(), found.mode(), bytes))
        };
        files.map(read).collect()
    }

    #[test]
    fn every_file_of_the_store_is_the_same_in_another_place() {
        let dir = tempfile::tempdir().unwrap();
        SledStore::open(dir.path(), OpenOptions::default()).unwrap().0.close().unwrap();
        let directory = Directory::claim(dir.path()).unwrap();
        directory.wait_for_database().unwrap();
        let before = files(dir.path());
        write_afresh(&directory).unwrap();
        let after = files(dir.path());
        assert!(before.keys().eq(after.keys()), "{:?}", after.keys());
        for (name, (place, mode, bytes)) in &before {
            let (now, same_mode, same) = &after[name];
            assert!(bytes == same && mode == same_mode, "{name}");
            assert_eq!(
                name == "lock",
                place == now,
                "{name} must have a new place, the lock its own"
            );
        }
        assert!(before.len() >= 6, "{:?}", before.keys());
        assert!(!has_failed(&directory));
    }

    #[test]
    fn what_root_writes_afresh_still_belongs_to_the_daemons_user() {
        let dir = tempfile::tempdir().unwrap();
        SledStore::open(dir.path(), OpenOptions::default()).unwrap().0.close().unwrap();
        let database = dir.path().join(DATABASE);
        // Only root can give a file away; anybody else keeps their own.
        let is_root = std::os::unix::fs::chown(&database, Some(65_534), Some(65_534)).is_ok();
        let before = fs::metadata(&database).unwrap();
        assert_eq!(is_root, before.uid() == 65_534);
        write_afresh(&Directory::claim(dir.path()).unwrap()).unwrap();
        let after = fs::metadata(&database).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    }

    /// Whoever opens the store next, be it for a backup: sled takes the last file of this name for its newest snapshot.
    #[test]
    fn half_a_new_file_is_gone_before_sled_can_take_it_for_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            SledStore::open(dir.path(), OpenOptions::default()).unwrap().0.close().unwrap();
        }
        let is_snapshot = |name: &String| name.starts_with("snap.");
        let snapshot = files(dir.path()).into_keys().find(is_snapshot).unwrap();
        let halves = [format!("{snapshot}.afresh"), "snap.0.afresh".into(), "db.afresh".into()];
        for read in [SledStore::examine_in_place, |dir: &Path| {
            SledStore::open(dir, OpenOptions::default()).map(|(_, report)| {
                assert_eq!(report.repairs, []);
                Survey::default()
            })
        }] {
            halves.iter().for_each(|half| fs::write(dir.path().join(half), "half").unwrap());
            assert!(read(dir.path()).unwrap().findings.is_empty());
            assert!(halves.iter().all(|half| !dir.path().join(half).exists()));
            assert!(!dir.path().join("quarantine").exists(), "a sound snapshot was moved aside");
        }
    }
}
