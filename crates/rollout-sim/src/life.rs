//! Owns one life of the daemon's process: the real engine on a runtime of its own, which ends with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rollout_engine::store::Writer;
use rollout_engine::store::memory::MemoryDisk;
use rollout_engine::{Engine, Handle, pass_alarms_on};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::adapter::Performer;
use crate::clock::SimClock;
use crate::disk::{SimSource, SimStore};
use crate::world::Shared;

/// A running process.
pub(crate) struct Life {
    runtime: Runtime,
    idle: Arc<Notify>,
    died: Arc<AtomicBool>,
    handle: Arc<Mutex<Option<Handle>>>,
    ended: Arc<Mutex<Option<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Life {
    /// Starts a process on this disk and lets it come to rest.
    pub(crate) fn start(world: &Shared, clock: &Arc<SimClock>, disk: &MemoryDisk) -> Self {
        let idle = Arc::new(Notify::new());
        let parks = Arc::clone(&idle);
        // The runtime parks its one thread exactly when no task can go on without something from outside.
        let runtime = Builder::new_current_thread()
            .enable_time()
            .on_thread_park(move || parks.notify_one())
            .build()
            .expect("a runtime without sockets needs nothing that could be missing");
        let died = Arc::new(AtomicBool::new(false));
        Writer::inline_on_this_thread(&died);
        let (handle, ended) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let store = Box::new(SimStore::open(disk, world, &died));
        let survives = world.lock().script.trouble.survives;
        let source = survives.then(|| Arc::new(SimSource::new(disk, world, &died)));
        let (performer, alarms) = Performer::new(world, clock, &died);
        let performer = Arc::new(performer);
        let (clock, shown, end) = (Arc::clone(clock), Arc::clone(&handle), Arc::clone(&ended));
        let task = runtime.spawn(async move {
            let opened = match source {
                Some(source) => Engine::open_with(store, source, clock, performer).await,
                None => Engine::open(store, clock, performer).await,
            };
            let ended = match opened {
                Ok((engine, handle)) => {
                    // Ends with the runtime, if not before.
                    tokio::spawn(pass_alarms_on(alarms, handle.clone(), std::future::pending()));
                    put(&shown, handle);
                    engine.run().await
                }
                Err(error) => Err(error),
            };
            put(&end, ended.map_or_else(|error| format!("{error:?}"), |()| "told to".to_owned()));
        });
        let life = Self { runtime, idle, died, handle, ended, task };
        life.settle();
        life
    }

    /// Lets every task go on until none can.
    pub(crate) fn settle(&self) {
        self.runtime.block_on(self.idle.notified());
    }

    /// Lets a person do something beside the engine.
    pub(crate) fn beside(
        &self,
        what: impl FnOnce(Handle) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    ) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(handle) = handle {
            self.runtime.spawn(what(handle));
        }
    }

    /// True once the process died in the middle of something.
    pub(crate) fn is_dead(&self) -> bool {
        self.died.load(Ordering::Relaxed)
    }

    /// True when the engine's task ended without a word, which only a panic does.
    pub(crate) fn has_panicked(&self) -> bool {
        self.task.is_finished() && self.ended().is_none()
    }

    /// Why the process ended by itself, if it did.
    pub(crate) fn ended(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn put<T>(place: &Mutex<Option<T>>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}
