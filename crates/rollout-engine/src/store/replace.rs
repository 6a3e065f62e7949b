//! Owns the exchange of a store's files for others that were built beside them: whole or not at all, through any crash.
//!
//! The new files are complete in `rebuild/`. Once a file could be moved to where the old ones go, `exchange` is written, which
//! names that place: from here on the exchange happens, now or at the next opening, unless not even the first file moves. First the old files are moved away, then `exchange` becomes
//! `exchange.moved`, then the new ones are moved in, and the marker is removed. So at each moment it is known whose the files
//! in the directory are. Without a marker a `rebuild/` is what a crash left of an attempt, and is removed.
//!
//! Refuses nothing and deletes nothing that ever was a store. Runs under the directory's lock.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::copy::EXAMINED;
use super::directory::{Directory, Repair, create_private, sync_directory};

/// An empty place beside the store's files, for the new ones.
pub(super) fn fresh_place(directory: &Directory) -> Result<PathBuf, StoreError> {
    let place = directory.path().join(REBUILD);
    remove(&place)?;
    Ok(place)
}

/// Removes new files that are not going to be used. The disk may be full because of them.
pub(super) fn discard(directory: &Directory) {
    // What cannot be removed now is removed at the next opening.
    drop(remove(&directory.path().join(REBUILD)));
}

/// Puts the files in `rebuild/` in the place of the store's, which go to `aside`, where nothing may be yet. When that fails
/// before a file was moved, it has not begun: the store is what it was.
pub(super) fn exchange(directory: &Directory, aside: &Path) -> Result<(), StoreError> {
    let writing = "write down the exchange of the store";
    let path = directory.path();
    sync_directory(&path.join(REBUILD))?;
    // Whoever finishes it may have been started in another directory.
    let aside = std::path::absolute(aside).map_err(StoreError::io(writing))?;
    let done = begin(directory, &aside).and_then(|()| finish(directory).map(drop));
    let Err(error) = done else { return Ok(()) };
    // Only an empty directory goes, so when this succeeds no file was moved.
    let is_untouched = !aside.exists() || fs::remove_dir(&aside).is_ok();
    if is_untouched && !path.join(MOVED).exists() {
        remove(&path.join(BEGUN))?;
        remove(&path.join(DRAFT))?;
        directory.sync()?;
        discard(directory);
    }
    Err(error)
}

/// Makes sure that files can be moved to `aside`, then writes the marker.
fn begin(directory: &Directory, aside: &Path) -> Result<(), StoreError> {
    let writing = "write down the exchange of the store";
    let (path, draft) = (directory.path(), directory.path().join(DRAFT));
    let mut file = File::create(&draft).map_err(StoreError::io(writing))?;
    let text = format!("{WORDS}{}\n", aside.display());
    file.write_all(text.as_bytes()).map_err(StoreError::io(writing))?;
    file.sync_all().map_err(StoreError::io(writing))?;
    make_place(path, aside)?;
    // A store that is a mount of its own, or lies behind a link, cannot be moved to another file system.
    let trying = "try to move the old store's files aside (store and state directory must be on one file system)";
    let there = aside.join(DRAFT);
    fs::rename(&draft, &there).map_err(StoreError::io(trying))?;
    fs::rename(&there, &draft).map_err(StoreError::io(trying))?;
    fs::rename(&draft, path.join(BEGUN)).map_err(StoreError::io(writing))?;
    directory.sync()
}

/// Makes the directory `aside`, durably: files are going to be moved into it that must not go with it.
fn make_place(path: &Path, aside: &Path) -> Result<(), StoreError> {
    let moving = "make a place for the old store's files";
    create_private(aside).map_err(StoreError::io(moving))?;
    let path = std::path::absolute(path).map_err(StoreError::io(moving))?;
    for parent in aside.ancestors().skip(1) {
        sync_directory(parent)?;
        // What the store is in was there before.
        if path.starts_with(parent) {
            break;
        }
    }
    Ok(())
}

/// Finishes an exchange that was begun; removes what is left of one that was not, and of a copy that was looked at.
pub(super) fn finish(directory: &Directory) -> Result<Option<Repair>, StoreError> {
    let moving = "exchange the store's files";
    let (path, rebuild) = (directory.path(), directory.path().join(REBUILD));
    let (begun, moved) = (path.join(BEGUN), path.join(MOVED));
    remove(&path.join(EXAMINED))?;
    if let Some(aside) = destination(&begun)? {
        make_place(path, &aside)?;
        move_all(path, &aside, &KEPT)?;
        fs::rename(&begun, &moved).map_err(StoreError::io(moving))?;
        directory.sync()?;
    }
    if destination(&moved)?.is_none() {
        remove(&rebuild)?;
        return Ok(None);
    }
    if rebuild.exists() {
        move_all(&rebuild, path, &["lock"])?;
        remove(&rebuild)?;
    }
    fs::remove_file(&moved).map_err(StoreError::io(moving))?;
    directory.sync()?;
    Ok(Some(Repair::ExchangeFinished))
}

/// The directories whose files together are the store, the later ones over the earlier ones, as [`finish`] would leave it.
/// Changes nothing.
pub(super) fn parts(directory: &Directory) -> Result<Vec<PathBuf>, StoreError> {
    let (path, rebuild) = (directory.path().to_owned(), directory.path().join(REBUILD));
    if destination(&path.join(BEGUN))?.is_some() {
        return Ok(vec![rebuild]);
    }
    let is_cut_short = destination(&path.join(MOVED))?.is_some() && rebuild.exists();
    Ok(if is_cut_short { vec![path, rebuild] } else { vec![path] })
}

/// Where the old files go; `None` without a marker.
fn destination(marker: &Path) -> Result<Option<PathBuf>, StoreError> {
    let text = match fs::read_to_string(marker) {
        Ok(text) => text,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read the exchange of the store")(error)),
    };
    let place = text.strip_prefix(WORDS).and_then(|rest| rest.strip_suffix('\n'));
    let damaged = || StoreError::unreadable(format!("{} makes no sense", marker.display()));
    place.map(PathBuf::from).map(Some).ok_or_else(damaged)
}

/// Moves everything in `from` but `kept` into `to`, durably.
fn move_all(from: &Path, to: &Path, kept: &[&str]) -> Result<(), StoreError> {
    let moving = "exchange the store's files";
    for entry in fs::read_dir(from).map_err(StoreError::io(moving))? {
        let name = entry.map_err(StoreError::io(moving))?.file_name();
        if !kept.iter().any(|kept| name == *kept) {
            fs::rename(from.join(&name), to.join(&name)).map_err(StoreError::io(moving))?;
        }
    }
    sync_directory(to)?;
    sync_directory(from)
}

/// Removes what a crash left of a rebuild or of a copy.
pub(super) fn remove(place: &Path) -> Result<(), StoreError> {
    let removed = match place.is_dir() {
        true => fs::remove_dir_all(place),
        false => fs::remove_file(place),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove what was left in the directory of the store")(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

const REBUILD: &str = "rebuild";
const BEGUN: &str = "exchange";
const MOVED: &str = "exchange.moved";
const DRAFT: &str = "exchange.new";
/// What stays in the directory, whoever the files belong to.
pub(super) const KEPT: [&str; 9] =
    ["lock", "quarantine", REBUILD, BEGUN, MOVED, DRAFT, EXAMINED, "reserve", "reserve.new"];
const WORDS: &str = "rolloutd store exchange 1\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::claim(dir.path()).unwrap();
        for (name, text) in [("db", "old"), ("anchor", "old"), ("rebuild/db", "new")] {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), text).unwrap();
        }
        (dir, directory)
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn an_exchange_that_was_cut_short_anywhere_is_finished() {
        for stop in 0..4 {
            let (dir, directory) = prepared();
            let aside = dir.path().join("quarantine/1/store");
            let marker = format!("{WORDS}{}\n", aside.display());
            let at = |name: &str| dir.path().join(name);
            if stop < 3 {
                fs::write(at(BEGUN), &marker).unwrap();
            }
            if stop >= 1 {
                fs::create_dir_all(&aside).unwrap();
                fs::rename(at("db"), aside.join("db")).unwrap();
            }
            if stop >= 2 {
                fs::rename(at("anchor"), aside.join("anchor")).unwrap();
            }
            if stop == 3 {
                fs::write(at(MOVED), &marker).unwrap();
                fs::rename(at("rebuild/db"), at("db")).unwrap();
            }
            assert_eq!(finish(&directory).unwrap(), Some(Repair::ExchangeFinished), "{stop}");
            assert_eq!(read(at("db")), "new", "{stop}");
            assert_eq!(read(aside.join("db")), "old", "{stop}");
            assert_eq!(read(aside.join("anchor")), "old", "{stop}");
            assert!(!at("anchor").exists() && !at(REBUILD).exists(), "{stop}");
            assert_eq!(finish(&directory).unwrap(), None, "{stop}");
        }
    }

    #[test]
    fn an_exchange_is_made_once_and_leaves_no_marker() {
        let (dir, directory) = prepared();
        let aside = dir.path().join("quarantine/1/store");
        exchange(&directory, &aside).unwrap();
        assert_eq!(read(dir.path().join("db")), "new");
        assert_eq!(read(aside.join("db")), "old");
        let markers = [BEGUN, MOVED, DRAFT].map(|name| dir.path().join(name).exists());
        assert_eq!(markers, [false; 3]);
        assert!(!aside.join(DRAFT).exists());
    }

    #[test]
    fn an_exchange_that_cannot_be_made_is_never_begun() {
        let (dir, directory) = prepared();
        fs::write(dir.path().join("file"), "no directory").unwrap();
        for _ in 0..2 {
            exchange(&directory, &dir.path().join("file/store")).unwrap_err();
            assert!(!dir.path().join(BEGUN).exists());
            assert_eq!(finish(&directory).unwrap(), None);
            assert_eq!(read(dir.path().join("db")), "old");
            assert_eq!(read(dir.path().join("anchor")), "old");
            fs::create_dir_all(dir.path().join(REBUILD)).unwrap();
        }
    }

    #[test]
    fn what_was_not_begun_changes_nothing() {
        let (dir, directory) = prepared();
        assert_eq!(finish(&directory).unwrap(), None);
        assert_eq!(read(dir.path().join("db")), "old");
        assert!(!dir.path().join(REBUILD).exists());
    }
}
