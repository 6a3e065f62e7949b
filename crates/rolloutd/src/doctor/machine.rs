//! Owns the doctor's look at the machine: state directory, store, socket, clock.
//!
//! Refuses to open a store that a daemon holds, and to touch one as another user than its owner.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use nix::unistd::{Uid, User};
use rollout_api::{DoctorSection, FindingView};
use rollout_engine::store::SledStore;

use crate::config::Config;
use crate::place::check_owner;
use crate::socket;
use crate::telemetry::chain;
use crate::verify;

use super::deployments::{fail, ok, unknown, warn};

/// Whether a daemon runs on this configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    /// It answers.
    Runs,
    /// Nobody answers.
    Stopped,
}

/// The findings about the machine.
pub(crate) fn section(
    config_path: &Path,
    config: &Config,
    daemon: &Daemon,
    now: Timestamp,
) -> DoctorSection {
    let deployments = match config.deployments.len() {
        0 => "no deployment".to_owned(),
        1 => "1 deployment".to_owned(),
        count => format!("{count} deployments"),
    };
    let path = config_path.display();
    let configuration = match config.deployments.is_empty() {
        false => ok("config", format!("{path}: {deployments}")),
        true => warn(
            "config",
            format!("{path}: {deployments}"),
            "add [deployments.NAME] with its url, and its key to the credentials directory",
        ),
    };
    let mut findings = vec![configuration];
    findings.extend(state_dir(&config.state_dir));
    findings.push(store(&config.store_dir(), daemon));
    findings.push(listening(&config.socket, daemon));
    findings.push(clock(&config.store_dir(), now));
    findings.push(ntp());
    DoctorSection { title: "machine".to_owned(), findings }
}

fn state_dir(dir: &Path) -> Vec<FindingView> {
    const CHECK: &str = "state dir";
    let shown = dir.display();
    let owner = match fs::metadata(dir) {
        Ok(found) if found.is_dir() => found.uid(),
        Ok(_) => {
            return vec![fail(
                CHECK,
                format!("{shown} is no directory"),
                "name a directory as `state_dir`",
            )];
        }
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return vec![yet_to_be(dir)],
        Err(error) => {
            return vec![fail(
                CHECK,
                format!("cannot look at {shown}: {error}"),
                "run this as rolloutd's user",
            )];
        }
    };
    let us = Uid::effective().as_raw();
    let whose = name_of(owner);
    let writable = match owner == us {
        // A file without a name: nothing is left of it, and the answer is the file system's own.
        true => match tempfile::tempfile_in(dir) {
            Ok(_) => ok(CHECK, format!("{shown} belongs to {whose} and can be written")),
            Err(error) => fail(
                CHECK,
                format!("{shown} cannot be written: {error}"),
                "give it back to rolloutd's user, or mount its file system for writing",
            ),
        },
        false => warn(
            CHECK,
            format!("{shown} belongs to {whose}, and this was run by {}", name_of(us)),
            &format!("run this as rolloutd does: `sudo -u {whose} rolloutd doctor`"),
        ),
    };
    vec![writable, space(dir)]
}

/// A state directory that the first start has to make.
fn yet_to_be(dir: &Path) -> FindingView {
    const CHECK: &str = "state dir";
    let shown = dir.display();
    let above = dir.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(above) {
        Ok(_) => ok(CHECK, format!("{shown} does not exist yet; the first start makes it")),
        Err(error) => fail(
            CHECK,
            format!("{shown} does not exist, and cannot be made in {}: {error}", above.display()),
            "make it and give it to rolloutd's user; under systemd `StateDirectory=` does that",
        ),
    }
}

fn space(dir: &Path) -> FindingView {
    const CHECK: &str = "space";
    let stat = match statvfs(dir) {
        Ok(stat) => stat,
        Err(error) => {
            return unknown(
                CHECK,
                format!("the file system does not say: {error}"),
                "look with `df`",
            );
        }
    };
    let free = stat.blocks_available() * stat.fragment_size();
    let files = stat.files_available();
    let found = format!("{} MiB free", free >> 20);
    let advice = "make room: when the disk is full, nothing new is turned on (RO0211)";
    match () {
        // Some file systems have no fixed number of files and say zero of zero.
        () if stat.files() > 0 && files < FILES_MIN => {
            fail(CHECK, format!("{found}, but room for {files} files only"), advice)
        }
        () if free < FREE_FAIL => fail(CHECK, found, advice),
        () if free < FREE_WARN => warn(CHECK, found, advice),
        () => ok(CHECK, found),
    }
}

fn store(dir: &Path, daemon: &Daemon) -> FindingView {
    const CHECK: &str = "store";
    if *daemon == Daemon::Runs {
        return ok(
            CHECK,
            "held by the running daemon; `rolloutd verify` checks every entry through it",
        );
    }
    if !SledStore::is_in(dir) {
        return ok(CHECK, format!("none yet in {}; the first start makes it", dir.display()));
    }
    if let Err(trouble) = check_owner(dir) {
        return unknown(CHECK, trouble.words, "run this as the store's owner");
    }
    match SledStore::examine(dir) {
        Ok(survey) => {
            let report = verify::report(&survey);
            let found = format!("{} rollouts, {} entries", report.rollouts.len(), report.entries());
            match report.sound {
                true => ok(CHECK, format!("{found}, all sound")),
                false => fail(
                    CHECK,
                    format!("{found}, some damaged"),
                    "`rolloutd verify` names them and the ways on",
                ),
            }
        }
        Err(error) => fail(
            CHECK,
            format!("cannot be opened ({}): {}", error.code(), chain(&error)),
            &format!("see docs/errors/{}.md", error.code()),
        ),
    }
}

fn listening(path: &Path, daemon: &Daemon) -> FindingView {
    const CHECK: &str = "socket";
    if *daemon == Daemon::Runs {
        return ok(CHECK, format!("rolloutd answers at {}", path.display()));
    }
    let start = "start it with `systemctl start rolloutd` when everything here is well";
    match socket::check_free(path) {
        Ok(()) => warn(CHECK, format!("nobody answers at {}", path.display()), start),
        Err(error) => fail(CHECK, chain(&error), "find out who holds the place: `ss -xlp`"),
    }
}

/// The clock against the files that were written under it.
fn clock(store: &Path, now: Timestamp) -> FindingView {
    const CHECK: &str = "clock";
    let written = fs::metadata(store.join("db")).ok();
    let written = written.and_then(|found| Timestamp::from_second(found.mtime()).ok());
    match written {
        Some(written) if written.duration_since(now) > BEHIND_MAX => fail(
            CHECK,
            format!("it is {now:.0}, but the store was written at {written}"),
            "set the clock (`timedatectl status`): due times would be late by as much",
        ),
        Some(_) | None => ok(CHECK, format!("it is {now:.0}")),
    }
}

/// Whether the clock is kept right, where the machine says so.
fn ntp() -> FindingView {
    const CHECK: &str = "ntp";
    // systemd-timesyncd leaves this file once it has set the clock; other daemons keep no public state.
    match Path::new("/run/systemd/timesync/synchronized").exists() {
        true => ok(CHECK, "the clock is synchronised"),
        false => unknown(
            CHECK,
            "systemd-timesyncd has not set the clock",
            "look whether something else does: `timedatectl status`, `chronyc tracking`",
        ),
    }
}

fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("'#{uid}'"), |user| user.name)
}

/// With less free space than this the store soon lives on its reserve.
const FREE_FAIL: u64 = 64 << 20;
/// With less than this it is time to look.
const FREE_WARN: u64 = 1 << 30;
/// A store and its backups need a few dozen files.
const FILES_MIN: u64 = 100;
/// How far the clock may be behind the store's files: file systems round, and clocks are set by a little.
const BEHIND_MAX: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

#[cfg(test)]
mod tests {
    use rollout_api::FindingState;

    use super::*;

    #[test]
    fn what_is_not_well_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing/deeper");
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let found = state_dir(&file);
        assert!(found.iter().all(|finding| finding.state == FindingState::Fail), "{found:?}");
        let socket = listening(&file, &Daemon::Stopped);
        assert_eq!(socket.state, FindingState::Fail);
        assert!(found.iter().chain([&socket]).all(|finding| finding.advice.is_some()));
        assert_eq!(state_dir(dir.path())[0].state, FindingState::Ok);
        assert_eq!(state_dir(&missing)[0].state, FindingState::Ok);
        assert!(!missing.exists(), "looking made something");
        assert_eq!(store(&missing, &Daemon::Stopped).state, FindingState::Ok);
    }

    #[test]
    fn a_clock_behind_its_own_files_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("db"), "x").unwrap();
        assert_eq!(clock(dir.path(), Timestamp::UNIX_EPOCH).state, FindingState::Fail);
        assert_eq!(clock(dir.path(), Timestamp::MAX).state, FindingState::Ok);
    }
}
