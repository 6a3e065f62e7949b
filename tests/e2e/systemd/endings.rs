//! How the daemon may end by itself, and what systemd makes of it: what a person must mend stays down with its reason,
//! everything else is tried again for ever.

use std::fs;
use std::path::Path;

use rollout_e2e::systemd::Site;
use rollout_e2e::{GATED, say};

use super::{AS_ROLLOUTD, STATE, UNIT};
use crate::PROGRAMS;

/// More than the five starts in ten seconds after which systemd gives up where nothing else is said.
const RESTARTS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_mend_stays_down_and_all_else_is_tried_again() {
    let Some(site) = Site::install("endings under systemd", PROGRAMS, 1, "").await else { return };
    site.configure();
    site.give_key();
    a_configuration_that_makes_no_sense(&site).await;
    a_store_that_went_back_in_time(&site).await;
    a_disk_without_room(&site).await;
    site.machine.switch_off().await;
}

/// Exit code 2.
async fn a_configuration_that_makes_no_sense(site: &Site) {
    let config = site.machine.read(site.config());
    site.machine.write(site.config(), &format!("sockets = 2\n{config}"));
    assert_ne!(site.machine.systemctl(&["restart", UNIT]).await.code, Some(0));
    stays_down(site, "2", &["sockets", site.config()]).await;
    site.machine.write(site.config(), &config);
    site.machine.systemctl(&["start", UNIT]).await.expect_code(0);
}

/// Exit code 3: a database that is older than its witness, as a disk that forgets leaves it. Then both ways on that
/// `docs/operating.md` has.
async fn a_store_that_went_back_in_time(site: &Site) {
    let (store, older, backup) = (format!("{STATE}/store"), "/var/older", "/tmp/all.backup");
    site.machine.systemctl(&["stop", UNIT]).await.expect_code(0);
    site.machine.run(&["cp", "-a", &store, older]).await.expect_code(0);
    site.machine.systemctl(&["start", UNIT]).await.expect_code(0);
    site.begin(GATED).await.until("baseline_passed").await;
    by_hand(site, &["backup", "--to", backup]).await;
    site.machine.systemctl(&["stop", UNIT]).await.expect_code(0);
    go_back(&site.machine.path(&store), &site.machine.path(older));
    assert_ne!(site.machine.systemctl(&["start", UNIT]).await.code, Some(0));
    stays_down(site, "3", &["RO0203", "r1 (live)", "rolloutd restore --from FILE"]).await;

    set_aside(site).await;
    site.machine.systemctl(&["start", UNIT]).await.expect_code(0);
    assert_eq!(site.client().status().await.unwrap().store.quarantined, ["r1"]);
    site.machine.systemctl(&["stop", UNIT]).await.expect_code(0);
    by_hand(site, &["restore", "--from", backup, "--replace"]).await;
    site.machine.systemctl(&["start", UNIT]).await.expect_code(0);
    assert!(site.client().status().await.unwrap().store.quarantined.is_empty());
    let detail = site.client().get("r1").await.unwrap();
    assert!(detail.allowed.contains(&"resume".to_owned()), "held by the restore: {detail:?}");
}

/// As an operator with `sudo -u rolloutd`.
async fn by_hand(site: &Site, args: &[&str]) {
    site.machine.run(&[&AS_ROLLOUTD, args].concat()).await.expect_code(0);
}

/// `serve --quarantine` until it listens, then Ctrl-C.
async fn set_aside(site: &Site) {
    let command = [&AS_ROLLOUTD[..], &["serve", "--quarantine"]].concat().join(" ");
    let script = format!(
        "{command} 2>/tmp/said & \
         for _ in {{1..600}}; do \
           grep -q listening /tmp/said && break; kill -0 $! || break; sleep 0.05; \
         done; \
         kill -INT $!; wait $!; code=$?; cat /tmp/said >&2; exit $code"
    );
    let said = site.machine.run(&["bash", "-c", &script]).await.expect_code(0).stderr;
    assert!(said.contains("listening") && said.contains("RO0208"), "{said}");
}

/// Exit code 1, again and again, until there is room.
async fn a_disk_without_room(site: &Site) {
    site.machine.systemctl(&["stop", UNIT]).await.expect_code(0);
    let full = ["mount", "-t", "tmpfs", "-o", "size=512k", "full", STATE];
    site.machine.run(&full).await.expect_code(0);
    site.machine.systemctl(&["start", "--no-block", UNIT]).await.expect_code(0);
    let enough = |count: &str| count.parse::<u32>().is_ok_and(|count| count >= RESTARTS);
    site.machine.until(UNIT, "NRestarts", enough).await;
    let journal = site.machine.journal(UNIT).await;
    assert!(journal.contains("No space left on device"), "{journal}");
    assert!(journal.contains("status=1/FAILURE"), "{journal}");
    site.machine.run(&["mount", "-o", "remount,size=64m", STATE]).await.expect_code(0);
    site.machine.until(UNIT, "ActiveState", |state| state == "active").await;
    site.client().status().await.unwrap();
    let restarts = site.machine.property(UNIT, "NRestarts").await;
    say(&format!(
        "a disk without room under systemd: {restarts} starts, and the next one after there was some is up"
    ));
}

/// The unit has failed with this exit code, is not tried again, and says why where an operator looks.
async fn stays_down(site: &Site, code: &str, words: &[&str]) {
    for (name, wanted) in [
        ("ActiveState", "failed"),
        ("SubState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainStatus", code),
        ("NRestarts", "0"),
    ] {
        assert_eq!(site.machine.property(UNIT, name).await, wanted, "{name}");
    }
    let journal = site.machine.journal(UNIT).await;
    // 3: not active.
    let status = site.machine.systemctl(&["status", "--full", UNIT]).await.expect_code(3).stdout;
    for word in words {
        assert!(journal.contains(word), "the journal does not say {word}:\n{journal}");
        assert!(status.contains(word), "the status does not say {word}:\n{status}");
    }
}

fn go_back(store: &Path, older: &Path) {
    // Over the old content, so that the file keeps its owner.
    fs::write(store.join("db"), fs::read(older.join("db")).unwrap()).unwrap();
    for entry in fs::read_dir(store).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}
