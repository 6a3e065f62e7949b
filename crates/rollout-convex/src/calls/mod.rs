//! Owns health without code of the app: the stream of executions and the deployment's own metrics.
//!
//! Pure parts decide what entries and minutes mean; `follow` and `metrics` carry them. Refuses to tell what was not seen:
//! a loss makes counts unknown, too few calls show nothing, silence is never a pass.

mod alarm;
mod completion;
mod figures;
mod follow;
mod metrics;
mod minutes;
mod news;
mod samples;
mod seen;
mod skew;
mod tail;
mod told;

#[cfg(test)]
mod tests;

pub(crate) use follow::Stream;
pub(crate) use tail::Moment;
pub use told::{Lack, Told};
