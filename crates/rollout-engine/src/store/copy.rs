//! Owns a copy of a store's files that is looked at in place of them: sled writes to whatever it opens, and cuts its file off
//! behind the first bad place, so only what is in a copy can be read without a change.
//!
//! The copy is in `examined/` in the store's directory, where there is the same file system and the same owner. It is gone
//! again with the value; what a crash left of one is removed by the next opening. Refuses to copy a store that is held.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::directory::{Directory, create_private};
use super::replace;

/// A copy of a store's files, held with the directory that it was made of.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    /// Only for its lock: nobody may write to the files while they are copied, nor take this copy for a leftover.
    _of: &'a Directory,
    path: PathBuf,
}

impl<'a> Copy<'a> {
    /// Copies what an opening of `directory` would open.
    ///
    /// # Errors
    /// `RO0205`; without room for a second set of the files it says so, and nothing is left of the copy.
    pub(super) fn of(directory: &'a Directory) -> Result<Self, StoreError> {
        directory.wait_for_database()?;
        let path = directory.path().join(EXAMINED);
        replace::remove(&path)?;
        let parts = replace::parts(directory)?;
        let copying = StoreError::io(COPYING);
        create_private(&path).map_err(&copying)?;
        let copy = Self { _of: directory, path };
        for part in parts {
            copy_all(&part, &copy.path, &replace::KEPT).map_err(&copying)?;
        }
        Ok(copy)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next opening.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Copies everything in `from` but `left_out`. Where the file system can, the copies share their blocks with the originals.
fn copy_all(from: &Path, to: &Path, left_out: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if left_out.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let to = to.join(&name);
        match entry.file_type()?.is_dir() {
            true => {
                create_private(&to)?;
                copy_all(&entry.path(), &to, &[])?;
            }
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

/// Where the copy is, in the store's directory.
pub(super) const EXAMINED: &str = "examined";
/// What fails where there is no room.
const COPYING: &str = "copy the store in order to check it";

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn read(copy: &Copy<'_>, name: &str) -> String {
        fs::read_to_string(copy.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn a_copy_holds_what_an_opening_would_open_and_goes_again() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::claim(dir.path()).unwrap();
        let leftover = ("examined/db", "of a crash");
        fill(dir.path(), &[("db", "old"), ("blobs/1", "b"), ("quarantine/1/db", "q"), leftover]);
        fill(dir.path(), &[("rebuild/db", "new"), ("reserve", "noise")]);
        let copy = Copy::of(&directory).unwrap();
        assert_eq!((read(&copy, "db"), read(&copy, "blobs/1")), ("old".into(), "b".into()));
        for name in ["quarantine", "rebuild", "reserve", "lock", "examined"] {
            assert!(!copy.path().join(name).exists(), "{name}");
        }
        drop(copy);
        assert!(!dir.path().join(EXAMINED).exists());
        assert_eq!(fs::read_to_string(dir.path().join("db")).unwrap(), "old");
    }

    /// An exchange that was cut short is not finished by looking at it.
    #[test]
    fn an_exchange_that_has_begun_is_copied_as_it_will_end() {
        for marker in ["exchange", "exchange.moved"] {
            let dir = tempfile::tempdir().unwrap();
            let directory = Directory::claim(dir.path()).unwrap();
            let aside = dir.path().join("aside");
            let text = format!("rolloutd store exchange 1\n{}\n", aside.display());
            fill(dir.path(), &[(marker, &text), ("conf", "there"), ("rebuild/db", "new")]);
            let copy = Copy::of(&directory).unwrap();
            // Before the marker says `moved`, what lies beside it is old.
            let there = if marker == "exchange" { "" } else { "there" };
            assert_eq!((read(&copy, "db"), read(&copy, "conf")), ("new".into(), there.into()));
            assert!(!copy.path().join(marker).exists());
            drop(copy);
            assert!(dir.path().join(marker).exists() && !aside.exists());
        }
    }
}
