//! A process that dies or hangs, and a machine that loses its power, in the middle of a bake window: systemd starts the daemon
//! again, and the window goes on.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rollout_api::client::ClientError;
use rollout_e2e::systemd::Site;
use rollout_e2e::{PhaseSpec, Run, moment_of, plan, say, text_of};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{UNIT, WATCHDOG};
use crate::PROGRAMS;

/// More than the five starts in ten seconds after which systemd gives up where nothing else is said.
const KILLS: u32 = 6;
/// How much faster than real time it is.
const SCALE: u32 = 600;
/// Longest wait for one thing, in real time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often a daemon that is being started is asked.
const ASK_EVERY: Duration = Duration::from_millis(5);
const WINDOW: PhaseSpec = PhaseSpec { flag: "ENABLE_ONE", bake: "2h", checkpoints: &["1h", "2h"] };
const WINDOW_HOURS: i64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn kills_a_hang_and_a_reboot_in_one_window_change_nothing() {
    let test = "SIGKILL and a hang under systemd";
    let Some(mut site) = Site::install(test, PROGRAMS, SCALE, WATCHDOG).await else { return };
    site.configure();
    site.give_key();
    site.machine.systemctl(&["restart", UNIT]).await.expect_code(0);
    let mut run = site.begin(&plan("killed", &[WINDOW])).await;
    run.until("bake_started").await;

    let mut took = Vec::new();
    for _ in 0..KILLS {
        took.push(down_for(&site, "--signal=KILL").await);
        run.until("engine_resumed").await;
    }
    let hung = down_for(&site, "--signal=STOP").await;
    run.until("engine_resumed").await;
    let restarts = site.machine.property(UNIT, "NRestarts").await;
    assert_eq!(restarts, (KILLS + 1).to_string());
    let journal = site.machine.journal(UNIT).await;
    assert!(journal.contains("Watchdog timeout"), "{journal}");

    let start = Instant::now();
    site.machine.power_cycle().await;
    // It is not asked to start: it is enabled.
    site.machine.until(UNIT, "ActiveState", |state| state == "active").await;
    let dark = start.elapsed();
    let mut run = run.at(site.socket());
    run.until("engine_resumed").await;

    run.until("rollout_completed").await;
    nothing_changed(&site, &run);
    took.sort();
    say(&format!(
        "SIGKILL to /v1 answering again under systemd: median {:.2} s, at most {:.2} s, of {KILLS}; SIGSTOP, with a \
         watchdog of 14 s: {:.2} s; the power fails and comes back: {:.2} s",
        took[took.len() / 2].as_secs_f64(),
        took[took.len() - 1].as_secs_f64(),
        hung.as_secs_f64(),
        dark.as_secs_f64()
    ));
    site.machine.switch_off().await;
}

/// Sends a signal to the daemon's process, and waits for another one that answers.
async fn down_for(site: &Site, signal: &str) -> Duration {
    let before = site.client().status().await.unwrap().started_at;
    let start = Instant::now();
    let kill = ["kill", "--kill-whom=main", signal, UNIT];
    site.machine.systemctl(&kill).await.expect_code(0);
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        loop {
            // One that hangs takes the connection and does not answer.
            match timeout(Duration::from_secs(1), site.client().status()).await {
                Ok(Ok(status)) if status.started_at != before => return start.elapsed(),
                Ok(Ok(_) | Err(ClientError::Unreachable { .. })) | Err(_) => {}
                Ok(Err(error)) => panic!("{error:?}"),
            }
            ticks.tick().await;
        }
    };
    match timeout(WAIT_MAX, asking).await {
        Ok(took) => took,
        Err(_) => panic!("it did not come back:\n{}", site.machine.journal(UNIT).await),
    }
}

/// One write, every checkpoint once, and no end before the window's.
fn nothing_changed(site: &Site, run: &Run) {
    let writes = site.emulator.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(site.emulator.env()["ENABLE_ONE"], "true");
    let judged: Vec<_> =
        run.of_kind("checkpoint_judged").map(|entry| text_of(entry, "checkpoint")).collect();
    assert_eq!(judged, ["T+1h", "T+2h"], "{}", run.last_entries());
    let started = moment_of(run.of_kind("bake_started").next().unwrap());
    let completed = moment_of(run.of_kind("rollout_completed").next().unwrap());
    let window = SignedDuration::from_hours(WINDOW_HOURS);
    assert!(completed.duration_since(started) >= window, "{}", run.last_entries());
    assert_eq!(run.count("engine_resumed"), KILLS as usize + 2);
}
