//! Durability, tried on the real binaries: a process that dies anywhere, a disk that forgets.
//!
//! A test binary of its own, because cargo runs one after the other: hundreds of daemons beside them would make tests late
//! that look at the time.

#![expect(clippy::unwrap_used, reason = "all of this is a test; a panic is how it fails")]

mod kill_matrix;
mod no_room;
mod power_cut;
mod systemd;
mod torn_writes;
mod write_back;

use rollout_e2e::Programs;

/// The binaries that cargo built for these tests.
const PROGRAMS: Programs = Programs {
    rolloutd: env!("CARGO_BIN_EXE_e2e-rolloutd"),
    rolloutctl: env!("CARGO_BIN_EXE_e2e-rolloutctl"),
};
