//! Owns what the daemon says about itself: one line per event on standard error, for people and for the journal.
//!
//! Under systemd lines carry their priority and no time of their own, since the journal adds it. Colours only on a
//! terminal. Nothing here ever sees a secret: keys do not leave the adapter.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Names how much is said: `error`, `warn`, `info` (the default) or `debug`.
const LEVEL_VARIABLE: &str = "ROLLOUTD_LOG";

/// A level that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{LEVEL_VARIABLE} is `{0}`; it can be error, warn, info or debug")]
pub(crate) struct NoSuchLevel(String);

/// Lines as the journal wants them: a priority in front, no time.
struct ForJournal(Format<Full, ()>);

/// Starts saying things. Does nothing the second time.
///
/// # Errors
///
/// [`NoSuchLevel`] when the environment names one.
pub(crate) fn begin() -> Result<(), NoSuchLevel> {
    let level = level(std::env::var(LEVEL_VARIABLE).ok().as_deref())?;
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    let begun = if std::env::var_os("JOURNAL_STREAM").is_some() {
        let format = Format::default().without_time().with_level(false).with_ansi(false);
        let builder = builder.with_ansi(false).event_format(ForJournal(format));
        tracing::subscriber::set_global_default(builder.finish())
    } else {
        let builder = builder.with_ansi(io::stderr().is_terminal()).with_target(false);
        tracing::subscriber::set_global_default(builder.finish())
    };
    // Only tests begin twice, and the first one is as good.
    begun.ok();
    Ok(())
}

/// An error with its causes, nearest first, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut last = line.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        // A transparent error repeats its cause.
        let words = cause.to_string();
        if words != last && !last.ends_with(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        last = words;
    }
    line
}

fn level(named: Option<&str>) -> Result<Level, NoSuchLevel> {
    match named.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "info") => Ok(Level::INFO),
        Some("error") => Ok(Level::ERROR),
        Some("warn") => Ok(Level::WARN),
        Some("debug") => Ok(Level::DEBUG),
        Some(other) => Err(NoSuchLevel(other.to_owned())),
    }
}

/// The number that syslog gives a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words() {
        assert_eq!(level(None).unwrap(), Level::INFO);
        assert_eq!(level(Some("DEBUG")).unwrap(), Level::DEBUG);
        let refused = level(Some("loud")).unwrap_err().to_string();
        assert_eq!(refused, "ROLLOUTD_LOG is `loud`; it can be error, warn, info or debug");
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to open the store")]
        struct Outer(#[source] Middle);
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Middle(#[from] io::Error);
        let error = Outer(Middle(io::Error::other("disk on fire")));
        assert_eq!(chain(&error), "failed to open the store: disk on fire");
    }
}
