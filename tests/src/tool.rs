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
    /// To be root, with systemd and what puts it into namespaces. Whether it boots there only booting tells.
    Systemd,
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
    lacks(test, &missing.join(", "));
    false
}

/// Says that `test` does not run, and what is missing for it.
///
/// # Panics
///
/// When [`everything_is_required`].
pub(crate) fn lacks(test: &str, missing: &str) {
    assert!(!everything_is_required(), "{test} cannot run: this machine lacks {missing}");
    say(&format!("skipped: {test}: this machine lacks {missing}"));
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
            Self::Root => is_root() && Path::new("/dev/loop-control").exists(),
            Self::MkfsExt4 => answers("mkfs.ext4", &["-V"]),
            Self::Mount => {
                ["mount", "umount", "losetup"].iter().all(|tool| answers(tool, &["--version"]))
            }
            Self::Systemd => {
                let tools = ["unshare", "nsenter", "setpriv", "systemctl"];
                is_root() && tools.iter().all(|tool| answers(tool, &["--version"]))
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
            Self::Systemd => "root with systemd and util-linux",
            Self::Mount => "`mount`, `umount`, `losetup` (util-linux)",
        }
    }
}

fn answers(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
