//! Owns the reserve: a file that takes up room in the store's directory, so that there is some when the disk is full. And
//! the way to open a store on disk again after it failed.
//!
//! The file is written, not sparse, and hard to compress, so that removing it frees its size. Whoever spends it must win
//! room for it and for as much again before it is there again: otherwise a full disk would be met at every commit anew.
//!
//! After a failed write or sync, what the system has in its cache may not be on the disk, and may be taken for clean. So
//! the store's files are written afresh (`afresh.rs`) before they are opened and believed: here after a failure, and at the first opening where the
//! process before has seen one in this boot.

use std::fs::{self, File, OpenOptions as FileOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use super::afresh::{has_failed, write_afresh};
use super::directory::Directory;
use super::opening::{OnDamage, OpenOptions, OpenReport, Tenure};
use super::sled::SledStore;
use super::{Store, StoreError};
use crate::reopen::{OpenStore, Opening, Refilling};

/// Size of the reserve. A reading takes about 2 KiB of it (ADR 0012 has the measurement).
pub const RESERVE_BYTES: u64 = 8 << 20;

/// A store directory as the place to open a store from, again and again.
#[derive(Clone, Debug)]
pub struct SledSource {
    dir: PathBuf,
    options: OpenOptions,
    /// Whether the reserve was needed: then room for as much again is asked for before it counts as back.
    was_needed: Arc<AtomicBool>,
}

impl SledSource {
    /// The store in `dir`. This process holds the directory until it ends, whatever `options` says of that: between two
    /// openings rollouts are driven on.
    pub fn new(dir: &Path, options: OpenOptions) -> Self {
        let options = OpenOptions { tenure: Tenure::OfTheProcess, ..options };
        Self { dir: dir.to_owned(), options, was_needed: Arc::new(AtomicBool::new(false)) }
    }

    /// The same place; from now on nothing damaged is set aside. Whoever drives rollouts must not lose one on the way.
    #[must_use]
    pub fn refusing_damage(mut self) -> Self {
        self.options.damage = OnDamage::Refuse;
        self
    }

    /// Opens the store for the first time; on a full disk the reserve is spent for it. What is left of a store whose creation
    /// was cut short is set aside: it never held anything. Blocking.
    ///
    /// # Errors
    ///
    /// Those of [`SledStore::open`].
    pub fn open_now(&self) -> Result<(SledStore, OpenReport), StoreError> {
        // Written last, so a store without them was never complete, and nothing in it was ever acknowledged; but for one
        // that is being exchanged, whose files are elsewhere for a moment.
        let signs = ["format", "anchor", "exchange", "exchange.moved"];
        let was_complete = signs.iter().any(|name| self.dir.join(name).exists());
        if SledStore::is_in(&self.dir) {
            self.make_up_for(Known::FromBefore)?;
        }
        let opened = self.open_and_spend(was_complete);
        if let Err(StoreError::Io { .. }) = &opened
            && let Ok(directory) = Directory::claim_for(&self.dir, self.options.tenure)
        {
            directory.suspect();
        }
        opened
    }

    fn open_and_spend(&self, was_complete: bool) -> Result<(SledStore, OpenReport), StoreError> {
        match SledStore::open(&self.dir, self.options) {
            Err(full) if full.is_disk_full() && self.spend()? == Spent::Now => {
                SledStore::open(&self.dir, self.options)
            }
            Err(damaged) if !was_complete && damaged.code() == "RO0202" => {
                self.set_aside().map_err(StoreError::io("set an unfinished store aside"))?;
                SledStore::open(&self.dir, self.options)
            }
            opened => opened,
        }
    }

    /// Moves what sled left of a creation to `quarantine/unfinished-N`.
    fn set_aside(&self) -> io::Result<()> {
        let quarantine = self.dir.join("quarantine");
        let free = (1_u32..).map(|n| quarantine.join(format!("unfinished-{n}")));
        let to = free.into_iter().find(|to| !to.exists()).unwrap_or(quarantine);
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let is_of_sled = name.to_str().is_some_and(|name| {
                ["db", "conf", "blobs"].contains(&name) || name.starts_with("snap.")
            });
            if is_of_sled {
                fs::rename(self.dir.join(&name), to.join(&name))?;
            }
        }
        warn!(to = %to.display(), "the store was never finished; it held nothing and is begun anew");
        File::open(&self.dir)?.sync_all()
    }

    fn open_again(&self, after: &StoreError) -> Result<Box<dyn Store>, StoreError> {
        // A file system that is not mounted looks like an empty directory; a new store must not be begun there.
        fs::metadata(self.dir.join("format")).map_err(StoreError::io("find the store again"))?;
        if after.is_disk_full() {
            self.spend()?;
        }
        self.make_up_for(Known::FromHere)?;
        let (store, _) = self.open_now()?;
        Ok(Box::new(store))
    }

    /// Removes the reserve, so that its room can be written; and what a crash left of a new one, which takes up as
    /// much.
    fn spend(&self) -> Result<Spent, StoreError> {
        self.was_needed.store(true, Ordering::Relaxed);
        let spending = StoreError::io("spend the reserve");
        let mut spent = Spent::Before;
        for name in [RESERVE_FILE, DRAFT_FILE] {
            match fs::remove_file(self.dir.join(name)) {
                Ok(()) => spent = Spent::Now,
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(spending(error)),
            }
        }
        if spent == Spent::Now {
            // So that the room is free now, not when the file system gets round to it.
            File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(spending)?;
        }
        Ok(spent)
    }

    fn fill(&self) -> Result<(), StoreError> {
        let filling = "allocate the reserve";
        let (place, draft) = (self.dir.join(RESERVE_FILE), self.dir.join(DRAFT_FILE));
        if fs::metadata(&place).is_ok_and(|found| found.len() == RESERVE_BYTES) {
            return Ok(());
        }
        let slack = match self.was_needed.load(Ordering::Relaxed) {
            true => RESERVE_BYTES,
            false => 0,
        };
        let filled = write_noise(&draft, RESERVE_BYTES + slack)
            .and_then(|file| file.set_len(RESERVE_BYTES).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&draft, &place))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        filled.map_err(|error| {
            self.was_needed.store(true, Ordering::Relaxed);
            // Half a reserve would only make the disk fuller.
            let _ = fs::remove_file(&draft);
            StoreError::io(filling)(error)
        })
    }

    /// Writes the store's files afresh, where a write to them has failed.
    fn make_up_for(&self, failure: Known) -> Result<(), StoreError> {
        let directory = Directory::claim_for(&self.dir, self.options.tenure)?;
        // Noted also where this process has seen the failure: it may end before the files are written, and not every
        // failure came back from a commit.
        if failure == Known::FromHere || has_failed(&directory) {
            directory.suspect();
        }
        if !directory.is_suspect() {
            return Ok(());
        }
        write_afresh(&directory)?;
        if failure == Known::FromBefore {
            warn!("a write to the store had failed before; its files were written afresh");
        }
        directory.trust();
        Ok(())
    }
}

impl OpenStore for SledSource {
    fn open(&self, after: &StoreError) -> Opening {
        let (source, after) = (self.clone(), after.clone());
        Box::pin(async move { beside(move || source.open_again(&after)).await })
    }

    fn refill(&self) -> Refilling {
        let source = self.clone();
        Box::pin(async move { beside(move || source.fill()).await })
    }
}

/// Whether there was a reserve to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    Now,
    Before,
}

/// Whose failed write it may be that has to be made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// This process has seen one.
    FromHere,
    /// The process before may have.
    FromBefore,
}

/// Does what may wait for a disk on a thread that may wait.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(StoreError::Panicked { message: panic.to_string() }))
}

/// A file of `length` bytes that no file system can shrink, on disk when this returns.
fn write_noise(path: &Path, length: u64) -> io::Result<File> {
    let mut file =
        FileOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut left = length;
    let mut state = NOISE_SEED;
    let mut block = vec![0; BLOCK_BYTES];
    while left > 0 {
        for bytes in block.chunks_exact_mut(8) {
            // xorshift64; what it says does not matter, only that it says nothing twice.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        let length = usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        file.write_all(&block[..length])?;
        left -= length as u64;
    }
    file.sync_all()?;
    Ok(file)
}

const RESERVE_FILE: &str = "reserve";
const DRAFT_FILE: &str = "reserve.new";
const BLOCK_BYTES: usize = 64 << 10;
const NOISE_SEED: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_reserve_takes_up_its_room_and_is_spent_once() {
        let dir = tempfile::tempdir().unwrap();
        let source = SledSource::new(dir.path(), OpenOptions::default());
        source.fill().unwrap();
        let found = fs::metadata(dir.path().join(RESERVE_FILE)).unwrap();
        assert_eq!(found.len(), RESERVE_BYTES);
        assert!(found.blocks() * 512 >= RESERVE_BYTES, "really allocated: {}", found.blocks());
        assert_eq!(source.spend().unwrap(), Spent::Now);
        assert_eq!(source.spend().unwrap(), Spent::Before);
        // A process that dies while it fills one leaves it, on a disk that is full because of it.
        fs::write(dir.path().join(DRAFT_FILE), "half a reserve").unwrap();
        assert_eq!(source.spend().unwrap(), Spent::Now);
        assert!(!dir.path().join(DRAFT_FILE).exists());
        source.fill().unwrap();
        assert!(!dir.path().join(DRAFT_FILE).exists());
        assert_eq!(fs::metadata(dir.path().join(RESERVE_FILE)).unwrap().len(), RESERVE_BYTES);
    }

    #[test]
    fn a_store_whose_creation_was_cut_short_is_begun_anew_and_a_damaged_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let source = SledSource::new(dir.path(), OpenOptions::default());
        fs::write(dir.path().join("conf"), "half of what was to be here").unwrap();
        fs::write(dir.path().join("db"), [7; 100]).unwrap();
        drop(source.open_now().unwrap());
        assert!(dir.path().join("quarantine/unfinished-1/conf").exists());
        fs::write(dir.path().join("conf"), "half of what was to be here").unwrap();
        assert_eq!(source.open_now().unwrap_err().code(), "RO0202");
    }

    /// All files of the old store are moved away, and none of the new one is in yet: no sign of a store that was
    /// complete.
    #[test]
    fn a_store_that_is_being_exchanged_is_not_taken_for_one_that_never_was() {
        let dir = tempfile::tempdir().unwrap();
        let source = SledSource::new(dir.path(), OpenOptions::default());
        let marker = "rolloutd store exchange 1\n/nowhere/that/is/used\n";
        fs::write(dir.path().join("exchange.moved"), marker).unwrap();
        fs::create_dir(dir.path().join("rebuild")).unwrap();
        fs::write(dir.path().join("rebuild/conf"), "damaged since").unwrap();
        fs::write(dir.path().join("rebuild/db"), [7; 100]).unwrap();
        assert_eq!(source.open_now().unwrap_err().code(), "RO0202");
        assert_eq!(fs::read(dir.path().join("db")).unwrap(), [7; 100], "moved in, and kept");
        assert!(!dir.path().join("quarantine").exists());
    }

    /// Not every failure comes back from a commit, and the process may end before it has written the files.
    #[test]
    fn a_failure_is_noted_before_the_files_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let source = SledSource::new(dir.path(), OpenOptions::default());
        drop(source.open_now().unwrap());
        let is_suspect =
            || Directory::claim_for(dir.path(), Tenure::OfTheProcess).unwrap().is_suspect();
        // What stands in the way of a new file.
        fs::create_dir(dir.path().join("conf.afresh")).unwrap();
        let panicked = StoreError::Panicked { message: "in the middle of a write".into() };
        assert_eq!(source.open_again(&panicked).err().map(|error| error.code()), Some("RO0205"));
        assert!(is_suspect());
        fs::remove_dir(dir.path().join("conf.afresh")).unwrap();
        drop(source.open_now().unwrap());
        assert!(!is_suspect());
    }

    #[test]
    fn a_store_is_written_afresh_after_a_failure_seen_here_or_before() {
        let dir = tempfile::tempdir().unwrap();
        let source = SledSource::new(dir.path(), OpenOptions::default());
        let place = || fs::metadata(dir.path().join("db")).unwrap().ino();
        drop(source.open_now().unwrap());
        let first = place();
        drop(source.open_now().unwrap());
        assert_eq!(place(), first, "nothing has failed");
        let broken = StoreError::io("commit")(io::Error::other("gone"));
        assert!(source.open_again(&broken).unwrap().heads().unwrap().is_empty());
        let second = place();
        assert_ne!(second, first);
        Directory::claim_for(dir.path(), Tenure::OfTheProcess).unwrap().suspect();
        drop(source.open_now().unwrap());
        let third = place();
        assert_ne!(third, second, "the process before has seen a failure");
        drop(source.open_now().unwrap());
        assert_eq!(place(), third, "made up for");
    }
}
