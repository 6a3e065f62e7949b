//! Tests of what the pure parts decide together.

mod figures;
mod tail;
