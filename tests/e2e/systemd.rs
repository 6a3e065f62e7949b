//! The packaged unit under a real systemd: what it promises in its comments, from `enable --now` to a store that is refused.
//!
//! Each test has a machine of its own, with systemd as PID 1, on which rolloutd is installed by the lines of
//! `docs/operating.md`. Nothing is set but what the test says.

mod dark;
mod endings;
mod killed;
mod shipped;

use rollout_e2e::systemd::Site;

/// The unit.
const UNIT: &str = "rolloutd";
/// Its state directory.
const STATE: &str = "/var/lib/rolloutd";

/// Less than the minute of the unit, so that no test need wait for so long: the daemon feeds it, and renews its line, every six
/// seconds in place of ten.
const WATCHDOG: &str = "WatchdogSec=14\n";

/// The program as `sudo -u rolloutd` runs it.
const AS_ROLLOUTD: [&str; 5] =
    ["setpriv", "--reuid=rolloutd", "--regid=rolloutd", "--init-groups", "rolloutd"];

/// The daemon's process as its machine counts.
async fn main_pid(site: &Site) -> String {
    site.machine.property(UNIT, "MainPID").await
}
