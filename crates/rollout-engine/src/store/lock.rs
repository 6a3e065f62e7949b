//! Owns who may use a store's directory: one process at a time.
//!
//! Two things in the file `lock` say that somebody uses it. A lock of the system, which goes with the open file. And a
//! signature, with the holder's pid, when it was started, and in which boot, so that no other process can be taken for it: a
//! daemon that has lost its disk closes its store and drives rollouts on, and an open file would keep the file system from
//! being unmounted and repaired. Whoever meets the signature of a process that still runs is refused.
//!
//! A signature is removed with the lock, unless it is to stand until the process ends (`Tenure::OfTheProcess`).

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process;

use super::{StoreError, Tenure};

/// A directory that this process holds.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    tenure: Tenure,
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
        if let Some(other) = found.filter(|found| found.pid != process::id() && found.still_runs())
        {
            return Err(StoreError::Bereft { pid: other.pid });
        }
        let text = Signature::of_process(process::id()).map_or_else(
            // Without /proc there is only the lock.
            || format!("{}\n", process::id()),
            |own| own.to_string(),
        );
        // Over the old text, so that no room has to be found on a full disk.
        file.rewind().map_err(&locking)?;
        file.write_all(text.as_bytes()).map_err(&locking)?;
        file.set_len(text.len() as u64).map_err(&locking)?;
        Ok(Self { file, tenure })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.tenure == Tenure::OfTheStore {
            // On a disk that cannot be written it stays; it says nothing once this process has ended.
            drop(self.file.set_len(0));
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
        (!has_ended).then(|| Self { pid, life: format!("{started} {}", boot.trim()) })
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.take(SIGNATURE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        Some(Self { pid, life: lines.next().unwrap_or_default().to_owned() })
    }

    fn still_runs(&self) -> bool {
        Self::of_process(self.pid).as_ref() == Some(self)
    }
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n", self.pid, self.life)
    }
}

/// Fields of `/proc/PID/stat` between the state of a process and when it was started.
const STARTED_AFTER_STATE: usize = 18;
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
}
