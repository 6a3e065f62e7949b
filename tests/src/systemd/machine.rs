//! Owns one machine: booted, asked, switched off. Its files are reached by their paths below `/proc/PID/root`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::ctl::Finished;
use crate::tool::{self, Tool};
use crate::workshop::finish;

/// Longest wait for one thing, in real time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a machine that goes, in real time; it takes some tens of milliseconds.
const GONE_MAX: Duration = Duration::from_secs(20);
/// How often a property is asked for while it is not yet what it should be.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Its own programs, and no setting of the machine outside.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A running machine. It goes with everything in it when this is dropped, and when the test's process dies.
#[derive(Debug)]
pub struct Machine {
    boot: Child,
    out: Lines<BufReader<ChildStdout>>,
    /// Its PID 1 as seen from outside.
    pid: String,
    dir: TempDir,
}

impl Machine {
    /// Boots a machine that sees each of `shown`, a path outside, read-only at the path inside.
    ///
    /// `None` after one line when this machine cannot have another one inside: only booting tells for sure.
    ///
    /// # Panics
    ///
    /// When it cannot, and everything is required.
    pub async fn boot(test: &str, shown: &[(&Path, &str)]) -> Option<Self> {
        if !tool::has_all(test, &[Tool::Systemd]) {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("rollout-systemd-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let (room, said) = (dir.path().join("room"), dir.path().join("boot.stderr"));
        fs::create_dir(&room).unwrap_or_else(|error| panic!("{}: {error}", room.display()));
        let stderr =
            File::create(&said).unwrap_or_else(|error| panic!("{}: {error}", said.display()));
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/boot"));
        command.arg(&room).env_clear().env("PATH", PATH);
        command
            .args(shown.iter().map(|(outside, inside)| format!("{}={inside}", outside.display())));
        // Its standard input stays open as long as the machine is to run.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut boot =
            command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let out = boot.stdout.take().expect("its output is piped");
        let mut out = BufReader::new(out).lines();
        match ready(&mut out).await {
            Some(pid) => Some(Self { boot, out, pid, dir }),
            None => {
                let said = fs::read_to_string(&said).unwrap_or_default();
                tool::lacks(test, &format!("what a systemd of its own needs: {}", said.trim()));
                None
            }
        }
    }

    /// Takes its power away and gives it back. Processes and `/run` are lost, every other file is as it was.
    ///
    /// # Panics
    ///
    /// When it does not boot again.
    pub async fn power_cycle(&mut self) {
        let input = self.boot.stdin.as_mut().expect("its input is piped");
        input.write_all(b"\n").await.unwrap_or_else(|error| panic!("the machine went: {error}"));
        let again = ready(&mut self.out).await;
        self.pid = again.unwrap_or_else(|| panic!("the machine does not boot again"));
    }

    /// A path inside as it is reached from outside. Symbolic links with absolute targets lead elsewhere.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// Reads a file inside.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
    }

    /// Writes a file inside, and the directory that it is in.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .unwrap_or_else(|error| panic!("{inside}: {error}"));
    }

    /// Runs a command inside, as root, to its end.
    pub async fn run(&self, command: &[&str]) -> Finished {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.pid, "--all", "--"]).args(command);
        nsenter.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("SYSTEMD_PAGER", "");
        nsenter.stdin(Stdio::null()).kill_on_drop(true);
        Finished::of(&finish(nsenter).await)
    }

    /// Runs `systemctl` inside.
    pub async fn systemctl(&self, args: &[&str]) -> Finished {
        self.run(&[&["systemctl"], args].concat()).await
    }

    /// One property of a unit, as `systemctl show` writes it.
    pub async fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.systemctl(&["show", "--value", "--property", name, unit]).await;
        shown.expect_code(0).stdout.trim().to_owned()
    }

    /// Waits until a property is as wanted; answers it.
    ///
    /// # Panics
    ///
    /// When it is not within a minute; with what it is, and with the unit's messages.
    pub async fn until(&self, unit: &str, name: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asking = async {
            loop {
                let found = self.property(unit, name).await;
                if fits(&found) {
                    return found;
                }
                ticks.tick().await;
            }
        };
        match timeout(WAIT_MAX, asking).await {
            Ok(found) => found,
            Err(_) => {
                let found = self.property(unit, name).await;
                panic!("{name} of {unit} is still `{found}`:\n{}", self.journal(unit).await)
            }
        }
    }

    /// Everything that a unit has said, and that systemd has said about it.
    pub async fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--sync"]).await.expect_code(0);
        self.run(&["journalctl", "--output=cat", "--unit", unit]).await.expect_code(0).stdout
    }

    /// Switches it off.
    ///
    /// # Panics
    ///
    /// When something of it is left.
    pub async fn switch_off(mut self) {
        self.tell_off();
        let ended = timeout(WAIT_MAX, self.boot.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("the machine does not go"));
        let ended = ended.unwrap_or_else(|error| panic!("the machine went unseen: {error}"));
        let said = fs::read_to_string(self.dir.path().join("boot.stderr")).unwrap_or_default();
        assert!(ended.success(), "the machine left something behind: {said}");
    }

    fn tell_off(&mut self) {
        drop(self.boot.stdin.take());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.tell_off();
        // Its directory may go only after it: what it must remove itself is reached through mounts on that.
        let start = Instant::now();
        while matches!(self.boot.try_wait(), Ok(None)) && start.elapsed() < GONE_MAX {
            std::thread::sleep(ASK_EVERY);
        }
    }
}

/// Its PID 1, as soon as it has booted; `None` when it does not.
async fn ready(out: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    let line = timeout(WAIT_MAX, out.next_line()).await.ok()?.ok()??;
    line.strip_prefix("ready ").map(str::to_owned)
}
