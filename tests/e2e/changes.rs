//! What others do in the middle of a window: flags that somebody writes, and code that somebody pushes. Told with both
//! values, the time and the name; what follows is what the plan says.

use convex_emulator::{Scenario, WriteOrigin};
use jiff::{SignedDuration, Timestamp};
use rollout_api::{JournalEntry, OrderRequest, OrderVerb};
use rollout_e2e::{PhaseSpec, Run, Setting, World, moment_of, plan, text_of, verdict_of};

use crate::PROGRAMS;

/// A deployment that keeps a log of who did what, as those in the cloud do.
const AUDITED: &str = "[deployment]\nauditLog = true\n";

const PHASES: [PhaseSpec; 1] =
    [PhaseSpec { flag: "ENABLE_ONE", bake: "4h", checkpoints: &["1h", "4h"] }];
const WINDOW: SignedDuration = SignedDuration::from_hours(4);
/// The rhythm of the checks.
const EVERY: SignedDuration = SignedDuration::from_mins(10);
/// What a busy machine may add at 600 times real time (2 s).
const SLACK: SignedDuration = SignedDuration::from_mins(20);

/// A rollout in the middle of its window, after a check that passed.
struct Window {
    world: World,
    run: Run,
    started: Timestamp,
}

impl Window {
    /// `policy` is a line of `[watch]`.
    async fn open(policy: &str) -> Self {
        let scenario = Scenario::parse(AUDITED).unwrap();
        let setting = Setting { scenario, scale: 600, ..Setting::default() };
        let world = World::start(PROGRAMS, setting).await;
        let text = plan("changes", &PHASES).replace("[watch]\n", &format!("[watch]\n{policy}\n"));
        let mut run = world.begin(&text).await;
        let started = moment_of(&run.until("bake_started").await);
        let due = started + SignedDuration::from_mins(65);
        let passes = |entry: &JournalEntry| {
            verdict_of(entry) == "pass" && text_of(entry, "purpose") == "check"
        };
        run.until_that("a check that passes", |entry| passes(entry) && moment_of(entry) >= due)
            .await;
        Self { world, run, started }
    }

    /// Writes the flag as `kim` would in the dashboard, and gives the time.
    fn write(&self, value: &str) -> Timestamp {
        self.world.emulator.edit_as("kim", "ENABLE_ONE", Some(value)).unwrap();
        let writes = self.world.emulator.writes();
        writes.iter().rfind(|write| write.origin != WriteOrigin::Client).unwrap().at
    }

    fn value(&self) -> String {
        self.world.emulator.env()["ENABLE_ONE"].clone()
    }

    /// Writes that the daemon made.
    fn own_writes(&self) -> usize {
        let writes = self.world.emulator.writes();
        writes.iter().filter(|write| write.origin == WriteOrigin::Client).count()
    }

    /// The journal as people print it, and the log.
    async fn pages(&self) -> [String; 2] {
        let events = self.world.ctl(&["events", "r1"]).await.expect_code(0);
        let log = self.world.ctl(&["log", "r1"]).await.expect_code(0);
        [events.stdout, log.stdout]
    }

    /// How long the window was in the end, from its first beginning to the end of the phase.
    async fn completed(&mut self) -> SignedDuration {
        self.run.until("phase_completed").await;
        let ended = self.run.of_kind("bake_ended").last().unwrap();
        let lasted = moment_of(ended).duration_since(self.started);
        assert!(lasted >= WINDOW, "{lasted:?}");
        lasted
    }
}

/// The write that an entry tells of: its time is that of the deployment, and the audit log names who.
fn assert_written(entry: &JournalEntry, at: Timestamp) {
    let written = &entry.details["written"];
    let told: Timestamp = written["at"].as_str().unwrap().parse().unwrap();
    let off = told.duration_since(at).abs();
    assert!(off < SignedDuration::from_secs(2), "told {told}, written {at}");
    let by = written["by"].as_str().unwrap_or_default();
    assert!(by.contains("kim"), "{}", entry.details);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_with_both_values_the_time_and_who_and_holds() {
    let mut window = Window::open("").await;
    let at = window.write("maybe");
    let found = window.run.until("drift_found").await;
    assert_eq!(text_of(&found, "flag"), "ENABLE_ONE");
    assert_eq!(text_of(&found, "expected"), "true");
    assert_eq!(text_of(&found, "found"), "maybe");
    assert_written(&found, at);
    let noticed = moment_of(&found).duration_since(at);
    assert!(noticed <= EVERY + SLACK, "{noticed:?}");
    window.run.until("held").await;

    let minute = at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    for page in window.pages().await {
        let line = page.lines().find(|line| line.contains("maybe")).unwrap_or_default();
        for part in ["ENABLE_ONE", "maybe", "true", &minute, "kim"] {
            assert!(line.contains(part), "no `{part}` in `{line}`: {page}");
        }
    }
    // Nobody is overruled: the value stays, and the phase is neither rolled back nor completed.
    assert_eq!((window.value().as_str(), window.own_writes()), ("maybe", 1));
    assert_eq!(window.run.phase(1).await.stage, "baking");
    assert_eq!(window.run.count("rollback_started"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn revert_sets_the_flag_back_and_the_window_grows() {
    let mut window = Window::open("drift = \"revert\"").await;
    let at = window.write("perhaps");
    assert_written(&window.run.until("drift_found").await, at);
    window.run.until("drift_reverted").await;
    assert_eq!((window.value().as_str(), window.own_writes()), ("true", 2));
    let lasted = window.completed().await;
    window.run.catch_up().await;
    assert_eq!(window.run.count("held"), 0, "{}", window.run.last_entries());
    let gap = window.run.of_kind("gap_recorded").next().unwrap();
    assert_eq!(gap.details["cause"]["kind"], "drift");
    assert!(lasted >= WINDOW + length_of(gap), "{lasted:?}");
    assert_eq!(window.value(), "true");
    let [events, log] = window.pages().await;
    for page in [events, log] {
        assert!(page.contains("set back"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adopt_takes_the_value_and_goes_on() {
    let mut window = Window::open("drift = \"adopt\"").await;
    let at = window.write("true-v2");
    assert_written(&window.run.until("drift_found").await, at);
    let adopted = window.run.until("drift_adopted").await;
    assert_eq!(text_of(&adopted, "value"), "true-v2");
    window.completed().await;
    window.run.until("rollout_completed").await;
    assert_eq!((window.value().as_str(), window.own_writes()), ("true-v2", 1));
    assert_eq!(window.run.count("held"), 0, "{}", window.run.last_entries());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_value_written_again_is_told_and_not_watched() {
    let mut window = Window::open("").await;
    let at = window.write("true");
    let rewritten = window.run.until("flag_rewritten").await;
    assert_written(&rewritten, at);
    let lasted = window.completed().await;
    window.run.until("rollout_completed").await;
    let gaps: Vec<_> = window.run.of_kind("gap_recorded").collect();
    let [gap] = gaps.as_slice() else { panic!("one gap expected: {gaps:?}") };
    assert_eq!(gap.details["cause"]["kind"], "drift");
    let time = |field| text_of(gap, field).parse::<Timestamp>().unwrap();
    assert!(time("from") <= at && at <= time("to"), "{at} is not in {}", gap.text);
    assert!(lasted >= WINDOW + length_of(gap), "{lasted:?}");
    // Told once: the next readings know of it.
    assert_eq!(window.run.count("flag_rewritten"), 1);
    assert_eq!(window.run.count("drift_found") + window.run.count("held"), 0);
    assert_eq!(window.own_writes(), 1, "nobody wrote it again");
    for page in window.pages().await {
        assert!(page.contains("somebody wrote it") && page.contains("kim"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_code_holds_until_a_person_has_looked() {
    let mut window = Window::open("").await;
    let pushed = push(&mut window).await;
    let held = window.run.until("held").await;
    assert!(text_of(&held, "hold").contains("code"), "{}", held.text);
    let end = window.started + WINDOW + EVERY;
    window.run.until_that("the planned end", |entry| moment_of(entry) >= end).await;
    assert_ne!(window.run.phase(1).await.stage, "completed");
    let order = OrderRequest { reason: "a fix of a text".into(), ..OrderRequest::default() };
    window.run.order(OrderVerb::Resume, order).await.unwrap();
    window.completed().await;
    assert_eq!((window.own_writes(), window.run.count("code_pushed")), (1, 1));
    told_in_pages(&window, &pushed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_code_extends_the_window_by_what_was_seen_before() {
    let mut window = Window::open("code_push = \"extend\"").await;
    let pushed = push(&mut window).await;
    let lasted = window.completed().await;
    let seen = moment_of(&pushed).duration_since(window.started);
    assert!(lasted + EVERY >= WINDOW + seen, "{lasted:?}, pushed after {seen:?}");
    window.run.until("rollout_completed").await;
    assert_eq!(window.run.count("held"), 0, "{}", window.run.last_entries());
    // The checkpoint that was judged on the old code, and both of them on the new one.
    assert_eq!(window.run.count("checkpoint_judged"), 3);
    told_in_pages(&window, &pushed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_code_begins_the_window_anew() {
    let mut window = Window::open("code_push = \"rebaseline\"").await;
    assert_eq!(window.run.count("checkpoint_judged"), 1);
    let pushed = push(&mut window).await;
    window.run.until("window_restarted").await;
    let again = moment_of(&window.run.until("bake_started").await);
    assert!(again >= moment_of(&pushed));
    window.completed().await;
    let ended = moment_of(window.run.of_kind("bake_ended").last().unwrap());
    assert!(ended.duration_since(again) >= WINDOW, "the second window began {again}");
    window.run.until("rollout_completed").await;
    assert_eq!(window.run.count("held"), 0, "{}", window.run.last_entries());
    // Each checkpoint of the new window is judged by the new code.
    assert_eq!(window.run.count("checkpoint_judged"), 3);
    assert_eq!((window.value().as_str(), window.own_writes()), ("true", 1));
    told_in_pages(&window, &pushed).await;
}

/// Pushes code, and waits until the rollout has noticed.
async fn push(window: &mut Window) -> JournalEntry {
    let before = window.world.emulator.now();
    window.world.emulator.push();
    let pushed = window.run.until("code_pushed").await;
    let at: Timestamp = text_of(&pushed, "pushed_at").parse().unwrap();
    assert!(at >= before - SignedDuration::from_secs(1) && at <= moment_of(&pushed), "{at}");
    pushed
}

async fn told_in_pages(window: &Window, pushed: &JournalEntry) {
    let at: Timestamp = text_of(pushed, "pushed_at").parse().unwrap();
    let minute = at.strftime("%H:%M UTC").to_string();
    for page in window.pages().await {
        let is_told = |line: &str| line.contains("code was pushed") && line.contains(&minute);
        assert!(page.lines().any(is_told), "{minute} is not told: {page}");
    }
}

fn length_of(gap: &JournalEntry) -> SignedDuration {
    let time = |field| text_of(gap, field).parse::<Timestamp>().unwrap();
    time("to").duration_since(time("from"))
}
