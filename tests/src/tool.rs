//! Owns what a test needs from the machine: asked for first, named in one line when it is missing.
//!
//! With `ROLLOUT_REQUIRE_ALL=1`, as on the continuous-integration machine, missing is failed.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// A C compiler, for the faults' library.
    Cc,
    /// To be root, with loop devices that can be mounted.
    Root,
    /// `mkfs.ext4` of e2fsprogs.
    MkfsExt4,
    /// `mount`, `umount` and `losetup` of util-linux.
    Mount,
    /// Node, which Convex's own tools run on.
    Node,
    /// The Prometheus server and `promtool`.
    Prometheus,
}

/// True when the machine has all of `tools`; otherwise says what `test` misses.
///
/// # Panics
///
/// When something is missing and [`everything_is_required`].
pub fn has_all(test: &str, tools: &[Tool]) -> bool {
    let missing: Vec<_> =
        tools.iter().filter(|tool| !tool.is_there()).map(|tool| tool.words()).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert!(!everything_is_required(), "{test} cannot run: this machine lacks {missing}");
    say(&format!("skipped: {test}: this machine lacks {missing}"));
    false
}

/// Writes one line that is seen also when the test passes: the test harness only swallows what is printed by macros.
pub fn say(line: &str) {
    // Nobody to tell, nothing to do.
    let _ = writeln!(io::stderr(), "{line}");
}

/// True when a skipped test is a failed one.
pub fn everything_is_required() -> bool {
    env::var("ROLLOUT_REQUIRE_ALL").is_ok_and(|value| value == "1")
}

impl Tool {
    fn is_there(self) -> bool {
        match self {
            Self::Cc => answers("cc", &["--version"]),
            Self::Node => answers("node", &["--version"]),
            Self::Prometheus => {
                ["prometheus", "promtool"].iter().all(|tool| answers(tool, &["--version"]))
            }
            Self::Root => answers_zero("id", &["-u"]) && Path::new("/dev/loop-control").exists(),
            Self::MkfsExt4 => answers("mkfs.ext4", &["-V"]),
            Self::Mount => {
                ["mount", "umount", "losetup"].iter().all(|tool| answers(tool, &["--version"]))
            }
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Cc => "a C compiler (`cc`)",
            Self::Node => "`node`",
            Self::Prometheus => "`prometheus` and `promtool` (package `prometheus`)",
            Self::Root => "root with loop devices",
            Self::MkfsExt4 => "`mkfs.ext4` (e2fsprogs)",
            Self::Mount => "`mount`, `umount`, `losetup` (util-linux)",
        }
    }
}

fn answers(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn answers_zero(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
