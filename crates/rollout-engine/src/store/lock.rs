//! Owns who may use a store's directory: one process at a time.
//!
//! Two things in the file `lock` say that somebody uses it. A lock of the system, which goes with the open file. And a
//! signature, with the holder's pid, when it was started, and in which boot, so that no other process can be taken for it: a
//! daemon that has lost its disk closes its store and drives rollouts on, and an open file would keep the file system from
//! being unmounted and repaired. Whoever meets the signature of a process that still runs is refused.
//!
//! A signature is removed with the lock, unless it is to stand until the process ends (`Tenure::OfTheProcess`).
//!
//! A third line, `suspect`, says that a write to the store has failed in that boot: what is read from the cache may not be on the
//! disk. It is written over what the file holds already, without a sync: it is about the cache, and goes with it.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process;

use super::{StoreError, Tenure};

/// A directory that this process holds.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    tenure: Tenure,
    is_suspect: Cell<bool>,
}

impl Lock {
    /// Takes the lock of the directory `path`.
    ///
    /// # Errors
    /// `RO0204` when another process holds it, or has lost its store and is going to take it again; `RO0205` for the disk.
    pub(super) fn take(path: &Path, tenure: Tenure) -> Result<Self, StoreError> {
        let locking = StoreError::io("lock the store directory");
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(&locking)?;
        let found = match file.try_lock() {
            Ok(()) => Signature::read(&mut file),
            Err(TryLockError::WouldBlock) => {
                let holder = Signature::read(&mut file);
                return Err(StoreError::Locked { pid: holder.map(|holder| holder.pid) });
            }
            Err(TryLockError::Error(error)) => return Err(locking(error)),
        };
        if let Some(other) =
            found.as_ref().filter(|found| found.pid != process::id() && found.still_runs())
        {
            return Err(StoreError::Bereft { pid: other.pid });
        }
        let is_suspect = Cell::new(found.is_some_and(|found| found.is_suspect_still()));
        let lock = Self { file, tenure, is_suspect };
        lock.sign(process::id()).map_err(&locking)?;
        Ok(lock)
    }

    /// Whether a write to the store has failed in this boot, and nobody has made up for it.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect.get()
    }

    /// Remembers, for whoever takes the lock next in this boot, whether a write to the store has failed.
    pub(super) fn suspect(&self, is_suspect: bool) {
        if self.is_suspect.replace(is_suspect) != is_suspect {
            // A disk that does not take even this is not readable by anybody else either before it is mounted anew.
            drop(self.sign(process::id()));
        }
    }

    /// Over the old text, so that no room has to be found on a full disk.
    fn sign(&self, pid: u32) -> io::Result<()> {
        let own = Signature::of_process(process::id());
        // Without /proc there is only the lock.
        let life = own.map_or_else(String::new, |own| own.life);
        let text = Signature { pid, life, is_suspect: self.is_suspect.get() }.to_string();
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.tenure == Tenure::OfTheStore {
            // On a disk that cannot be written it stays; it says nothing once this process has ended.
            drop(match self.is_suspect.get() {
                true => self.sign(NOBODY),
                false => self.file.set_len(0),
            });
        }
        // Closing alone would leave the lock to a process that is being forked off at this moment.
        drop(self.file.unlock());
    }
}

/// Names one process, and no other one at any other time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    pid: u32,
    /// When it was started and in which boot; empty where an older version signed.
    life: String,
    /// Whether a write to the store failed while it held the lock.
    is_suspect: bool,
}

impl Signature {
    /// The process that has this pid now; `None` when there is none that runs.
    fn of_process(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        // The name of the program may hold anything, and ends with the last bracket.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let has_ended = ["Z", "X"].contains(&fields.next()?);
        let started = fields.nth(STARTED_AFTER_STATE)?;
        let life = format!("{started} {}", boot.trim());
        (!has_ended).then_some(Self { pid, life, is_suspect: false })
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.take(SIGNATURE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let life = lines.next().unwrap_or_default().to_owned();
        Some(Self { pid, life, is_suspect: lines.next() == Some(SUSPECT) })
    }

    fn still_runs(&self) -> bool {
        Self::of_process(self.pid).is_some_and(|now| now.life == self.life)
    }

    /// Whether what was suspect may be in the cache still: a boot that is over took it along.
    fn is_suspect_still(&self) -> bool {
        let boot = |life: &str| life.rsplit(' ').next().map(str::to_owned);
        let now = Self::of_process(process::id());
        self.is_suspect && now.is_none_or(|now| boot(&now.life) == boot(&self.life))
    }
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n{}", self.pid, self.life, if self.is_suspect { "suspect\n" } else { "" })
    }
}

/// Fields of `/proc/PID/stat` between the state of a process and when it was started.
const STARTED_AFTER_STATE: usize = 18;
const SUSPECT: &str = "suspect";
/// The pid of no process, under a mark that outlives its writer.
const NOBODY: u32 = 0;
/// Longest signature that is read.
const SIGNATURE_BYTES_MAX: u64 = 128;

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sign(dir: &Path, signature: &Signature) {
        fs::write(dir.join("lock"), signature.to_string()).unwrap();
    }

    #[test]
    fn the_signature_of_another_process_stands_as_long_as_that_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let signature = Signature::of_process(other.id()).unwrap();
        sign(dir.path(), &signature);
        for tenure in [Tenure::OfTheStore, Tenure::OfTheProcess] {
            let refused = Lock::take(dir.path(), tenure).unwrap_err();
            assert!(
                matches!(refused, StoreError::Bereft { pid } if pid == other.id()),
                "{refused}"
            );
            assert_eq!(refused.code(), "RO0204");
        }
        // Another process with the same number, as after a reboot.
        sign(dir.path(), &Signature { life: "1 another-boot".into(), ..signature.clone() });
        drop(Lock::take(dir.path(), Tenure::OfTheStore).unwrap());
        sign(dir.path(), &signature);
        other.kill().unwrap();
        other.wait().unwrap();
        drop(Lock::take(dir.path(), Tenure::OfTheStore).unwrap());
    }

    #[test]
    fn a_signature_goes_with_the_lock_or_with_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let text = || fs::read_to_string(dir.path().join("lock")).unwrap();
        let lock = Lock::take(dir.path(), Tenure::OfTheProcess).unwrap();
        let held = Lock::take(dir.path(), Tenure::OfTheStore).unwrap_err();
        assert!(matches!(held, StoreError::Locked { pid } if pid == Some(process::id())), "{held}");
        drop(lock);
        assert!(text().starts_with(&format!("{}\n", process::id())), "{}", text());
        drop(Lock::take(dir.path(), Tenure::OfTheStore).unwrap());
        assert_eq!(text(), "");
        // As an older version signed.
        fs::write(dir.path().join("lock"), "1\n").unwrap();
        drop(Lock::take(dir.path(), Tenure::OfTheStore).unwrap());
    }

    #[test]
    fn a_suspicion_outlives_its_process_and_not_its_boot() {
        let dir = tempfile::tempdir().unwrap();
        let take = |tenure| Lock::take(dir.path(), tenure).unwrap();
        assert!(!take(Tenure::OfTheProcess).is_suspect());
        take(Tenure::OfTheProcess).suspect(true);
        for tenure in [Tenure::OfTheStore, Tenure::OfTheProcess, Tenure::OfTheStore] {
            assert!(take(tenure).is_suspect(), "until somebody made up for it");
        }
        let own = Signature::of_process(process::id()).unwrap();
        let (started, boot) = own.life.split_once(' ').unwrap();
        let other = |life: String| Signature { pid: NOBODY, life, is_suspect: true };
        sign(dir.path(), &other(format!("1{started} {boot}")));
        assert!(take(Tenure::OfTheStore).is_suspect(), "a process of this boot");
        sign(dir.path(), &other(format!("{started} another-boot")));
        assert!(!take(Tenure::OfTheStore).is_suspect(), "that cache is gone");
        take(Tenure::OfTheStore).suspect(true);
        take(Tenure::OfTheStore).suspect(false);
        assert!(!take(Tenure::OfTheStore).is_suspect());
    }
}
