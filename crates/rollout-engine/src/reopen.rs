//! Owns the port through which a store that failed is opened again, and through which the reserve on its disk is kept.
//!
//! The driver decides when; an implementation does one try and never repeats it. Futures, so that a disk that hangs keeps
//! nobody from watching.

use std::future::Future;
use std::pin::Pin;

use crate::store::{Store, StoreError};

/// A store on its way to be open.
pub type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Store>, StoreError>> + Send>>;
/// The reserve on its way to its full size.
pub type Refilling = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Where a store comes from once the one that the engine began with has failed.
pub trait OpenStore: Send + Sync + 'static {
    /// Opens the store again after it failed with `after`, once. The old one is closed by then. Where the disk is full, the
    /// reserve is spent first.
    ///
    /// What is read from the store that this gives must be what is on the disk, not what a failed write left in a cache.
    fn open(&self, after: &StoreError) -> Opening;

    /// Makes sure that the reserve is there. Fails while there is no room for it and for as much again.
    fn refill(&self) -> Refilling;
}
