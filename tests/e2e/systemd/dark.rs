//! A daemon that has lost its disk under the shipped unit: systemd's line says so, and nobody else takes its directory.

use std::path::Path;

use rollout_e2e::systemd::Site;
use rollout_e2e::{Call, DiskError, Faults, PhaseSpec, Tool, has_all, plan};

use super::{AS_ROLLOUTD, STATE, UNIT, WATCHDOG, main_pid};
use crate::PROGRAMS;

/// How much faster than real time it is.
const SCALE: u32 = 600;
/// While this file exists on the machine, the disk fails.
const CONTROL: &str = "/var/faults";
const WINDOW: PhaseSpec =
    PhaseSpec { flag: "ENABLE_ONE", bake: "48h", checkpoints: &["24h", "48h"] };

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_its_disk_is_seen_by_systemd_and_keeps_its_directory() {
    let test = "a daemon in the dark under systemd";
    if !has_all(test, &[Tool::Cc]) {
        return;
    }
    let Some(site) = Site::install(test, PROGRAMS, SCALE, WATCHDOG).await else { return };
    site.configure();
    site.give_key();
    site.plant(&Faults::none().controlled(Path::new(STATE), Path::new(CONTROL)));
    site.machine.systemctl(&["daemon-reload"]).await.expect_code(0);
    site.machine.systemctl(&["restart", UNIT]).await.expect_code(0);
    let pid = main_pid(&site).await;
    let mut run = site.begin(&plan("dark", &[WINDOW])).await;
    run.until("bake_started").await;
    site.machine.until(UNIT, "StatusText", |text| text == "1 live").await;

    let control = site.machine.path(CONTROL);
    Faults::switch(&control, &[(Call::Write, DiskError::Full), (Call::Sync, DiskError::Full)]);
    let dark = "1 live; NOTHING IS RECORDED, flags are watched (RO0210)";
    site.machine.until(UNIT, "StatusText", |text| text == dark).await;
    nobody_takes_its_directory(&site, &pid).await;

    Faults::switch(&control, &[]);
    site.machine.until(UNIT, "StatusText", |text| text == "1 live").await;
    assert_eq!(main_pid(&site).await, pid);
    assert_eq!(site.machine.property(UNIT, "NRestarts").await, "0");
    site.machine.switch_off().await;
}

/// The store is closed meanwhile, and the signature alone says whose it is.
async fn nobody_takes_its_directory(site: &Site, pid: &str) {
    for args in [
        &["verify", "--state-dir", STATE, "--in-place"][..],
        &["backup", "--state-dir", STATE, "--to", "/tmp/a.backup"],
    ] {
        let refused = site.machine.run(&[&AS_ROLLOUTD, args].concat()).await.expect_code(1);
        assert!(refused.stderr.contains("RO0204"), "{args:?}: {}", refused.stderr);
        // While it tries to open the store again, it has it open.
        let named =
            [format!("process {pid} closed it and still runs"), format!("process {pid} has")];
        assert!(named.iter().any(|words| refused.stderr.contains(words)), "{}", refused.stderr);
    }
}
