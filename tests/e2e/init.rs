//! From a live deployment to a running rollout without writing a plan by hand; nothing is overwritten, no secret is shown.

use std::collections::BTreeMap;
use std::fs;

use convex_emulator::{Fault, FaultKind};
use rollout_e2e::{Run, Setting, World};

use crate::PROGRAMS;

async fn world() -> World {
    let env = [
        ("ENABLE_WORKFLOW", "false"),
        ("ENABLE_COMPRESSION", "false"),
        ("LOG_ENABLED", "on"),
        ("API_KEY", "sk-topsecret"),
        ("WORKERS", "12"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    World::start(PROGRAMS, Setting { env: BTreeMap::from(env), ..Setting::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_written_linted_looked_at_and_started() {
    let world = world().await;
    let init = ["init", "--deployment", "production", "--flags", "ENABLE_*", "-o", "plan.toml"];
    let made = world.ctl(&init).await.expect_code(0);
    assert!(
        made.stdout.is_empty() && made.stderr.contains("wrote plan.toml: 2 phases"),
        "{made:?}"
    );
    world.ctl(&["lint", "plan.toml"]).await.expect_code(0);
    world.ctl(&["doctor", "plan.toml"]).await.expect_code(0);
    let started = world.ctl(&["start", "plan.toml"]).await.expect_code(0);
    assert!(started.stdout.contains("r1"), "{}", started.stdout);
    let mut run = Run::new(world.socket(), "r1".to_string());
    run.until("baseline_passed").await;
    let phases: Vec<_> = run.detail().await.phases.into_iter().map(|phase| phase.name).collect();
    assert_eq!(phases, ["compression", "workflow"]);

    let plan = world.dir().join("plan.toml");
    fs::write(&plan, "mine").unwrap();
    let refused = world.ctl(&init).await.expect_code(2);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&plan).unwrap(), "mine");
    world.ctl(&[&init[..], &["--force"]].concat()).await.expect_code(0);
    assert!(fs::read_to_string(&plan).unwrap().contains("ENABLE_WORKFLOW"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_reads_like_a_flag_is_shown_with_its_value() {
    let world = world().await;
    let all = world.ctl(&["init", "--deployment", "production"]).await.expect_code(0);
    for part in [
        "ENABLE_WORKFLOW = { on = \"true\", safe = \"false\" }",
        "\n# flags = { LOG_ENABLED = { on = \"off\", safe = \"on\" } }\n",
        "LOG_ENABLED is `on` now, so this phase would turn it off",
    ] {
        assert!(all.stdout.contains(part), "no {part}: {}", all.stdout);
    }
    assert!(!all.stdout.contains("API_KEY") && !all.stdout.contains("WORKERS"), "{}", all.stdout);
    assert!(all.stderr.contains("1 flag is on already"), "{}", all.stderr);
    let on = ["init", "--deployment", "production", "--flags", "LOG*"];
    let on = world.ctl(&on).await.expect_code(2);
    assert!(
        on.stderr.contains("every flag like LOG* on production is on already"),
        "{}",
        on.stderr
    );
    let deployment = world.client().deployment("production").await.unwrap();
    let names: Vec<_> =
        deployment.variables.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(
        names,
        ["API_KEY", "ENABLE_COMPRESSION", "ENABLE_WORKFLOW", "LOG_ENABLED", "WORKERS"]
    );
    assert!(!format!("{deployment:?}").contains("topsecret"));
    let none =
        world.ctl(&["init", "--deployment", "production", "--flags", "X*"]).await.expect_code(2);
    assert!(none.stderr.contains("no flag like X* on production: 0 variables"), "{}", none.stderr);
    let one = ["init", "--deployment", "production", "--flags", "API*"];
    let one = world.ctl(&one).await.expect_code(2);
    assert!(one.stderr.contains("1 variable like API*, none with"), "{}", one.stderr);
    let unknown = world.ctl(&["init", "--deployment", "nowhere"]).await.expect_code(3);
    assert!(unknown.stderr.contains("RO0305"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_health_functions_gets_the_module() {
    let world = world().await;
    fs::create_dir(world.dir().join("convex")).unwrap();
    fs::write(world.dir().join("package.json"), "{}").unwrap();
    let init = ["init", "--deployment", "production", "--module", "convex", "-o", "plan.toml"];
    let made = world.ctl(&init).await.expect_code(0);
    assert!(made.stderr.contains("npx convex deploy"), "{}", made.stderr);
    let module = fs::read_to_string(world.dir().join("convex/monitoring/dashboard.ts")).unwrap();
    for function in ["getSystemHealth", "checkAlerts", "getFeatureFlags"] {
        assert!(module.contains(&format!("export const {function}")), "no {function}");
    }
    world.ctl(&["lint", "plan.toml"]).await.expect_code(0);
    fs::remove_file(world.dir().join("plan.toml")).unwrap();
    world.ctl(&init).await.expect_code(2);
    assert!(!world.dir().join("plan.toml").exists(), "half of it was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_one_part_is_refused() {
    let world = world().await;
    fs::create_dir(world.dir().join("convex")).unwrap();
    fs::write(world.dir().join("package.json"), "{}").unwrap();
    for (module, out, words) in [
        ("convex", "nowhere/plan.toml", "there is no directory nowhere"),
        ("convx", "plan.toml", "convx is no directory"),
        (".", "plan.toml", ". is not the app's `convex` directory; that is "),
        ("convex", "convex", "convex is a directory"),
    ] {
        let init = ["init", "--deployment", "production", "--module", module, "-o", out];
        let refused = world.ctl(&init).await.expect_code(2);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        for made in ["nowhere", "convx", "plan.toml", "monitoring", "convex/monitoring"] {
            assert!(!world.dir().join(made).exists(), "{module} {out}: {made} was made");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_while_the_deployment_is_away_says_so() {
    let world = world().await;
    let init = ["init", "--deployment", "production", "--flags", "ENABLE_*", "-o", "plan.toml"];
    world.ctl(&init).await.expect_code(0);
    let on = world.ctl(&["start", "plan.toml"]).await.expect_code(0);
    assert!(!on.stderr.contains("waits for it"), "{}", on.stderr);
    world.ctl(&["abort", "r1", "--reason", "once more"]).await.expect_code(0);
    world.emulator.inject(Fault::always("", FaultKind::CutBeforeCommit));
    let away = world.ctl(&["start", "plan.toml"]).await.expect_code(0);
    let said = "; r2 waits for it, `rolloutctl doctor r2` shows more";
    let line = away.stderr.lines().last().unwrap_or_default();
    assert!(line.contains("deployment production") && line.ends_with(said), "{}", away.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_plan_in_json() {
    let world = world().await;
    let init = ["init", "--deployment", "production", "--output", "json"];
    let made = world.ctl(&init).await.expect_code(0);
    let value: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let plan = value["plan"].as_str().unwrap();
    fs::write(world.dir().join("plan.toml"), plan).unwrap();
    world.ctl(&["lint", "plan.toml"]).await.expect_code(0);
    assert_eq!((&value["phases"], &value["on_already"]), (&2.into(), &1.into()));
    assert!(value["file"].is_null() && value["module"].is_null(), "{value}");
}
