//! Owns what a source answered, whatever its kind: a document and what it stands on, or why there is none in words.
//!
//! *Missing* and *failed* are kept apart, as in [`Measured`]: a source that answered and had nothing is no defect, and
//! neither is ever a pass or a breach.

use rollout_core::{Basis, Measured, Measurement, MetricQuery, Unit};

use crate::measure::{self, REASON_BYTES_MAX};
use crate::text::clip;
use crate::value::ConvexValue;

/// What a source answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A document that criteria point into.
    Told {
        /// The document; of Prometheus a single number.
        document: ConvexValue,
        /// The time that it speaks for, where the source knows.
        basis: Option<Basis>,
    },
    /// It answered, and there is nothing to be seen.
    Missing(String),
    /// It could not be asked, or answered with something that cannot be used.
    Failed(String),
}

impl Answer {
    /// One measurement for each wanted value.
    pub fn measurements(&self, metrics: &[MetricQuery]) -> Vec<Measurement> {
        let each = metrics.iter().map(|metric| Measurement {
            criterion: metric.criterion.clone(),
            measured: self.measured(&metric.pointer, metric.unit),
            basis: self.basis(),
        });
        each.collect()
    }

    /// The value at a criterion's pointer, in the criterion's unit.
    pub fn measured(&self, pointer: &str, unit: Unit) -> Measured {
        match self {
            Self::Told { document, basis: _ } => measure::measured(document, pointer, unit),
            Self::Missing(words) => Measured::Missing(words.clone()),
            Self::Failed(words) => Measured::Failed(words.clone()),
        }
    }

    /// The time that the answer speaks for, where the source knows.
    pub fn basis(&self) -> Option<Basis> {
        match self {
            Self::Told { document: _, basis } => *basis,
            Self::Missing(_) | Self::Failed(_) => None,
        }
    }

    pub(crate) fn missing(words: &str) -> Self {
        Self::Missing(clip(words, REASON_BYTES_MAX))
    }

    pub(crate) fn failed(words: &str) -> Self {
        Self::Failed(clip(words, REASON_BYTES_MAX))
    }
}

/// A function's end: its result, or why there is none.
impl From<Result<ConvexValue, String>> for Answer {
    fn from(end: Result<ConvexValue, String>) -> Self {
        match end {
            Ok(document) => Self::Told { document, basis: None },
            Err(reason) => Self::failed(&reason),
        }
    }
}
