//! Owns a door for `fuzz/`: a whole daemon in the fuzzer's process, so that coverage of its routes is seen. Not part of the
//! product: only built with the feature `fuzzing`.

use std::path::Path;
use std::sync::Arc;

use rollout_engine::SystemClock;
use tokio::sync::oneshot;

use crate::config::{Config, Surroundings};
use crate::serve::Daemon;

/// A daemon that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    _stop: oneshot::Sender<()>,
}

impl Running {
    /// Starts a daemon with the configuration in this file. Must run inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration, or why it did not start, in words.
    pub async fn start(config: &Path) -> Result<Self, String> {
        let config = Config::read(config, &Surroundings::default()).map_err(|e| e.to_string())?;
        let started = Daemon::start(config, Arc::new(SystemClock::new())).await;
        let daemon = started.map_err(|error| error.to_string())?;
        let (stop, told) = oneshot::channel::<()>();
        tokio::spawn(daemon.run(async move { drop(told.await) }));
        Ok(Self { _stop: stop })
    }
}
