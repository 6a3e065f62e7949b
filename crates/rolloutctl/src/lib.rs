//! The control CLI: parse, call, print. Thin on purpose.
//!
//! **Promise**: stdout is data, stderr is talk, and the exit code says how it ended ([`rollout_api::Exit`]). Nothing is
//! decided here: the daemon refuses, and this says why and what it would accept instead.
//!
//! [`run`] is the whole program with everything outside of it passed in; [`main`] passes in the process.

mod cli;
mod commands;
mod diagnose;
mod env;
mod failure;
mod follow;
mod io;
mod render;
mod run;

pub use env::{Env, Screen};
pub use io::Io;
pub use run::{main, run};
