//! Owns how a rollout looks as text: calm, aligned, 80 columns. Pure: API types in, text out.

pub(crate) mod detail;
pub(crate) mod list;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod starting_plan;
pub(crate) mod status;
mod table;
pub(crate) mod time;
pub(crate) mod wrap;
