//! Placeholder.
/// Runs.
pub fn main() {}
