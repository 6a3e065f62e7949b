//! Owns the rollout log: Markdown rendered from the event chain. Same chain, same bytes.
//!
//! It shows what happened and nothing else: no clock, no guess, no second judgement. What the chain does not say is shown as
//! open (⬜). Texts that people or deployments wrote are escaped, so they cannot change the structure of the page; values of
//! variables that are not flags of the plan are never shown.
//!
//! * `story`: the chain told apart by chapter (baseline, attempts at phases, closing, engine),
//! * `sections`: one file per part of the page,
//! * `markdown`, `json`, `shell`, `time`: how things are written down,
//! * `sentence`: one event in one line, for event lists.

mod json;
mod markdown;
mod sections;
mod sentence;
mod shell;
mod story;
mod time;

#[cfg(test)]
mod tests;

use alloc::string::String;

use jiff::tz::Offset;

use crate::event::Event;
use markdown::Page;
use story::Story;
use time::Times;

pub(crate) use sentence::{value_words, write_words};
pub(crate) use shell::env_set;

pub use sentence::{event_name, sentence};

/// How a log is shown. Nothing in it changes what the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Offset from UTC in which times are written; fixed, so that one chain always gives the same bytes.
    pub offset: Offset,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { offset: Offset::UTC }
    }
}

/// Renders the log of a whole journal as Markdown, finished or not.
///
/// A list that is no journal, because it does not begin with the creation of a rollout, gives a page of one sentence.
///
/// ```
/// let page = rollout_core::log(&[], rollout_core::LogOptions::default());
/// assert!(page.starts_with("# Rollout Log\n"));
/// ```
pub fn log(events: &[Event], options: LogOptions) -> String {
    let mut page = Page::new();
    match Story::tell(events) {
        Some(story) => {
            let log = Log { story, times: Times::at(options.offset) };
            sections::write(&mut page, &log);
        }
        None => {
            page.heading(1, "Rollout Log");
            page.paragraph("The journal does not begin with the creation of a rollout.");
        }
    }
    page.finish()
}

/// What every section reads.
struct Log<'a> {
    story: Story<'a>,
    times: Times,
}
