//! Tests of what the pure parts decide together.

mod document;
mod figures;
mod tail;
