//! Conformance: Convex's own command line, unmodified from the registry, against the real emulator; and our adapter
//! against the same. Neither can tell the emulator from a deployment, and the deployment sees the same from both.
//!
//! Needs node and what `tests/conformance/setup` installs; `just conformance` does all of it.

#![expect(clippy::unwrap_used, reason = "all of this is a test; a panic is how it fails")]

mod adapter;
mod follower;
mod module;
mod on_the_wire;
mod scripts;
mod stage;
mod transcript;

use std::path::Path;

use rollout_e2e::Workshop;

/// The emulator that cargo built for these tests.
const EMULATOR: &str = env!("CARGO_BIN_EXE_e2e-convex-emulator");

/// Convex's own tools, or one line that says that they are missing.
fn workshop(test: &str) -> Option<Workshop> {
    Workshop::find(test, Path::new(EMULATOR))
}
