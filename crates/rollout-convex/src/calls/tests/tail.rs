//! What a tail tells of streams that lose, repeat, go back, fail and disagree about the time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rollout_core::{Calls, Extent, Measured, Span, SpanEnd, Unit};

use crate::calls::completion::{Answer, Completion, Cursor, Ended, Standing};
use crate::calls::news::News;
use crate::calls::tail::{Cause, Moment, Tail};
use crate::calls::told::{Lack, Told};

const STAY: SignedDuration = SignedDuration::from_mins(10);

/// Our wall clock `secs` after the beginning of the test, and the time that really passed.
fn wall(secs: f64) -> Timestamp {
    Timestamp::from_microsecond(1_795_000_000_000_000 + (secs * 1e6) as i64).unwrap()
}

fn elapsed(secs: f64) -> Duration {
    Duration::from_secs_f64(1_000.0 + secs)
}

fn moment(secs: f64) -> Moment {
    Moment { passed: elapsed(secs), own: elapsed(secs) }
}

/// A deployment with a buffer, and a tail that follows it.
struct World {
    tail: Tail,
    buffer: Vec<Completion>,
    buffer_max: usize,
    next: u64,
    /// Their clock minus ours, in seconds.
    ahead: f64,
}

impl World {
    fn new() -> Self {
        let mut tail = Tail::new();
        tail.want(elapsed(0.0), STAY, None);
        Self { tail, buffer: Vec::new(), buffer_max: 1_000, next: 0, ahead: 0.0 }
    }

    fn micros(&self, secs: f64) -> i64 {
        wall(secs + self.ahead).as_microsecond()
    }

    /// An execution that ends at `secs` of ours and took 50 ms.
    fn runs(&mut self, secs: f64, ended: Ended) {
        self.next += 1;
        self.buffer.push(Completion {
            identity: self.next,
            name: "messages:send".into(),
            caller: "SyncWorker".into(),
            executed: self.micros(secs - 0.05),
            finished: self.micros(secs),
            took: Some(50_000),
            ended,
            standing: Standing::Call,
        });
        let over = self.buffer.len().saturating_sub(self.buffer_max);
        self.buffer.drain(..over);
    }

    fn run_many(&mut self, from: f64, to: f64, count: usize) {
        for index in 0..count {
            let at = from + (to - from) * index as f64 / count as f64;
            self.runs(at, Ended::Well);
        }
    }

    /// One request and its answer.
    fn poll(&mut self, sent: f64, received: f64) -> News {
        let asked = self.tail.cursor_to_ask();
        let is_after = |one: &&Completion| one.finished > asked.micros();
        let completions: Vec<_> = self.buffer.iter().filter(is_after).cloned().collect();
        let newest = completions.iter().map(|one| one.finished).max();
        let cursor = newest
            .map_or(asked, |newest| Cursor::read(&(newest as f64 / 1e3).to_string()).unwrap());
        let answer = Answer { completions, unreadable: 0, cursor };
        self.tail.answered(asked, &answer, moment(sent), moment(received))
    }

    fn ask(&mut self, from: f64, to: f64) -> Result<Told, Lack> {
        let span = Span { from: wall(from), to: wall(to), end: SpanEnd::Now };
        self.tail.tell(&calls(1), span, moment(to))
    }

    fn counted(&mut self, from: f64, to: f64) -> (u64, Extent) {
        let told = self.ask(from, to).unwrap();
        (told.basis.samples.unwrap(), told.basis.extent)
    }
}

fn calls(calls_min: u32) -> Calls {
    Calls { functions: vec![], callers: vec![], over: SignedDuration::from_mins(30), calls_min }
}

#[test]
fn a_cursor_from_nowhere_breaks_nothing() {
    for hostile in ["1e300", "-1e300", "1.7976931348623157e308", "-0", "5e-324", "NaN", "inf"] {
        for told in ["1e300", "-1e300", "0"] {
            let mut world = World::new();
            world.tail.want(elapsed(0.0), STAY, Some(hostile));
            world.run_many(-50.0, 0.0, 10);
            let completions = world.buffer.clone();
            let cursor = Cursor::read(told).unwrap();
            let answer = Answer { completions, unreadable: 0, cursor };
            for secs in [1.0, 2.0] {
                let (sent, received) = (moment(secs), moment(secs + 0.1));
                let asked = world.tail.cursor_to_ask();
                world.tail.answered(asked, &answer, sent, received);
            }
            assert_eq!(world.ask(-40.2, 3.0).unwrap().basis.samples, Some(8), "{hostile} {told}");
        }
    }
}

#[test]
fn what_is_buffered_and_what_comes_is_told_once() {
    let mut world = World::new();
    assert!(matches!(world.ask(0.0, 1.0), Err(Lack::Failed(_))), "silence was taken for an answer");
    world.run_many(-50.0, 0.0, 100);
    assert_eq!(world.poll(0.5, 0.6), News::Calm);
    assert_eq!(world.counted(-40.2, 1.0), (80, Extent::Whole));
    world.runs(2.0, Ended::Failed);
    assert_eq!(world.poll(0.6, 2.1), News::Stirring);
    let told = world.ask(-40.2, 3.0).unwrap();
    assert_eq!(told.basis.samples, Some(81));
    assert_eq!(told.measured("/errors", Unit::Count), Measured::Number(1.0));
    assert_eq!(told.measured("/p99", Unit::Milliseconds), Measured::Number(50.0));
    let caller = "/callers/SyncWorker/calls";
    assert_eq!(told.measured(caller, Unit::Count), Measured::Number(81.0));
    assert_eq!(world.poll(2.1, 62.1), News::Calm);
    assert_eq!(world.counted(-40.2, 63.0).0, 81);
}

#[test]
fn before_the_oldest_entry_nothing_was_seen() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    let told = world.ask(-100.0, 1.0).unwrap();
    assert_eq!((told.basis.extent, told.basis.from), (Extent::Part, wall(-50.0)));
    assert!(matches!(told.measured("/calls", Unit::Count), Measured::Missing(_)));
    assert_eq!(told.measured("/errorRate", Unit::Percent), Measured::Number(0.0));
    let span = Span { from: wall(-200.0), to: wall(-100.0), end: SpanEnd::Past };
    assert!(matches!(world.tail.tell(&calls(1), span, moment(1.0)), Err(Lack::Missing(_))));
    let span = Span { from: wall(-40.2), to: wall(-20.0), end: SpanEnd::Past };
    let past = world.tail.tell(&calls(1), span, moment(1.0)).unwrap();
    assert_eq!((past.basis.extent, past.basis.samples), (Extent::Whole, Some(41)));
}

#[test]
fn an_empty_buffer_is_seen_from_the_asking_on() {
    let mut world = World::new();
    world.poll(10.0, 70.0);
    assert_eq!(world.counted(11.0, 71.0), (0, Extent::Whole));
    assert_eq!(world.counted(5.0, 71.0), (0, Extent::Part));
    let told = world.ask(11.0, 71.0).unwrap();
    assert_eq!(
        told.measured("/errorRate", Unit::Percent),
        Measured::Missing("0 calls, at least 1 wanted".into())
    );
}

#[test]
fn an_answer_as_long_as_the_buffer_is_a_loss() {
    let mut world = World::new();
    world.run_many(-1.0, 0.0, 10);
    world.poll(0.0, 0.1);
    world.run_many(1.0, 20.0, 3_000);
    world.poll(0.1, 20.0);
    assert_eq!(world.counted(-0.5, 21.0).1, Extent::Part);
    assert_eq!(world.counted(15.0, 21.0).1, Extent::Whole, "after the loss all was seen again");
    world.run_many(21.0, 22.0, 900);
    world.poll(20.0, 22.0);
    assert_eq!(world.counted(15.0, 23.0).1, Extent::Whole);
}

#[test]
fn a_larger_buffer_is_learnt_and_repeats_nothing() {
    let mut world = World::new();
    world.buffer_max = 9_000;
    world.run_many(-100.0, 0.0, 9_000);
    world.poll(0.0, 0.1);
    world.run_many(1.0, 20.0, 3_000);
    world.poll(0.1, 20.0);
    assert_eq!(world.counted(-99.06, 21.0), (11_910, Extent::Whole));
    world.tail.failed("connection reset".into(), Cause::Passing);
    world.poll(21.0, 21.1);
    assert_eq!(world.counted(-99.06, 22.0), (11_910, Extent::Whole));
}

#[test]
fn a_failure_is_bridged_when_the_buffer_still_reaches_back() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    world.ask(-10.2, 1.0).unwrap();
    world.tail.failed("connection reset".into(), Cause::Passing);
    world.run_many(1.0, 2.0, 500);
    world.runs(2.5, Ended::Failed);
    assert_eq!(world.tail.cursor_to_ask(), Cursor::START);
    let told = world.ask(-10.2, 2.0).unwrap();
    assert!(told.basis.to <= wall(0.2), "it spoke for a time of which it heard nothing");
    assert_eq!(world.poll(3.0, 3.1), News::Stirring);
    assert_eq!(world.counted(-10.2, 4.0), (20 + 501, Extent::Whole));

    world.tail.failed("connection reset".into(), Cause::Passing);
    world.run_many(5.0, 6.0, 1_500);
    world.poll(7.0, 7.1);
    assert_eq!(world.counted(-10.2, 8.0).1, Extent::Part);
}

#[test]
fn a_server_that_was_restarted_is_a_loss() {
    for (left, goes_back) in [(0, true), (5, false)] {
        let mut world = World::new();
        world.run_many(-50.0, 0.0, 100);
        world.poll(0.0, 0.1);
        world.tail.failed("internal".into(), Cause::Passing);
        world.buffer.clear();
        world.run_many(3.0, 4.0, left);
        world.poll(5.0, 5.1);
        let cursor = world.ask(-10.2, 6.0).unwrap().cursor.unwrap();
        assert_eq!(cursor == "0", goes_back);
        assert_eq!(world.counted(-10.2, 6.0).1, Extent::Part);
        let from = if goes_back { 5.5 } else { 3.0 };
        assert_eq!(world.counted(from, 6.0), (left.saturating_sub(1) as u64, Extent::Whole));
    }
}

#[test]
fn a_cursor_that_goes_back_in_the_middle_is_a_loss() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    let asked = world.tail.cursor_to_ask();
    world.buffer.clear();
    world.runs(1.0, Ended::Well);
    let completions = world.buffer.clone();
    let answer = Answer { completions, unreadable: 0, cursor: Cursor::read("12.5").unwrap() };
    world.tail.answered(asked, &answer, moment(0.1), moment(1.1));
    assert_eq!(world.counted(-10.2, 2.0), (21, Extent::Part));
    assert_eq!(world.counted(1.0, 2.0), (0, Extent::Whole));
}

#[test]
fn entries_that_cannot_be_read_are_a_loss() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    let asked = world.tail.cursor_to_ask();
    let answer = Answer { completions: vec![], unreadable: 1, cursor: asked };
    world.tail.answered(asked, &answer, moment(0.1), moment(1.1));
    assert_eq!(world.counted(-10.2, 2.0).1, Extent::Part);
    assert_eq!(world.counted(0.5, 2.0).1, Extent::Whole);
}

#[test]
fn a_process_that_starts_again_goes_on_with_what_the_buffer_still_holds() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    let cursor = world.ask(-10.2, 1.0).unwrap().cursor;
    world.run_many(2.0, 3.0, 10);
    world.tail = Tail::new();
    world.tail.want(elapsed(4.0), STAY, cursor.as_deref());
    world.poll(4.0, 4.1);
    assert_eq!(world.counted(-10.2, 5.0), (30, Extent::Whole));

    world.run_many(6.0, 7.0, 2_000);
    world.tail = Tail::new();
    world.tail.want(elapsed(8.0), STAY, cursor.as_deref());
    world.poll(8.0, 8.1);
    assert_eq!(world.counted(-10.2, 9.0).1, Extent::Part);
}

#[test]
fn an_hour_of_skew_neither_empties_nor_shifts_the_span() {
    for ahead in [3_600.0, -3_600.0] {
        let mut world = World::new();
        world.ahead = ahead;
        world.run_many(-50.0, 0.0, 100);
        world.poll(0.0, 0.1);
        world.runs(1.0, Ended::Failed);
        world.poll(0.1, 1.05);
        world.runs(1.2, Ended::Failed);
        world.poll(1.05, 1.25);
        let told = world.ask(-10.2, 2.0).unwrap();
        let counted = told.basis.samples.unwrap();
        assert!((20..=23).contains(&counted), "{ahead}: {counted}");
        assert_eq!(told.measured("/errors", Unit::Count), Measured::Number(2.0), "{ahead}");
    }
}

#[test]
fn a_wall_clock_that_is_set_does_not_move_what_was_seen() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    world.runs(1.0, Ended::Well);
    world.poll(0.1, 1.05);
    assert_eq!(world.counted(-10.2, 2.0).0, 21);
    // Ours is set an hour ahead: the same moments have other names.
    let span = Span { from: wall(3_589.8), to: wall(3_602.0), end: SpanEnd::Now };
    let told = world.tail.tell(&calls(1), span, moment(2.0)).unwrap();
    assert!((19..=21).contains(&told.basis.samples.unwrap()), "{:?}", told.basis);
}

#[test]
fn silence_and_refusals_are_failures_in_words() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 100);
    world.poll(0.0, 0.1);
    world.tail.failed("connection reset".into(), Cause::Passing);
    assert!(world.ask(-10.2, 60.0).is_ok(), "a short outage hides nothing that was seen");
    assert_eq!(world.ask(-10.2, 80.0), Err(Lack::Failed("connection reset".into())));
    world.tail.failed("the key may not".into(), Cause::Refused);
    assert_eq!(world.ask(-10.2, 2.0), Err(Lack::Failed("the key may not".into())));
    world.poll(3.0, 3.1);
    assert!(world.ask(-10.2, 4.0).is_ok());
    assert!(matches!(world.ask(-10.2, 100.0), Err(Lack::Failed(_))), "nothing was heard");
}

#[test]
fn it_is_followed_while_somebody_needs_it_and_slower_while_it_fails() {
    let mut world = World::new();
    assert_eq!(world.tail.left(elapsed(0.0)), Some(Duration::from_secs(600)));
    assert_eq!(world.tail.left(elapsed(600.0)), None);
    assert!(world.tail.is_starting());
    let mut pauses = Vec::new();
    for _ in 0..7 {
        world.tail.failed("x".into(), Cause::Passing);
        pauses.push(world.tail.pause().unwrap().as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
    world.poll(1.0, 1.1);
    assert_eq!(world.tail.pause(), None);
    world.tail.stop();
    assert_eq!(world.tail.left(elapsed(2.0)), None);
    assert!(matches!(world.ask(0.0, 2.0), Err(Lack::Failed(_))), "it told without following");
}

#[test]
fn only_what_was_asked_about_stirs() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 200);
    world.poll(0.0, 0.1);
    let about = Calls { functions: vec!["messages:send".into()], ..calls(1) };
    let span = Span { from: wall(0.5), to: wall(1.0), end: SpanEnd::Now };
    world.tail.tell(&about, span, moment(1.0)).unwrap();
    let mut stirs = |change: &dyn Fn(&mut Completion)| {
        world.runs(2.0, Ended::Failed);
        change(world.buffer.last_mut().unwrap());
        let asked = world.tail.cursor_to_ask();
        let completions = world.buffer.split_off(world.buffer.len() - 1);
        let answer = Answer { completions, unreadable: 0, cursor: asked };
        world.tail.answered(asked, &answer, moment(1.0), moment(2.0)) == News::Stirring
    };
    assert!(stirs(&|_| {}));
    assert!(!stirs(&|one| one.ended = Ended::Well));
    assert!(!stirs(&|one| one.name = "other:function".into()));
    assert!(!stirs(&|one| one.standing = Standing::Nothing));
    assert!(!stirs(&|one| one.executed = wall(0.4).as_microsecond()), "it ran before the flip");
}

#[test]
fn what_could_not_be_told_stirs_once_it_is_known() {
    let mut world = World::new();
    world.tail.failed("502".into(), Cause::Passing);
    assert!(matches!(world.ask(0.5, 1.0), Err(Lack::Failed(_))));
    world.runs(1.5, Ended::Failed);
    assert_eq!(world.poll(2.0, 2.1), News::Stirring, "the first answer of all");
    world.tail.failed("502".into(), Cause::Refused);
    assert!(matches!(world.ask(0.5, 3.0), Err(Lack::Failed(_))));
    world.poll(3.0, 3.1);
    world.runs(4.0, Ended::Well);
    assert_eq!(world.poll(3.1, 4.1), News::Calm);
    world.runs(5.0, Ended::Failed);
    assert_eq!(world.poll(4.1, 5.1), News::Stirring);
}

#[test]
fn a_question_that_waited_is_about_the_moment_at_which_it_was_asked() {
    let mut world = World::new();
    world.run_many(-50.0, 0.0, 200);
    world.poll(0.0, 0.0);
    world.runs(0.7, Ended::Failed);
    world.poll(0.0, 0.7);
    world.runs(19.0, Ended::Well);
    world.poll(0.7, 19.0);
    // Asked at second one, told after the twenty seconds that others took.
    let told = world.ask(0.6, 1.0).unwrap();
    assert_eq!(
        told.measured("/errors", Unit::Count),
        Measured::Number(1.0),
        "right after the flip"
    );
}

#[test]
fn a_call_far_slower_than_before_stirs() {
    let mut world = World::new();
    world.run_many(0.0, 40.0, 200);
    world.poll(40.0, 40.1);
    world.ask(0.5, 41.0).unwrap();
    for (took, news) in [(900_000, News::Calm), (1_100_000, News::Stirring)] {
        world.runs(42.0, Ended::Well);
        world.buffer.last_mut().unwrap().took = Some(took);
        world.buffer.last_mut().unwrap().finished += i64::from(took);
        assert_eq!(world.poll(41.0, 43.5), news);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However requests, failures, bursts and restarts follow each other: what is told as whole has every call, and never
    /// one too many.
    #[test]
    fn whole_means_every_call(steps in prop::collection::vec((0u8..6, 1usize..1_500), 1..25), ahead in -4_000.0f64..4_000.0) {
        let mut world = World::new();
        world.ahead = ahead;
        let (mut all, mut now) = (Vec::new(), 0.0);
        for (kind, count) in steps {
            match kind {
                0..=2 => {
                    let count = if kind == 0 { count } else { count / 10 + 1 };
                    world.run_many(now + 1.0, now + 9.0, count);
                    all.extend((0..count).map(|index| now + 1.0 + 8.0 * index as f64 / count as f64));
                }
                3 => world.tail.failed("x".into(), Cause::Passing),
                4 => {
                    world.buffer.clear();
                    world.tail.failed("restarted".into(), Cause::Passing);
                }
                _ => {}
            }
            now += 10.0;
            world.poll(now - 0.002, now - 0.001);
            for back in [10.0, 25.0, 90.0] {
                let Ok(told) = world.ask(now - back, now) else { continue };
                // What ran 50 ms before its end may lie on either side of a clock that is known to some milliseconds.
                let surely = all.iter().filter(|at| **at > now - back + 11.0 && **at <= now).count() as u64;
                let counted = told.basis.samples.unwrap();
                prop_assert!(counted <= all.len() as u64, "one was counted twice");
                if told.basis.extent == Extent::Whole {
                    prop_assert!(counted >= surely, "{counted} of at least {surely} were told as whole");
                }
            }
        }
    }
}
