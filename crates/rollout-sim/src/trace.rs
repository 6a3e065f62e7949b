//! Owns what a run leaves behind: a digest that two runs of one seed must share, and lines for people.

use std::collections::VecDeque;
use std::fmt;

use jiff::Timestamp;

/// Lines kept when nobody reads along; shown when a check fails.
const LINES_MAX: usize = 60;

/// A running digest of everything that was recorded and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds bytes (FNV-1a).
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest {:016x}", self.0)
    }
}

/// How much is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing, for speed; a failing seed is run again.
    Nothing,
    /// The last lines.
    Last,
    /// Every line, as it happens, on standard output.
    All,
}

/// The lines.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    detail: Detail,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, lines: VecDeque::new() }
    }

    pub(crate) fn note(&mut self, now: Timestamp, line: impl FnOnce() -> String) {
        match self.detail {
            Detail::Nothing => {}
            Detail::All => println!("{now:.3} {}", line()),
            Detail::Last => {
                if self.lines.len() == LINES_MAX {
                    self.lines.pop_front();
                }
                self.lines.push_back(format!("{now:.3} {}", line()));
            }
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
