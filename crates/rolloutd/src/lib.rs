//! The daemon: configuration, wiring, the HTTP routes of `/v1` on a unix socket, and the talk with systemd.
//!
//! Decides nothing about rollouts: the engine does. This crate only puts the parts together (`wiring`), lets people in
//! (`routes`, `access`) and shows them what there is (`view`).

mod access;
mod backup;
mod cli;
mod clock;
mod config;
mod credential;
pub mod demo;
mod doctor;
mod endpoints;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod observe;
mod place;
mod quarantine;
mod restore;
mod routes;
mod serve;
mod socket;
mod summary;
mod systemd;
mod telemetry;
mod verify;
mod view;
mod wiring;

#[cfg(test)]
mod tests;

pub use cli::main;
