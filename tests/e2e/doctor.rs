//! What people see who look before they start: one table, each failing line with what to do, and a refusal that names the same.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use convex_emulator::{Fault, FaultKind, RunState};
use jiff::{SignedDuration, Timestamp};
use rollout_api::{DoctorReport, DoctorRequest, FindingState, FindingView};
use rollout_e2e::{GATED, SMALLEST, Setting, World};

use crate::PROGRAMS;

/// A daemon gives all deployments together this long.
const LOOK_MAX: Duration = Duration::from_secs(20);

async fn world() -> World {
    let env = BTreeMap::from([("ENABLE_ONE".to_owned(), "false".to_owned())]);
    World::start(PROGRAMS, Setting { env, ..Setting::default() }).await
}

/// Asks the daemon and looks at what every report promises.
async fn report(world: &World, plan: &str) -> DoctorReport {
    let request = DoctorRequest { plan: Some(plan.to_owned()), ..DoctorRequest::default() };
    let report = world.client().doctor(&request).await.unwrap();
    for finding in report.sections.iter().flat_map(|section| &section.findings) {
        let is_well = finding.state == FindingState::Ok;
        assert_eq!(finding.advice.is_none(), is_well, "{finding:?}");
    }
    report
}

fn of<'a>(report: &'a DoctorReport, check: &str) -> Vec<&'a FindingView> {
    let all = report.sections.iter().flat_map(|section| &section.findings);
    all.filter(|finding| finding.check == check).collect()
}

fn failing(report: &DoctorReport) -> Vec<&str> {
    let all = report.sections.iter().flat_map(|section| &section.findings);
    all.filter(|finding| finding.state == FindingState::Fail)
        .map(|finding| finding.check.as_str())
        .collect()
}

/// The page without what differs from run to run.
fn steady(page: &str, world: &World) -> String {
    let page = page.replace(&world.emulator.url(), "URL");
    let line = |line: &str| match line.split_once("answers in ") {
        Some((head, rest)) => {
            let (_, tail) = rest.split_once(" ms").unwrap();
            format!("{head}answers in N ms{tail}\n")
        }
        None => format!("{line}\n"),
    };
    page.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_well_is_one_calm_table() {
    let world = world().await;
    world.write("plan.toml", SMALLEST);
    let looked = world.ctl(&["doctor", "plan.toml"]).await.expect_code(0);
    let page = steady(&looked.stdout, &world);
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    insta::assert_snapshot!(page, @r"
    rolloutd
      ok       version      0.1.0
      ok       store        everything is recorded
      ok       rollouts     0 live, 0 of them held, 0 ended; each live one waits for
                            something that will come

    deployment production (URL)
      ok       reach        happy-otter-123 (self-hosted) answers in N ms
      ok       url          the key names happy-otter-123, as the deployment does
      ok       key          it is an admin key, and taken
      ok       permissions  the key permits ViewEnvironmentVariables,
                            WriteEnvironmentVariables, RunInternalQueries, ViewData
      ok       state        running
      ok       clock        agrees with this machine's, to the second
      ok       function     monitoring/dashboard:checkAlerts is an internal query
      ok       function     monitoring/dashboard:getFeatureFlags is an internal
                            query
      ok       function     monitoring/dashboard:getSystemHealth is an internal
                            query
      ok       flag         ENABLE_ONE is `false`, its safe value
      ok       health       alerts: Alert Count 0
      ok       health       health: Health Status healthy, Stuck Workflows 0, Stuck
                            Messages 0, Error Rate 0.3 %, Completion Rate 99.7 %,
                            Response Time 820 ms

    15 of 15 checks are well
    ");
    assert!(world.emulator.writes().is_empty());

    let json = world.ctl(&["doctor", "--output", "json"]).await.expect_code(0);
    let report: DoctorReport = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report.sections.len(), 2);
    assert!(of(&report, "flag").is_empty(), "without a plan no flag is known");

    world.ctl(&["start", "plan.toml"]).await.expect_code(0);
    let of_rollout = world.ctl(&["doctor", "r1"]).await.expect_code(0);
    assert!(of_rollout.stdout.contains("ENABLE_ONE"), "{}", of_rollout.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_open_are_told_apart() {
    let world = world().await;
    world.write("plan.toml", GATED);
    let secret = world.emulator.admin_key().split_once('|').unwrap().1.to_owned();

    world.write_key(&world.emulator.read_only_key());
    let read_only = report(&world, GATED).await;
    assert_eq!(failing(&read_only)[..2], ["key", "permissions"], "{read_only:?}");
    let lacking: String =
        of(&read_only, "permissions").iter().map(|one| one.found.as_str()).collect();
    assert!(lacking.contains("WriteEnvironmentVariables"), "{lacking}");
    let refused = world.ctl(&["start", "plan.toml"]).await.expect_code(3);
    for part in ["RO0309", "read-only", "WriteEnvironmentVariables"] {
        assert!(refused.stderr.contains(part), "no {part}: {}", refused.stderr);
    }

    world.write_key("badger-9|01c0ffee5eed");
    let wrong = report(&world, GATED).await;
    assert_eq!(failing(&wrong), ["url", "key"], "{wrong:?}");
    assert!(of(&wrong, "key")[0].found.contains("BadAdminKey"), "{wrong:?}");

    world.write_key("project:team:app|topsecret");
    let elsewhere = report(&world, GATED).await;
    assert_eq!(failing(&elsewhere), ["credential"]);
    let page = format!("{read_only:?}{wrong:?}{elsewhere:?}{}", refused.stderr);
    assert!(!page.contains(&secret) && !page.contains("topsecret"), "a key is shown");
    assert!(world.emulator.writes().is_empty());
    let looked = world.ctl(&["doctor"]).await.expect_code(3);
    assert!(looked.stdout.contains("FAIL") && looked.stdout.contains("->"), "{}", looked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_checked_before_a_start_and_all_mistakes_come_at_once() {
    let world = world().await;
    let sources = "[sources]\nhealth = { function = \"monitoring/dashboard:getHealth\" }\n\
                   alerts = { function = \"tasks:create\" }\n\n[[phases]]";
    let plan = SMALLEST.replace("[[phases]]", sources);
    let looked = report(&world, &plan).await;
    let functions: Vec<_> =
        of(&looked, "function").into_iter().filter(|one| one.state == FindingState::Fail).collect();
    let [missing, misfit] = functions.as_slice() else { panic!("{looked:?}") };
    let mut found = [&missing.found, &misfit.found];
    found.sort();
    assert!(found[0].contains("tasks:create is a public mutation"), "{found:?}");
    assert!(found[1].contains("no function monitoring/dashboard:getHealth"), "{found:?}");

    world.write("plan.toml", &plan);
    let refused = world.ctl(&["start", "plan.toml"]).await.expect_code(3);
    for part in ["RO0309", "plan.toml:5", "plan.toml:6", "getSystemHealth", "tasks:create"] {
        assert!(refused.stderr.contains(part), "no {part}: {}", refused.stderr);
    }
    assert!(world.client().list().await.unwrap().rollouts.is_empty());
    assert!(world.emulator.tasks().is_empty(), "the doctor called a function that creates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_is_no_broken_one() {
    let world = world().await;
    world.emulator.set_run_state(RunState::Paused);
    let looked = report(&world, GATED).await;
    assert!(failing(&looked).iter().all(|check| ["state", "health"].contains(check)), "{looked:?}");
    let state = of(&looked, "state")[0];
    assert!(state.found.starts_with("paused") && state.found.contains("put back"), "{state:?}");
    world.write("plan.toml", GATED);
    world.ctl(&["start", "plan.toml"]).await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_hangs_is_given_up_within_twenty_seconds() {
    let world = world().await;
    world.emulator.inject(Fault::always("", FaultKind::Slow { ms: 120_000 }));
    let started = Instant::now();
    let looked = report(&world, GATED).await;
    assert!(started.elapsed() < LOOK_MAX, "it took {:?}", started.elapsed());
    assert_eq!(failing(&looked), ["reach"], "{looked:?}");
    assert!(looked.count(FindingState::Unknown) >= 5, "{looked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dry_step_changes_no_value_and_is_refused_beside_a_live_rollout() {
    let world = world().await;
    world.write("plan.toml", GATED);
    let before = world.emulator.env();
    let step = ["doctor", "plan.toml", "--write-safe-values"];
    let stepped = world.ctl(&step).await.expect_code(0);
    assert!(
        stepped.stdout.contains("safe values of ENABLE_ONE are accepted"),
        "{}",
        stepped.stdout
    );
    assert_eq!((world.emulator.env(), world.emulator.writes().len()), (before, 1));

    world.ctl(&["start", "plan.toml"]).await.expect_code(0);
    let refused = world.ctl(&step).await.expect_code(0);
    assert!(refused.stdout.contains("r1 is live"), "{}", refused.stdout);
    assert_eq!(world.emulator.writes().len(), 1);
    world.ctl(&["doctor", "--write-safe-values"]).await.expect_code(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_of_a_start_is_said_before_it() {
    let world = world().await;
    let plan = format!("{SMALLEST}bake = \"1h\"\n");
    world.write("plan.toml", &plan);
    let doctor = ["doctor", "plan.toml"];
    let mut run = world.begin(&plan).await;
    run.until("bake_started").await;
    let beside = world.ctl(&doctor).await.expect_code(0);
    assert!(beside.stdout.contains("wait until r1 has ended, or abort it"), "{}", beside.stdout);

    world.ctl(&["rollback", "r1", "--all", "--reason", "enough"]).await.expect_code(0);
    world.ctl(&["abort", "r1", "--reason", "enough"]).await.expect_code(0);
    run.until("rollout_aborted").await;
    let after = world.ctl(&doctor).await.expect_code(3);
    let way_out = "`rolloutctl incident resolve r1 1 --reason …` unlocks it";
    assert!(after.stdout.contains("is locked by incident 1 of r1"), "{}", after.stdout);
    let words = after.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(way_out), "{words}");
    world.ctl(&["incident", "resolve", "r1", "1", "--reason", "mended"]).await.expect_code(0);
    world.ctl(&doctor).await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_asked_and_a_stranger_is_refused() {
    let mut world = World::without_daemon(PROGRAMS, Setting::default()).await;
    let config = world.dir().join("rolloutd.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    // The emulator's controls answer with JSON like any web server; nobody listens on port 9.
    text.push_str(&format!("[endpoints.status]\nurl = \"{}\"\n", world.emulator.url()));
    text.push_str("[endpoints.away]\nurl = \"http://127.0.0.1:9\"\n");
    std::fs::write(&config, text).unwrap();
    world.restart().await;
    let plan = |endpoint: &str| {
        let sources = format!(
            "[sources]\nup = {{ http = \"{endpoint}\", path = \"/_emulator/faults\" }}\n\n\
             [[criteria]]\nname = \"faults\"\nlabel = \"Faults\"\nsource = \"up\"\n\
             unit = \"count\"\ntarget = \"= 0\"\n\n[[phases]]"
        );
        SMALLEST.replace("[[phases]]", &sources)
    };
    let well = report(&world, &plan("status")).await;
    let found = of(&well, "endpoint")[0];
    assert!(found.state == FindingState::Ok && found.found.contains("status answers"), "{well:?}");
    assert_eq!(of(&well, "health")[0].found, "up: Faults 0");
    let away = report(&world, &plan("away")).await;
    assert_eq!(failing(&away), ["endpoint", "health"], "{away:?}");

    world.write("plan.toml", &plan("stranger"));
    let refused = world.ctl(&["start", "plan.toml"]).await.expect_code(3);
    let words = refused.stderr.replace('|', " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["RO0309", "no endpoint `stranger`", "configured: away, status"] {
        assert!(words.contains(part), "no {part}: {}", refused.stderr);
    }
    let all = world.ctl(&["doctor"]).await.expect_code(3);
    assert!(all.stdout.contains("connection refused"), "{}", all.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_rolloutd_looks_itself() {
    let mut world = World::without_daemon(PROGRAMS, Setting::default()).await;
    world.write("plan.toml", GATED);
    let config = world.dir().join("rolloutd.toml").display().to_string();
    let args = ["doctor", "--config", &config, "--plan", "plan.toml"];
    let alone = world.rolloutd(&args).await.expect_code(0);
    for part in
        ["nobody answers", "none yet in", "MiB free", "ENABLE_ONE is not set", "getSystemHealth"]
    {
        assert!(alone.stdout.contains(part), "no {part}: {}", alone.stdout);
    }
    assert!(alone.stdout.lines().all(|line| line.chars().count() <= 80 || line.contains("/tmp/")));
    let nine = world.ctl(&["doctor"]).await.expect_code(9);
    assert_eq!(nine.stdout, "");

    world.restart().await;
    let beside = world.rolloutd(&args).await.expect_code(0);
    for part in ["held by the running daemon", "rolloutd answers at", "each live one waits"] {
        assert!(beside.stdout.contains(part), "no {part}: {}", beside.stdout);
    }
    world.kill().await;
    let after = world.rolloutd(&args).await.expect_code(0);
    assert!(after.stdout.contains("0 rollouts, 0 entries, all sound"), "{}", after.stdout);

    std::fs::remove_dir_all(world.state_dir()).unwrap();
    let empty = world.rolloutd(&args).await.expect_code(0);
    assert!(empty.stdout.contains("none yet in"), "{}", empty.stdout);
    assert!(!world.state_dir().exists(), "looking made something");
    world.write("state", "a file in its place");
    let taken = world.rolloutd(&args).await.expect_code(3);
    let words = taken.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("is no directory -> name a directory"), "{}", taken.stdout);
    world.write("bad.toml", "name = ");
    world.rolloutd(&["doctor", "--config", &config, "--plan", "bad.toml"]).await.expect_code(3);
    world.rolloutd(&["doctor", "--config", "nowhere.toml"]).await.expect_code(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_is_seen() {
    let world = World::without_daemon(PROGRAMS, Setting::default()).await;
    // This machine as if its clock were an hour behind the deployment's.
    let real: Timestamp = world.emulator.now();
    let origin = real - SignedDuration::from_hours(1);
    let mut command = tokio::process::Command::new(PROGRAMS.rolloutd);
    command.args(["doctor", "--config", "rolloutd.toml", "--output", "json"]);
    command.current_dir(world.dir()).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command.env("ROLLOUTD_CLOCK", format!("{real},{origin},1"));
    let ended = tokio::time::timeout(LOOK_MAX, command.output()).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let report: DoctorReport = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(failing(&report), ["clock"]);
    let clock =
        of(&report, "clock").into_iter().find(|one| one.state == FindingState::Fail).unwrap();
    assert!(clock.found.contains("s ahead of this machine's"), "{clock:?}");
    assert!(clock.advice.as_deref().unwrap().contains("NTP"), "{clock:?}");
}
