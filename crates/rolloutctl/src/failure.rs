//! Owns how a command fails: what is said, and with which exit code.

use std::io;
use std::path::PathBuf;

use rollout_api::client::ClientError;
use rollout_api::{Code, Exit, Problem};

use crate::cli::Format;
use crate::io::Io;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon refused, failed, or is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Data could not be printed.
    #[error("failed to print")]
    Print(#[from] io::Error),
    /// A file could not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command line makes no sense, beyond what its grammar can tell.
    #[error("{0}")]
    Usage(String),
    /// The asynchronous runtime could not be started.
    #[error("failed to start")]
    Runtime(#[source] io::Error),
}

impl Failure {
    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(ClientError::Unreachable { .. }) => Exit::Unreachable,
            Self::Client(ClientError::Problem(problem)) => problem.exit(),
            // Whoever reads our output has seen enough; that is no failure.
            Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Client(ClientError::Protocol { .. })
            | Self::Print(_)
            | Self::Write { .. }
            | Self::Runtime(_) => Exit::Failed,
            Self::Read { .. } | Self::Usage(_) => Exit::Usage,
        }
    }

    /// True when the daemon may be there again in a moment.
    pub(crate) fn may_pass(error: &ClientError) -> bool {
        match error {
            ClientError::Unreachable { .. } => true,
            ClientError::Problem(problem) => problem.known_code() == Some(Code::ShuttingDown),
            ClientError::Protocol { .. } => false,
        }
    }

    /// Says what went wrong and what to do about it.
    pub(crate) fn report(&self, format: Format, io: &mut Io<'_>) {
        match (self, format) {
            (Self::Client(ClientError::Problem(problem)), Format::Json) => {
                io.say(&serde_json::to_string(problem).unwrap_or_else(|_| problem.to_string()));
            }
            (Self::Client(ClientError::Problem(problem)), Format::Text) => {
                io.say(&in_words(problem))
            }
            (Self::Client(error @ ClientError::Unreachable { .. }), _) => {
                io.say(&unreachable(error))
            }
            (Self::Print(error), _) if error.kind() == io::ErrorKind::BrokenPipe => {}
            (
                Self::Client(_)
                | Self::Print(_)
                | Self::Read { .. }
                | Self::Write { .. }
                | Self::Usage(_)
                | Self::Runtime(_),
                _,
            ) => {
                io.say(&chain(self));
            }
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A problem in words: what, why, and what would be accepted.
fn in_words(problem: &Problem) -> String {
    let is_refusal = matches!(problem.exit(), Exit::Refused | Exit::Usage);
    let verdict = if is_refusal { "refused" } else { "failed" };
    let mut lines = vec![format!("{verdict}: {problem}")];
    lines.extend(problem.sources.iter().map(|cause| format!("  because: {cause}")));
    for found in &problem.violations {
        let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        lines.push(format!("  {}: {}{hint}", found.pointer, found.message));
    }
    if !problem.allowed.is_empty() {
        lines.push(format!("  allowed now: {}", problem.allowed.join(", ")));
    }
    lines.join("\n")
}

/// One clear line with the way out.
fn unreachable(error: &ClientError) -> String {
    let ClientError::Unreachable { socket, source } = error else { return chain(error) };
    let socket = socket.display();
    match error.io_kind() {
        Some(io::ErrorKind::NotFound) => format!(
            "no daemon: there is no socket {socket}; start it with `systemctl start rolloutd`, or name its socket with --socket"
        ),
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("no daemon: nobody listens on {socket}; look at `systemctl status rolloutd`")
        }
        Some(io::ErrorKind::PermissionDenied) => format!(
            "no access to {socket}; ask to be added to the group that owns it (see `ls -l {socket}`)"
        ),
        Some(_) | None if source.is_timeout() => {
            format!("rolloutd does not answer on {socket}; look at `journalctl -u rolloutd`")
        }
        Some(_) | None => format!("{}; look at `systemctl status rolloutd`", chain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(problem: Problem, format: Format) -> (String, Exit) {
        let failure = Failure::Client(ClientError::Problem(Box::new(problem)));
        let (mut out, mut talk) = (Vec::new(), Vec::new());
        failure.report(format, &mut Io::new(&mut out, &mut talk));
        assert!(out.is_empty(), "a refusal is talk, not data");
        (String::from_utf8(talk).unwrap(), failure.exit())
    }

    #[test]
    fn a_refusal_says_why_and_what_is_allowed() {
        let refusal = Problem::new(Code::RefusedNow, "phase 2 is not rolled back")
            .with_allowed(vec!["hold".into(), "abort".into()]);
        let words = "refused: phase 2 is not rolled back (RO0301)\n  allowed now: hold, abort\n";
        assert_eq!(said(refusal.clone(), Format::Text), (words.to_string(), Exit::Refused));
        let (json, _) = said(refusal.clone(), Format::Json);
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), refusal);
    }

    #[test]
    fn a_failure_of_the_daemon_shows_its_causes() {
        let disk_full = io::Error::other("no space left on device");
        let error = Failure::Read { path: "store".into(), source: disk_full };
        let problem = Problem::new(Code::StoreIo, "failed to append").with_sources_of(&error);
        let words = "failed: failed to append (RO0205)\n  because: no space left on device\n";
        assert_eq!(said(problem, Format::Text), (words.to_string(), Exit::Failed));
    }

    #[test]
    fn a_daemon_that_shuts_down_may_come_back() {
        let problem = |code| ClientError::Problem(Box::new(Problem::new(code, "x")));
        assert!(Failure::may_pass(&problem(Code::ShuttingDown)));
        assert!(!Failure::may_pass(&problem(Code::UnknownRollout)));
        assert_eq!(Failure::from(problem(Code::ShuttingDown)).exit(), Exit::Unreachable);
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit(), Exit::Done);
        assert_eq!(Failure::from(io::Error::other("disk full")).exit(), Exit::Failed);
    }
}
