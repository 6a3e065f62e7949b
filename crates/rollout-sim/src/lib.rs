//! Runs the real core, engine, adapter encoding and emulator core in one thread, on simulated time, without sockets.
//!
//! A seed draws plans, orders, faults, crashes, power cuts, clock jumps and downtime (`script.rs`); an outsider who trusts
//! nothing that the engine says of itself checks the design's invariants after every step (`invariants.rs`); once faults stop,
//! every rollout must come to its end. The same seed gives the same run to the byte.
//!
//! * [`run`] runs one seed, [`command`] many: `cargo run --profile proof -p rollout-sim -- --help`.
//! * [`mutants_command`] puts known mistakes into a copy of the tree and shows that the checks find them.
//!
//! What is real: core, engine, driver, adapter encoding, emulator core. What is simulated: time, network, disk, people. What it
//! cannot find: mistakes of sled, of sockets, of threads; those have tests of their own with the real binaries.

mod adapter;
mod book;
mod calls;
mod changes;
mod cli;
mod clock;
mod counts;
mod dice;
mod disk;
mod invariants;
mod life;
mod mutants;
mod net;
mod observer;
mod operator;
mod plans;
mod polls;
mod run;
mod script;
mod sources;
mod trace;
mod view;
mod world;

pub use cli::{Args, command, past_failures};
pub use mutants::{Mutant, MutantArgs, MutantsError, mutants, mutants_command};
pub use run::{Failure, Report, run};
pub use trace::{Detail, Digest};
