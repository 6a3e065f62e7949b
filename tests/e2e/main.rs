//! End to end: the promises of the product, each one tried on the real binaries over a real socket.

#![expect(clippy::unwrap_used, reason = "all of this is a test; a panic is how it fails")]

mod backup;
mod backup_dark;
mod bad_input;
mod breach;
mod calls;
mod changes;
mod cli;
mod credentials;
mod damage;
mod demo;
mod doctor;
mod endpoints;
mod faults;
mod init;
mod kill_and_resume;
mod night;
mod notices;
mod outage;
mod stopped;
mod strange_health;

use rollout_e2e::Programs;

/// The binaries that cargo built for these tests.
const PROGRAMS: Programs = Programs {
    rolloutd: env!("CARGO_BIN_EXE_e2e-rolloutd"),
    rolloutctl: env!("CARGO_BIN_EXE_e2e-rolloutctl"),
};
