//! The harness of the end-to-end tests: the real binaries from outside, a real socket, real files, real SIGKILL.
//!
//! A [`World`] is one temporary directory with one deployment (the emulator, in the test's process) and one daemon (a child
//! process). Time runs faster in both by the same three numbers. Nothing here sleeps: a test waits for entries of the
//! event stream, and every wait has an end.
//!
//! This is test code in a library: what goes wrong panics with everything that helps to find out why. The daemon's
//! messages are printed when a test fails.

mod ctl;
mod daemon;
mod emulator;
mod figures;
mod interrupt;
mod plans;
pub mod power_cut;
mod prometheus;
mod run;
mod shim;
pub mod systemd;
mod tool;
pub mod torn;
mod workshop;
mod world;

pub use ctl::Finished;
pub use daemon::{Daemon, Stillborn};
pub use emulator::{EmulatorProcess, Traffic};
pub use figures::{Row, table};
pub use interrupt::until_interrupted;
pub use plans::{GATED, PhaseSpec, SMALLEST, plan};
pub use prometheus::PrometheusProcess;
pub use run::{Run, moment_of, settled_rows, text_of, verdict_of};
pub use shim::{Call, Counts, DiskError, Faults, Moment};
pub use tool::{Tool, everything_is_required, has_all, say};
pub use workshop::{Workshop, finish};
pub use world::{Programs, Setting, World};
