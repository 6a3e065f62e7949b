//! Owns everything that can keep the demo from its end.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use convex_emulator::EmulatorError;
use rollout_api::client::ClientError;
use rollout_api::plan::PlanErrors;

/// Why the demo did not come to its end. The engine's last words are part of the message where it has any.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("cannot read the guide's plan")]
    Plan(#[source] PlanErrors),

    #[error("cannot write {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("cannot set up the process")]
    Process {
        #[source]
        source: io::Error,
    },

    #[error("cannot start the deployment")]
    Emulator(#[from] EmulatorError),

    #[error("the engine ended by itself with {status}; its last words:\n{words}")]
    EngineDied { status: ExitStatus, words: String },

    #[error("the engine was not ready within {secs} s; its last words:\n{words}")]
    EngineNotReady { secs: u64, words: String },

    #[error("the engine closed the event stream but still runs; its last words:\n{words}")]
    StreamEnded { words: String },

    #[error(
        "nothing happened for {secs} s, though a check was due; the engine's last words:\n{words}"
    )]
    Silence { secs: u64, words: String },

    #[error("entry {seq} of the event stream has no readable time")]
    NotAnEntry { seq: u64 },

    #[error("the rollout has not ended after {days} days")]
    Overdue { days: i64 },

    #[error("the engine does not answer as it should")]
    Client(#[from] ClientError),

    #[error("the rollout waits for a person, which this scenario does not have: {}", holds.join("; "))]
    Held { holds: Vec<String> },

    #[error("the rollout did not go as the scenario says: {}", faults.join("; "))]
    NotAsTold { faults: Vec<String> },
}
