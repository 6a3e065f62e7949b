//! Owns the writer without a thread, for simulations: a request is served in the task that makes it, so that a run depends
//! on nothing but its inputs.
//!
//! A simulated process can die in the middle of a commit: once `died` is set, no request is answered any more, as nobody is
//! there to answer.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Keeper, Request, StoreError, answer};

thread_local! {
    static HERE: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// A store that is worked on in the callers' tasks.
#[derive(Clone)]
pub(super) struct Inline {
    keeper: Arc<Mutex<Option<Keeper>>>,
    died: Arc<AtomicBool>,
}

/// From now on, writers that are spawned on this thread work inline; `died` tells when their process is dead.
pub(super) fn install(died: &Arc<AtomicBool>) {
    HERE.with_borrow_mut(|here| *here = Some(Arc::clone(died)));
}

impl Inline {
    /// Takes the store when inline writers were asked for on this thread, and gives it back otherwise.
    pub(super) fn adopt(keeper: Keeper) -> Result<Self, Keeper> {
        match HERE.with_borrow(Clone::clone) {
            Some(died) => Ok(Self { keeper: Arc::new(Mutex::new(Some(keeper))), died }),
            None => Err(keeper),
        }
    }

    /// Serves one request; its reply is sent before this returns.
    pub(super) async fn serve(&self, request: Request) -> Result<(), StoreError> {
        self.alive().await;
        let served = self.serve_now(request);
        self.alive().await;
        served
    }

    fn serve_now(&self, request: Request) -> Result<(), StoreError> {
        let mut place = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keeper) = place.as_mut() else { return Err(StoreError::Closed) };
        match request {
            Request::Commit(commit) => keeper.commit(vec![commit]),
            Request::Read(read) => keeper.read(read),
            Request::Close { reply } => {
                let closed = place.take().map_or(Ok(()), Keeper::close);
                answer(reply, closed);
            }
        }
        Ok(())
    }

    /// Waits for ever once the process is dead.
    async fn alive(&self) {
        if self.died.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").finish_non_exhaustive()
    }
}
