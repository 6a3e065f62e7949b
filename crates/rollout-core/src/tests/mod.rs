//! The state machine from outside: scripts over a small world, the whole state × input table, and random scripts against a
//! naive model.
#![expect(clippy::wildcard_enum_match_arm, reason = "a script picks the few events it is about")]

mod changes;
mod fixtures;
mod model;
mod pace;
mod random;
mod scenarios;
mod smoke;
mod table;
mod time;
mod words;
mod world;
