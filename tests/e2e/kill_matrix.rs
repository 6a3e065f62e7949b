//! The kill matrix: the real daemon aborts before and after everything that it makes durable, sends or hears, is started
//! again, and the end must be the one of a run that nobody disturbed.
//!
//! The points are counted in undisturbed runs of the same script. `ROLLOUT_REQUIRE_ALL=1` takes at least 500 of them,
//! `ROLLOUT_KILL_POINTS=all` every one; a plain `cargo test` takes a sample.

mod operator;
mod outcome;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::sync::Arc;

use convex_emulator::Scenario;
use rollout_api::OrderVerb;
use rollout_e2e::{
    Call, Counts, Faults, Moment, Setting, Tool, World, everything_is_required, has_all, say,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::operator::{Operator, Played};
use self::outcome::Outcome;
use self::scripts::Script;
use crate::PROGRAMS;

/// How much faster than real time.
const SCALE: u32 = 1_200;
/// Scripts played at once: they mostly wait.
const AT_ONCE_MAX: usize = 8;
/// Points per script, in a full run.
const POINTS_FULL: usize = 100;
/// Points per script, in a sample.
const POINTS_SAMPLE: usize = 7;
/// Undisturbed runs of each script.
const STRAIGHT_RUNS: usize = 3;
/// Kills that a full run must really reach.
const KILLS_MIN: usize = 500;

/// Where the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    call: Call,
    moment: Moment,
    nth: u64,
}

/// One script killed at one point, or what is wrong with its end.
struct Tried {
    script: &'static str,
    ended: Result<Came, String>,
}

/// What came of a kill whose run ended as it must.
struct Came {
    /// The kill.
    killed: bool,
    /// Orders that had been carried out and were refused when they were repeated.
    refused_again: Vec<OrderVerb>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_the_same_wherever_it_is_killed() {
    if !has_all("the kill matrix", &[Tool::Cc]) {
        return;
    }
    let size = Size::asked();
    let mut straight = JoinSet::new();
    for script in scripts::all() {
        straight.spawn(async move { (undisturbed(&script).await, script) });
    }
    let pool = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut tries = JoinSet::new();
    let (mut there, mut tried, mut failures) = (0, 0, Vec::new());
    let (mut killed, mut refused_again) = (BTreeMap::new(), BTreeSet::new());
    while let Some(played) = straight.join_next().await {
        let ((outcome, counts), script) = played.unwrap();
        let points = points(counts);
        there += points.len();
        for point in size.pick(points) {
            let (script, outcome, pool) = (script.clone(), outcome.clone(), Arc::clone(&pool));
            tries.spawn(async move {
                let _permit = pool.acquire_owned().await;
                try_point(script, outcome, point).await
            });
        }
    }
    while let Some(ended) = tries.join_next().await {
        let Tried { script, ended } = ended.unwrap();
        tried += 1;
        match ended {
            Ok(came) => {
                *killed.entry(script).or_insert(0) += usize::from(came.killed);
                refused_again.extend(came.refused_again);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let kills: usize = killed.values().sum();
    say(&format!(
        "kill matrix ({size:?}): killed at {kills} of {tried} points ({there} there are), {killed:?}; \
         carried out and refused when repeated: {refused_again:?}"
    ));
    assert!(failures.is_empty(), "{} ends differ:\n{}", failures.len(), failures.join("\n"));
    assert!((tried - kills) * 20 <= tried, "more than 5 % of the kills never came");
    assert!(size == Size::Sample || kills >= KILLS_MIN, "fewer than {KILLS_MIN} kills");
}

/// How many points are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Sample,
    Full,
    All,
}

impl Size {
    fn asked() -> Self {
        match env::var("ROLLOUT_KILL_POINTS").as_deref() {
            Ok("all") => Self::All,
            Ok("full") => Self::Full,
            Ok(other) => panic!("ROLLOUT_KILL_POINTS is `{other}`; it must be `full` or `all`"),
            Err(_) if everything_is_required() => Self::Full,
            Err(_) => Self::Sample,
        }
    }

    /// Takes points that are evenly spaced over all there are.
    fn pick(self, points: Vec<Point>) -> Vec<Point> {
        let wanted = match self {
            Self::Sample => POINTS_SAMPLE,
            Self::Full => POINTS_FULL,
            Self::All => points.len(),
        };
        let wanted = wanted.min(points.len());
        (0..wanted).map(|index| points[index * points.len() / wanted]).collect()
    }
}

/// Plays a script without a kill, a few times: the end that every other run must have, and what there is to kill at. A busy
/// machine adds calls to a run (a window grows by what was not seen of it), so the calls are those of the shortest one.
async fn undisturbed(script: &Script) -> (Outcome, Counts) {
    let (outcome, mut counts) = undisturbed_once(script).await;
    for _ in 1..STRAIGHT_RUNS {
        let (again, counted) = undisturbed_once(script).await;
        assert_eq!(again, outcome, "{} has more than one end", script.name);
        counts = counts.least(counted);
    }
    (outcome, counts)
}

async fn undisturbed_once(script: &Script) -> (Outcome, Counts) {
    let mut world = world(script).await;
    let file = world.dir().join("counts");
    world.set_faults(Faults::none().count(&file));
    let played = Operator::play(world, script).await;
    let counts = Counts::read(&file);
    assert_eq!(played.deaths, 0);
    assert!(counts.sync > 10 && counts.send > 10 && counts.recv > 10, "{counts:?}");
    (Outcome::of(&played), counts)
}

fn points(counts: Counts) -> Vec<Point> {
    let both = [Moment::Before, Moment::After];
    let mut points = Vec::new();
    for (call, moments, count) in [
        (Call::Write, &both[..1], counts.write),
        (Call::Sync, &both[..], counts.sync),
        (Call::Send, &both[..], counts.send),
        (Call::Recv, &both[1..], counts.recv),
    ] {
        for nth in 1..=count {
            points.extend(moments.iter().map(|moment| Point { call, moment: *moment, nth }));
        }
    }
    points
}

async fn try_point(script: Script, expected: Outcome, point: Point) -> Tried {
    let name = script.name;
    // A task of its own: what panics there is one failed point, not the end of the matrix.
    let ended = tokio::spawn(async move {
        let Point { call, moment, nth } = point;
        let mut world = world(&script).await;
        world.set_faults(Faults::none().abort(call, moment, nth));
        let played = Operator::play(world, &script).await;
        (Outcome::of(&played), played)
    });
    let result = match ended.await {
        Ok((outcome, Played { deaths, refused_again, .. })) if outcome == expected => {
            Ok(Came { killed: deaths == 1, refused_again })
        }
        Ok((outcome, _)) => Err(format!("{outcome:#?}\ninstead of {expected:#?}")),
        Err(panicked) => Err(words(panicked)),
    };
    let Point { call, moment, nth } = point;
    let ended = result.map_err(|why| format!("{name}, killed {moment} {call} {nth}: {why}"));
    Tried { script: name, ended }
}

fn words(panicked: tokio::task::JoinError) -> String {
    let mut words = String::new();
    let panic = panicked.into_panic();
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    write!(words, "{}", text.unwrap_or("a panic without words")).unwrap();
    words
}

async fn world(script: &Script) -> World {
    let scenario = Scenario::parse(script.scenario).unwrap();
    let setting = Setting { scenario, scale: SCALE, env: script.env.clone(), ..Setting::default() };
    World::without_daemon(PROGRAMS, setting).await
}
