//! Owns the faults of a daemon under test: the library of `tests/shim/faults.c`, built once, and the rules it is given.
//!
//! The daemon is the real binary without any hook; the library stands between it and the kernel. Refuses to go on when the
//! library cannot be built: a test asks [`Tool::Cc`](crate::Tool) first.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const SOURCE: &str = include_str!("../shim/faults.c");

/// What a rule is about; `tests/shim/faults.c` says which calls these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Making the database durable; in an error rule, anything below the directory.
    Sync,
    /// Sending over TCP: requests to a deployment.
    Send,
    /// Receiving over TCP: a deployment's answers.
    Recv,
    /// Writing to the database; in an error rule, anything below the directory.
    Write,
}

/// Whether the process dies before a call is made or when it has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// On entry: nothing of the call has happened.
    Before,
    /// Right after it: the daemon has not seen the result.
    After,
}

/// What a failing disk answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// `ENOSPC`.
    Full,
    /// `EIO`.
    Broken,
    /// `EROFS`.
    ReadOnly,
}

/// How often each call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of [`Call::Sync`].
    pub sync: u64,
    /// Calls of [`Call::Send`].
    pub send: u64,
    /// Calls of [`Call::Recv`].
    pub recv: u64,
    /// Calls of [`Call::Write`].
    pub write: u64,
}

/// The rules for one start of a daemon; without any, the library is not loaded at all.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<String>,
    dir: Option<PathBuf>,
}

impl Faults {
    /// No faults: the daemon as it is.
    pub fn none() -> Self {
        Self::default()
    }

    /// What sled makes durable by itself is left as it is; what rolloutd adds is not done.
    pub fn skip_our_sync(self) -> Self {
        self.rule(String::from("skip=fsync"))
    }

    /// The process aborts at the `nth` call, counted from 1.
    ///
    /// # Panics
    ///
    /// Before a [`Call::Recv`], which is only known once it has returned.
    pub fn abort(self, call: Call, moment: Moment, nth: u64) -> Self {
        assert!((call, moment) != (Call::Recv, Moment::Before), "a recv has no before");
        self.rule(format!("abort={call}:{moment}:{nth}"))
    }

    /// `count` calls below `dir` fail, from the `from`-th on.
    pub fn error_some(
        self,
        dir: &Path,
        call: Call,
        error: DiskError,
        from: u64,
        count: u64,
    ) -> Self {
        self.below(dir).rule(format!("error={call}:{error}:{from}:{count}"))
    }

    /// Calls below `dir` fail while `control` exists, as [`Faults::switch`] writes it.
    pub fn controlled(self, dir: &Path, control: &Path) -> Self {
        self.below(dir).rule(format!("control={}", control.display()))
    }

    /// Calls are counted in `file`, for [`Counts::read`]. A file that exists is counted on.
    pub fn count(self, file: &Path) -> Self {
        self.rule(format!("count={}", file.display()))
    }

    /// Everything that changes the disk below `dir` is appended to `file`, and every sync there.
    pub fn record(self, dir: &Path, file: &Path) -> Self {
        self.below(dir).rule(format!("record={}", file.display()))
    }

    /// Turns faults of a running daemon on (some) or off (none), in one step.
    ///
    /// # Panics
    ///
    /// When the control file cannot be changed.
    pub fn switch(control: &Path, faults: &[(Call, DiskError)]) {
        let changed = match faults {
            [] => fs::remove_file(control),
            some => {
                let lines: String =
                    some.iter().map(|(call, error)| format!("error={call}:{error}\n")).collect();
                let draft = control.with_extension("draft");
                fs::write(&draft, lines).and_then(|()| fs::rename(&draft, control))
            }
        };
        changed.unwrap_or_else(|error| panic!("{}: {error}", control.display()));
    }

    /// The environment that a daemon needs for these rules; empty without rules.
    ///
    /// # Panics
    ///
    /// When the library cannot be built.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let mut env = vec![
            (OsString::from("LD_PRELOAD"), library().as_os_str().to_owned()),
            (OsString::from("ROLLOUT_FAULTS"), OsString::from(self.rules.join(";"))),
        ];
        if let Some(dir) = &self.dir {
            env.push((OsString::from("ROLLOUT_FAULTS_DIR"), dir.clone().into_os_string()));
        }
        env
    }

    fn below(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    fn rule(mut self, rule: String) -> Self {
        assert!(!rule.contains(';'), "a path with a semicolon cannot be in a rule: {rule}");
        self.rules.push(rule);
        self
    }
}

impl Counts {
    /// The calls that both made.
    pub fn least(self, other: Self) -> Self {
        Self {
            sync: self.sync.min(other.sync),
            send: self.send.min(other.send),
            recv: self.recv.min(other.recv),
            write: self.write.min(other.write),
        }
    }

    /// Reads what a daemon has counted so far; it may be running or dead.
    ///
    /// # Panics
    ///
    /// When nothing was ever counted there: the library was not loaded.
    pub fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (numbers, _) = bytes.as_chunks::<8>();
        let &[sync, send, recv, write] = numbers else {
            panic!("{} holds {} bytes", file.display(), bytes.len())
        };
        let [sync, send, recv, write] = [sync, send, recv, write].map(u64::from_ne_bytes);
        Self { sync, send, recv, write }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::Send => "send",
            Self::Recv => "recv",
            Self::Write => "write",
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "ENOSPC",
            Self::Broken => "EIO",
            Self::ReadOnly => "EROFS",
        })
    }
}

/// The library, built when it is first needed. It lies beside the tests' own binary and is named after its source, so that
/// later runs find it, and is renamed into place, so that nobody ever loads half of it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| build().unwrap_or_else(|why| panic!("no library of faults: {why}")))
}

fn build() -> Result<PathBuf, String> {
    let words = |error: std::io::Error| error.to_string();
    let program = env::current_exe().map_err(words)?;
    let dir = program.parent().ok_or("the test's own binary has no directory")?;
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    let library = dir.join(format!("faults-{:016x}.so", hasher.finish()));
    if library.exists() {
        return Ok(library);
    }
    let place = tempfile::Builder::new().prefix("faults-").tempdir_in(dir).map_err(words)?;
    let (source, draft) = (place.path().join("faults.c"), place.path().join("faults.so"));
    fs::write(&source, SOURCE).map_err(words)?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    let said = cc.arg(&draft).arg(&source).output().map_err(words)?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into_owned());
    }
    fs::rename(&draft, &library).map_err(words)?;
    Ok(library)
}
