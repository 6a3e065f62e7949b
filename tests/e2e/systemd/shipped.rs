//! One life of the unit as it is shipped: started, confined, used, backed up, restarted, stopped.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use rollout_api::StartRequest;
use rollout_api::client::IdempotencyKey;
use rollout_e2e::systemd::Site;
use rollout_e2e::{GATED, Run, SMALLEST, say};

use super::{STATE, UNIT, main_pid};
use crate::PROGRAMS;

const BACKUPS: &str = "/var/lib/rolloutd-backup";
/// Where the shipped unit has its keys from, for a check in a shell as `docs/operating.md` says it.
const CREDSTORE: &str = "CREDENTIALS_DIRECTORY=/etc/credstore";
/// `TimeoutStopSec` of the unit.
const STOP_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_as_shipped_does_all_that_it_must() {
    let Some(site) = Site::install("the unit under systemd", PROGRAMS, 1, "").await else { return };
    // `enable --now` has returned, so one try must do.
    site.client().status().await.unwrap();
    let line = "no rollout is live; the store is new and empty";
    site.machine.until(UNIT, "StatusText", |text| text == line).await;
    let shown = site.machine.systemctl(&["status", UNIT]).await.expect_code(0).stdout;
    assert!(shown.contains(&format!("Status: \"{line}\"")), "{shown}");
    let enabled = site.machine.systemctl(&["is-enabled", UNIT]).await.expect_code(0);
    assert_eq!(enabled.stdout.trim(), "enabled");
    confined(&site).await;
    places(&site).await;
    whoever_is_in_the_group_may_ask(&site).await;
    let mut run = a_rollout(&site).await;
    backups(&site, &run).await;
    restarts(&site, &mut run).await;
    stops(&site, &run).await;
    let said = site.machine.journal(UNIT).await;
    assert!(!said.contains(&site.emulator.admin_key()), "the key is in the journal");
    site.machine.switch_off().await;
}

/// The process has no rights, and its limits are those of the unit.
async fn confined(site: &Site) {
    let pid = main_pid(site).await;
    let status = site.machine.read(&format!("/proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    let (uid, gid) = owner(site);
    assert_ne!(uid, 0);
    assert_eq!(field("Uid:"), [uid.to_string().as_str(); 4].join("\t"));
    assert_eq!(field("Gid:"), [gid.to_string().as_str(); 4].join("\t"));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set).trim_start_matches('0'), "", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    let limits = site.machine.read(&format!("/proc/{pid}/limits"));
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    let cores: Vec<_> = cores.unwrap().split_ascii_whitespace().skip(4).take(2).collect();
    assert_eq!(cores, ["0", "0"], "a core would hold the keys");
    assert_eq!(site.machine.property(UNIT, "WatchdogUSec").await, "1min");
}

/// Owners and modes of what the packaging makes.
async fn places(site: &Site) {
    let (uid, gid) = owner(site);
    let modes = [
        (STATE, 0o700, uid, gid),
        ("/run/rolloutd", 0o755, uid, gid),
        ("/run/rolloutd/rolloutd.sock", 0o660, uid, gid),
        ("/etc/rolloutd/credentials", 0o750, 0, gid),
        (site.config(), 0o644, 0, 0),
    ];
    for (path, mode, uid, gid) in modes {
        let found = look(site, path);
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, uid, gid), "{path}");
    }
    // A daemon that lost its disk is known by its signature alone: pid, when it was started, and in which boot.
    let signature = site.machine.read(&format!("{STATE}/store/lock"));
    let lines: Vec<_> = signature.lines().collect();
    assert_eq!(lines[0], main_pid(site).await);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(lines[1].ends_with(boot.trim()), "{signature}");
}

async fn whoever_is_in_the_group_may_ask(site: &Site) {
    let (_, gid) = owner(site);
    for (group, code) in [(gid, 0), (4711, 9)] {
        let (user, group) = ("--reuid=4711", format!("--regid={group}"));
        let command = ["setpriv", user, &group, "--clear-groups", "rolloutctl", "list"];
        site.machine.run(&command).await.expect_code(code);
    }
}

/// Without a key the daemon starts and says what is missing; with one a rollout goes through, and another waits.
async fn a_rollout(site: &Site) -> Run {
    site.configure();
    site.machine.systemctl(&["restart", UNIT]).await.expect_code(0);
    let request = StartRequest { plan: SMALLEST.to_owned(), start_at: None, reason: None };
    let refused = site.client().start(&request, &IdempotencyKey::random()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("RO0305"), "{refused:?}");
    site.give_key();
    let check = ["env", CREDSTORE, "rolloutd", "serve", "--check"];
    let checked = site.machine.run(&check).await.expect_code(0);
    assert!(checked.stdout.contains("production: http://127.0.0.1:"), "{}", checked.stdout);
    site.machine.systemctl(&["restart", UNIT]).await.expect_code(0);
    site.begin(SMALLEST).await.until("rollout_completed").await;
    assert_eq!(site.emulator.env()["ENABLE_ONE"], "true");
    let mut run = site.begin(&GATED.replace("ENABLE_ONE", "ENABLE_TWO")).await;
    run.until("baseline_passed").await;
    site.machine.until(UNIT, "StatusText", |text| text == "1 live").await;
    run
}

/// The packaged backup, from the running daemon and from the directory.
async fn backups(site: &Site, run: &Run) {
    for unit in ["service", "timer"] {
        let name = format!("rolloutd-backup.{unit}");
        let from = format!("/src/packaging/{name}");
        site.machine.run(&["cp", &from, "/usr/lib/systemd/system/"]).await.expect_code(0);
    }
    site.machine.systemctl(&["daemon-reload"]).await.expect_code(0);
    let timer = "rolloutd-backup.timer";
    site.machine.systemctl(&["enable", "--now", timer]).await.expect_code(0);
    let next = site.machine.property(timer, "NextElapseUSecRealtime").await;
    assert!(!next.is_empty() && next != "n/a", "the timer waits for nothing");
    let running = main_pid(site).await;
    backup(site, run).await;
    assert_eq!(main_pid(site).await, running);
    site.machine.systemctl(&["stop", UNIT]).await.expect_code(0);
    backup(site, run).await;
    site.machine.systemctl(&["start", UNIT]).await.expect_code(0);
}

async fn backup(site: &Site, run: &Run) {
    let backup = "rolloutd-backup.service";
    let made = site.machine.systemctl(&["start", backup]).await;
    assert_eq!(made.code, Some(0), "{}", site.machine.journal(backup).await);
    let (uid, _) = owner(site);
    assert_eq!((look(site, BACKUPS).mode() & 0o7777, look(site, BACKUPS).uid()), (0o700, uid));
    let files: Vec<_> = fs::read_dir(site.machine.path(BACKUPS)).unwrap().flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    for file in files {
        let path = format!("{BACKUPS}/{}", file.file_name().display());
        let mode = look(site, &path).mode() & 0o7777;
        assert_eq!(mode, 0o600, "{path}");
        let verify = ["rolloutd", "verify", "--backup", &path];
        let verified = site.machine.run(&verify).await.expect_code(0);
        assert!(verified.stdout.contains(&run.id), "{}", verified.stdout);
        fs::remove_file(file.path()).unwrap();
    }
}

async fn restarts(site: &Site, run: &mut Run) {
    let before = main_pid(site).await;
    // There is no reload, and asking for one does no harm.
    assert_ne!(site.machine.systemctl(&["reload", UNIT]).await.code, Some(0));
    assert_eq!(main_pid(site).await, before);
    site.machine.systemctl(&["restart", UNIT]).await.expect_code(0);
    assert_ne!(main_pid(site).await, before);
    run.until("engine_resumed").await;
}

/// In time although somebody follows a rollout, and cleanly.
async fn stops(site: &Site, run: &Run) {
    let follower = site.client().follow(&run.id, 0).await.unwrap();
    let start = Instant::now();
    site.machine.systemctl(&["stop", UNIT]).await.expect_code(0);
    let took = start.elapsed();
    drop(follower);
    assert!(took < STOP_MAX, "{took:?}");
    for (name, wanted) in
        [("ActiveState", "inactive"), ("Result", "success"), ("ExecMainStatus", "0")]
    {
        assert_eq!(site.machine.property(UNIT, name).await, wanted, "{name}");
    }
    assert!(!site.socket().exists());
    say(&format!("systemctl stop, with somebody following: {:.2} s", took.as_secs_f64()));
}

/// Number of the user and of the group `rolloutd`, as sysusers chose them.
fn owner(site: &Site) -> (u32, u32) {
    let passwd = site.machine.read("/etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with("rolloutd:")).unwrap();
    let numbers: Vec<u32> = line.split(':').filter_map(|field| field.parse().ok()).collect();
    (numbers[0], numbers[1])
}

fn look(site: &Site, path: &str) -> Metadata {
    fs::metadata(site.machine.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
