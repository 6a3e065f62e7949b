//! Owns an installation: the lines of `docs/operating.md` on a fresh machine, and a deployment beside it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use convex_emulator::{Config, Emulator};
use rollout_api::client::Client;

use super::machine::Machine;
use crate::run::Run;
use crate::shim::Faults;
use crate::world::{Programs, clocks};

const OPERATING: &str = include_str!("../../../docs/operating.md");
const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");
const CONFIG: &str = "/etc/rolloutd/rolloutd.toml";
const SOCKET: &str = "/run/rolloutd/rolloutd.sock";
const KEY: &str = "/etc/credstore/production.key";
const DROP_INS: &str = "/etc/systemd/system/rolloutd.service.d";
const FAULTS: &str = "/usr/lib/rolloutd-faults.so";

/// A machine on which rolloutd is installed, and a deployment on the loopback network that they share.
pub struct Site {
    /// The machine.
    pub machine: Machine,
    /// The deployment; the daemon does not know it before [`Site::configure`] and [`Site::give_key`].
    pub emulator: Emulator,
}

impl Site {
    /// Boots a machine and installs rolloutd as the documentation says; `drop_in` is of the unit, empty for none.
    ///
    /// `None` after one line when this machine cannot have another one inside.
    ///
    /// # Panics
    ///
    /// When a line of the documentation fails.
    pub async fn install(
        test: &str,
        programs: Programs,
        scale: u32,
        drop_in: &str,
    ) -> Option<Self> {
        let shown = [
            (Path::new(PACKAGING), "/src/packaging"),
            (Path::new(programs.rolloutd), "/src/target/release/rolloutd"),
            (Path::new(programs.rolloutctl), "/src/target/release/rolloutctl"),
        ];
        let machine = Machine::boot(test, &shown).await?;
        let (clock, daemon_clock) = clocks(scale);
        let emulator = Emulator::start(Config { clock, ..Config::default() }).await;
        let emulator = emulator.unwrap_or_else(|error| panic!("no emulator: {error}"));
        let clock = daemon_clock.map(|clock| format!("Environment=ROLLOUTD_CLOCK={clock}\n"));
        let lines = clock.unwrap_or_default() + drop_in;
        if !lines.is_empty() {
            machine.write(&format!("{DROP_INS}/test.conf"), &format!("[Service]\n{lines}"));
        }
        let script = format!("cd /src\n{}", install_lines());
        machine.run(&["bash", "-euxc", &script]).await.expect_code(0);
        Some(Self { machine, emulator })
    }

    /// Names the deployment in the configuration. The daemon reads it when it is started again.
    pub fn configure(&self) {
        let url = self.emulator.url();
        let shipped = self.machine.read(CONFIG);
        let text = format!("{shipped}\n[deployments.production]\nurl = \"{url}\"\n");
        self.machine.write(CONFIG, &text);
    }

    /// Puts the deployment's key where the documentation says. The daemon gets it when it is started again.
    ///
    /// # Panics
    ///
    /// When that is not possible.
    pub fn give_key(&self) {
        self.machine.write(KEY, &self.emulator.admin_key());
        let private = fs::set_permissions(self.machine.path(KEY), Permissions::from_mode(0o400));
        private.unwrap_or_else(|error| panic!("{KEY}: {error}"));
    }

    /// Puts faults around the daemon, from its next start after a `daemon-reload` on; paths in them are the machine's.
    ///
    /// # Panics
    ///
    /// When the library cannot be built or copied.
    pub fn plant(&self, faults: &Faults) {
        let mut lines = String::new();
        for (name, value) in faults.env() {
            let mut value = PathBuf::from(value);
            if name == "LD_PRELOAD" {
                let copied = fs::copy(&value, self.machine.path(FAULTS));
                copied.unwrap_or_else(|error| panic!("{FAULTS}: {error}"));
                value = PathBuf::from(FAULTS);
            }
            lines += &format!("Environment={}={}\n", name.display(), value.display());
        }
        self.machine.write(&format!("{DROP_INS}/faults.conf"), &format!("[Service]\n{lines}"));
    }

    /// The configuration's path on the machine.
    pub fn config(&self) -> &'static str {
        CONFIG
    }

    /// The daemon's socket, as it is reached from outside.
    pub fn socket(&self) -> PathBuf {
        self.machine.path(SOCKET)
    }

    /// Talks to the daemon as root.
    ///
    /// # Panics
    ///
    /// Never on Linux.
    pub fn client(&self) -> Client {
        Client::unix(self.socket()).unwrap_or_else(|error| panic!("no client: {error}"))
    }

    /// Starts a rollout of a plan and follows it.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub async fn begin(&self, plan: &str) -> Run {
        Run::begin(self.socket(), plan).await
    }
}

/// The commands of the chapter on installing, but for what needs cargo or `sudo`.
fn install_lines() -> String {
    let chapter = OPERATING.split("\n## Install\n").nth(1).unwrap_or_default();
    let block = chapter.split("```bash\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = block.unwrap_or_default().lines().filter(|line| !line.starts_with("cargo "));
    let lines: Vec<_> = lines.map(|line| line.replace("sudo ", "")).collect();
    assert!(lines.len() >= 5, "docs/operating.md does not say how to install: {lines:?}");
    lines.join("\n")
}
