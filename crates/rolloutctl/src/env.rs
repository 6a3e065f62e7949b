//! Owns what the program takes from its surroundings: socket, width, height, time zone, whether somebody is looking.
//!
//! Read once at the start; everything below gets it passed in, so that tests can choose it.

use std::env::VarError;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use jiff::tz::TimeZone;

/// Where a daemon listens when nobody says otherwise.
const SOCKET_DEFAULT: &str = "/run/rolloutd/rolloutd.sock";

/// Columns of a page when nobody says otherwise.
const WIDTH_DEFAULT: u16 = 80;

/// The surroundings of one run.
#[derive(Clone, Debug)]
pub struct Env {
    /// The daemon's socket, unless the command line names one.
    pub socket: PathBuf,
    /// Columns that text may take.
    pub width: u16,
    /// Rows of the terminal; `None` = there is none, or it does not say.
    pub rows: Option<u16>,
    /// Zone in which times are shown.
    pub zone: TimeZone,
    /// Where data goes.
    pub stdout: Screen,
    /// Where talk goes.
    pub stderr: Screen,
}

/// What is at the other end of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// A person's terminal.
    Terminal,
    /// A person's terminal, and the person wants no colours (`NO_COLOR`).
    Monochrome,
    /// A file, a pipe, another program.
    Pipe,
}

impl Env {
    /// The surroundings of this process.
    pub fn of_process() -> Self {
        let socket = std::env::var_os("ROLLOUTD_SOCKET").filter(|path| !path.is_empty());
        let columns = std::env::var("COLUMNS")
            .and_then(|text| text.parse().map_err(|_| VarError::NotPresent));
        // Of standard output, and `None` where that is no terminal.
        let size = terminal_size::terminal_size();
        let (columns, rows) = match size {
            Some((width, height)) => (columns.or(Ok(width.0)), Some(height.0)),
            None => (columns, None),
        };
        Self {
            socket: socket.unwrap_or_else(|| OsString::from(SOCKET_DEFAULT)).into(),
            width: columns.unwrap_or(WIDTH_DEFAULT).max(40),
            rows,
            zone: TimeZone::system(),
            stdout: Screen::of(&std::io::stdout()),
            stderr: Screen::of(&std::io::stderr()),
        }
    }
}

impl Screen {
    fn of(output: &impl IsTerminal) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match (output.is_terminal(), no_color) {
            (true, false) => Self::Terminal,
            (true, true) => Self::Monochrome,
            (false, _) => Self::Pipe,
        }
    }
}
