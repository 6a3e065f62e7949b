//! Owns the store's directory: who may use it, which format it has, and what a crash left lying about in it.
//!
//! Refuses a directory that another process holds or that a later version wrote, before anything in it is changed.
//! Files: `format` (the format as text), `lock` (see `lock.rs`), `anchor` (the witness),
//! `witness.0` and `witness.1` (the ledger), `quarantine/` (what was moved aside), for a moment `rebuild/` and `exchange*`
//! (see `replace.rs`) and `examined/` (see `copy.rs`), and sled's own `db`, `conf`, `snap.*` and `blobs/`.

use std::fmt;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::afresh::each_block;
use super::lock::Lock;
use super::{StoreError, Tenure};

/// What had to be put right before the store could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A snapshot that a crash left half-written was removed. Nothing is lost: it is rebuilt from the log.
    HalfSnapshotRemoved {
        /// Its file name.
        name: String,
    },
    /// A snapshot that was written whole, and not yet under its name when the process died or the power failed, got its name.
    SnapshotNamed {
        /// Its name.
        name: String,
    },
    /// The database could not be opened with its snapshot, so that was moved aside and rebuilt from the log.
    SnapshotQuarantined {
        /// Where it is now.
        to: PathBuf,
    },
    /// The witness was missing or unreadable and was started anew: this once, a lost tail could not be noticed.
    WitnessRestarted,
    /// The file `format` could not be read and was written again, from what the database says.
    FormatRewritten,
    /// An exchange of the store's files that a crash had cut short was finished.
    ExchangeFinished,
    /// Damaged rollouts were set aside, with all files of the damaged store.
    SetAside {
        /// Where they are now.
        to: PathBuf,
        /// How many rollouts.
        rollouts: usize,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HalfSnapshotRemoved { name } => {
                write!(f, "a half-written snapshot, {name}, was removed; it is rebuilt from the log")
            }
            Self::SnapshotNamed { name } => {
                write!(f, "a whole snapshot got its name, {name}, which it did not have yet")
            }
            Self::SnapshotQuarantined { to } => {
                write!(f, "a damaged snapshot was moved to {}; it is rebuilt from the log", to.display())
            }
            Self::WitnessRestarted => f.write_str(
                "the witness was missing or unreadable and begins anew: this once, a lost tail could not be noticed",
            ),
            Self::FormatRewritten => f.write_str("the file `format` could not be read and was written again"),
            Self::ExchangeFinished => {
                f.write_str("a restore or quarantine that had been cut short was finished")
            }
            Self::SetAside { to, rollouts } => {
                let things = if *rollouts == 1 { "rollout was" } else { "rollouts were" };
                write!(f, "{rollouts} damaged {things} set aside, with all files of the store, in {}", to.display())
            }
        }
    }
}

/// A store directory that this process holds.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// What the file `format` said.
    format: FormatFile,
    /// Nobody else may use the directory while there is this.
    lock: Lock,
}

/// What the file `format` says. It is the last thing that a new store gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormatFile {
    /// There is none: no store, or one whose creation was cut short.
    Missing,
    /// One that this build knows.
    Known,
    /// Nothing that makes sense; the database has to say it.
    Garbled,
}

impl Directory {
    /// Creates `path` if need be (mode 0700), checks its format and takes its lock.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        Self::claim_for(path, Tenure::OfTheStore)
    }

    /// As [`Directory::claim`], and says how long this process is taken to hold it.
    pub(super) fn claim_for(path: &Path, tenure: Tenure) -> Result<Self, StoreError> {
        create(path)?;
        let format = check_format(path)?;
        let lock = Lock::take(path, tenure)?;
        Ok(Self { path: path.to_owned(), format, lock })
    }

    /// Takes the lock of `path` whatever it holds: it is going to be replaced.
    pub(super) fn claim_to_replace(path: &Path) -> Result<Self, StoreError> {
        create(path)?;
        let lock = Lock::take(path, Tenure::OfTheStore)?;
        Ok(Self { path: path.to_owned(), format: FormatFile::Garbled, lock })
    }

    /// What the file `format` said when the directory was claimed.
    pub(super) fn format(&self) -> FormatFile {
        self.format
    }

    /// A path below `quarantine/` that does not exist yet.
    pub(super) fn next_quarantine(&self) -> PathBuf {
        let quarantine = self.path.join("quarantine");
        let mut number = 1_u64;
        while quarantine.join(number.to_string()).exists() {
            number += 1;
        }
        quarantine.join(number.to_string())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a write to the store has failed in this boot, and its files were not written afresh since.
    pub(super) fn is_suspect(&self) -> bool {
        self.lock.is_suspect()
    }

    /// Remembers that a write to the store has failed, as well as a disk in trouble lets it.
    pub(super) fn suspect(&self) {
        self.lock.suspect(true);
    }

    /// The store's files were written afresh.
    pub(super) fn trust(&self) {
        self.lock.suspect(false);
    }

    /// Waits until nobody holds the database file. We hold the directory, so that can only be sled's own threads, which
    /// let go of a file some time after its handle was dropped, or a program that ignores our lock.
    pub(super) fn wait_for_database(&self) -> Result<(), StoreError> {
        let waiting = "wait for the database file";
        let file = match File::open(self.path.join("db")) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io(waiting)(error)),
        };
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return file.unlock().map_err(StoreError::io(waiting)),
                Err(TryLockError::WouldBlock) if start.elapsed() < LET_GO_MAX => {
                    thread::sleep(LET_GO_POLL);
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { pid: None }),
                Err(TryLockError::Error(error)) => return Err(StoreError::io(waiting)(error)),
            }
        }
    }

    /// Reads the whole database file, before sled does. What sled cannot read of its log it takes for the end of it,
    /// and overwrites what lies behind: one error of the disk, gone with the next try, would cost every journal. What was
    /// read here comes from the cache when sled asks for it.
    ///
    /// # Errors
    /// `RO0205` for what the disk does not give; nothing was changed.
    pub(super) fn read_database(&self) -> Result<(), StoreError> {
        let reading = StoreError::io(
            "read the database file; nothing was changed, and sled would cut it off where it cannot be read",
        );
        match File::open(self.path.join("db")) {
            Ok(file) => each_block(&file, |_, _| Ok(())).map_err(reading),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(reading(error)),
        }
    }

    /// Sees to snapshots that were being written when the process died. One that is half is removed: with it, sled never
    /// opens again. One that is whole gets its name, durably: sled itself does not wait until the name is on disk before it
    /// overwrites segments that only the snapshot says are not needed, so without this snapshot everything would be lost.
    pub(super) fn settle_snapshots(&self) -> Result<Vec<Repair>, StoreError> {
        let settling = StoreError::io("settle an unfinished snapshot");
        let mut repairs = Vec::new();
        for unfinished in self.snapshots()? {
            let Some(name) = unfinished.strip_suffix(UNFINISHED) else { continue };
            let from = self.path.join(&unfinished);
            if is_whole_snapshot(&from).map_err(&settling)? {
                // It may be whole in the cache alone: the process may have died before sled synced it.
                File::open(&from).and_then(|file| file.sync_all()).map_err(&settling)?;
                fs::rename(&from, self.path.join(name)).map_err(&settling)?;
                repairs.push(Repair::SnapshotNamed { name: name.to_owned() });
            } else {
                fs::remove_file(&from).map_err(&settling)?;
                repairs.push(Repair::HalfSnapshotRemoved { name: unfinished });
            }
        }
        if !repairs.is_empty() {
            self.sync()?;
        }
        Ok(repairs)
    }

    /// Moves all snapshots to `quarantine/<n>/`; `None` when there are none.
    pub(super) fn quarantine_snapshots(&self) -> Result<Option<Repair>, StoreError> {
        let names = self.snapshots()?;
        if names.is_empty() {
            return Ok(None);
        }
        let moving = "move a damaged snapshot aside";
        let to = self.next_quarantine();
        create_private(&to).map_err(StoreError::io(moving))?;
        for name in names {
            fs::rename(self.path.join(&name), to.join(&name)).map_err(StoreError::io(moving))?;
        }
        self.sync()?;
        Ok(Some(Repair::SnapshotQuarantined { to }))
    }

    /// Refuses blobs: sled never syncs them, so whatever is in one may be lost.
    pub(super) fn check_no_blobs(&self) -> Result<(), StoreError> {
        let blobs = self.path.join("blobs");
        let mut entries = match fs::read_dir(blobs) {
            Ok(entries) => entries,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("list blobs/")(error)),
        };
        if entries.next().is_some() {
            return Err(StoreError::unreadable("blobs/ is not empty, and blobs are never synced"));
        }
        Ok(())
    }

    /// Marks the directory as being of this build's format, durably. Written last, once the store is complete.
    pub(super) fn write_format(&self) -> Result<(), StoreError> {
        let path = self.path.join(FORMAT_FILE);
        if self.format == FormatFile::Known && path.exists() {
            return Ok(());
        }
        let writing = "write the store format";
        let draft = self.path.join("format.new");
        let mut file = File::create(&draft).map_err(StoreError::io(writing))?;
        file.write_all(format!("{FORMAT_WORDS}{FORMAT}\n").as_bytes())
            .map_err(StoreError::io(writing))?;
        file.sync_all().map_err(StoreError::io(writing))?;
        fs::rename(&draft, &path).map_err(StoreError::io(writing))?;
        self.sync()
    }

    /// Makes names in the directory durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        sync_directory(&self.path)
    }

    pub(super) fn snapshots(&self) -> Result<Vec<String>, StoreError> {
        let listing = "list the store directory";
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(StoreError::io(listing))? {
            let entry = entry.map_err(StoreError::io(listing))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| name.starts_with("snap."))
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Whether a snapshot of sled is there to its last byte: what it says, its length in 8 bytes, and a checksum in 4.
fn is_whole_snapshot(path: &Path) -> io::Result<bool> {
    let bytes = fs::read(path)?;
    let Some((rest, crc)) = bytes.split_last_chunk::<4>() else { return Ok(false) };
    let Some((snapshot, length)) = rest.split_last_chunk::<8>() else { return Ok(false) };
    let is_whole = u64::from_le_bytes(*length) == snapshot.len() as u64
        && u32::from_le_bytes(*crc) == crc32fast::hash(snapshot);
    Ok(is_whole && !snapshot.is_empty())
}

fn create(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let creating = "create the store directory";
    create_private(path).map_err(StoreError::io(creating))?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_directory(parent),
        None => sync_directory(Path::new(".")),
    }
}

/// Creates a directory that only its owner may look into, and those above it.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io("sync the store directory"))
}

fn check_format(path: &Path) -> Result<FormatFile, StoreError> {
    let mut bytes = Vec::new();
    match File::open(path.join(FORMAT_FILE)) {
        Ok(file) => file
            .take(64)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read the store format"))?,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            return Ok(FormatFile::Missing);
        }
        Err(error) => return Err(StoreError::io("open the store format")(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let number = text.strip_prefix(FORMAT_WORDS).and_then(|rest| rest.strip_suffix('\n'));
    match number.and_then(|number| number.parse().ok()) {
        Some(found) if found > FORMAT => Err(StoreError::TooNew { found, known: FORMAT }),
        Some(FORMAT) => Ok(FormatFile::Known),
        Some(_) | None => Ok(FormatFile::Garbled),
    }
}

/// The format that this build writes, and the newest it opens.
pub(super) const FORMAT: u32 = 1;

/// How long sled's threads may take to let go of a file; milliseconds were seen.
const LET_GO_MAX: Duration = Duration::from_secs(2);
const LET_GO_POLL: Duration = Duration::from_millis(1);

/// What sled puts behind the name of a snapshot that it is writing.
const UNFINISHED: &str = ".generating";
const FORMAT_FILE: &str = "format";
const FORMAT_WORDS: &str = "rolloutd store format ";
