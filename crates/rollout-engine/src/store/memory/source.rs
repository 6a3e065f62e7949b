//! Owns the memory disk as a place to open a store from again: what stays broken until it is healed, and its reserve.

use std::future::ready;
use std::io;

use super::{Failure, MemoryDisk, StoreError, injected};
use crate::reopen::{OpenStore, Opening, Refilling};

/// What stays broken after the commit that failed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The store can be opened, and no commit succeeds.
    Commits,
    /// The store cannot be opened.
    Opening,
}

/// A memory disk that stores are opened from again and again.
#[derive(Clone, Debug)]
pub struct MemorySource {
    disk: MemoryDisk,
}

#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// What will be broken once the first commit has failed.
    planned: Option<Broken>,
    broken: Option<Broken>,
    has_no_room: bool,
}

impl Trouble {
    /// The first commit fails now.
    pub(super) fn begin(&mut self) {
        self.broken = self.planned.take();
    }

    pub(super) fn check_commit(&self) -> Result<(), StoreError> {
        match self.broken {
            Some(_) => Err(injected()),
            None => Ok(()),
        }
    }
}

impl MemoryDisk {
    /// Makes the `nth` commit from now (1 is the next) fail, and from then on all that `broken` says, until the disk is
    /// healed.
    pub fn fail_commits_from(&self, nth: u64, failure: Failure, broken: Broken) {
        self.fail_commit(nth, failure);
        self.platters().trouble.planned = Some(broken);
    }

    /// Takes away the room for the reserve, or gives it back.
    pub fn set_room(&self, has_room: bool) {
        self.platters().trouble.has_no_room = !has_room;
    }

    /// True while commits fail until the disk is healed.
    pub fn is_broken(&self) -> bool {
        self.platters().trouble.broken.is_some()
    }

    /// Ends every failure, also one that is still to come.
    pub fn heal(&self) {
        let mut platters = self.platters();
        platters.failing = None;
        platters.trouble = Trouble::default();
    }

    /// The place to open a store from again.
    pub fn source(&self) -> MemorySource {
        MemorySource { disk: self.clone() }
    }
}

impl OpenStore for MemorySource {
    fn open(&self, _: &StoreError) -> Opening {
        let mut platters = self.disk.platters();
        if platters.trouble.broken == Some(Broken::Opening) {
            return Box::pin(ready(Err(injected())));
        }
        // As on disk: what is read from a store that was opened again is made durable first.
        platters.sync();
        drop(platters);
        Box::pin(ready(Ok(Box::new(self.disk.open()) as _)))
    }

    fn refill(&self) -> Refilling {
        let platters = self.disk.platters();
        let is_full = platters.trouble.has_no_room || platters.trouble.broken.is_some();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        Box::pin(ready(match is_full {
            true => Err(StoreError::io("allocate the reserve")(full())),
            false => Ok(()),
        }))
    }
}
