//! The state machine from outside: scripts over a small world, the whole state × input table, and random scripts against a
//! naive model.

mod fixtures;
mod model;
mod random;
mod scenarios;
mod table;
mod world;
