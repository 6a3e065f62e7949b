//! Owns the judgement of what is told of calls: by what truly ended at the deployment, not by what the stream or the
//! metrics said of it.
//!
//! Refuses to reckon as the adapter does: it counts the calls of [`crate::book`] between moments that the plan names.

#![expect(clippy::wildcard_enum_match_arm, reason = "each check is about a few of many kinds")]

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Basis, CallFigure, Calls, Criterion, EventKind, Extent, Judged, Measured, RollbackCause, Source,
};

use crate::book::{Book, Counted, Refused, Tally};
use crate::invariants::{Check, Moment, fail, patience, reading_of};
use crate::view::{Says, View, says};

/// What is known besides of the moment in which a reading is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    /// The truth about the deployment; `None` = nobody calls anything there.
    pub(crate) book: Option<&'a Book>,
    /// True time.
    pub(crate) now: Timestamp,
    /// What the machine's wall clock shows.
    pub(crate) wall: Timestamp,
    /// For how long the process has run.
    pub(crate) up: SignedDuration,
    pub(crate) clocks: Clocks,
}

/// Whether the machine's clocks are those of the deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clocks {
    /// They are.
    Right,
    /// They may be set, or stand still.
    Any,
}

/// What a value of a source of calls claims.
struct Claim<'a> {
    calls: &'a Calls,
    figure: CallFigure,
    basis: Basis,
    value: f64,
    samples: u64,
}

const NAME: &str = "invariant 7 (calls)";

/// What a reading records of calls is what truly happened after the flip, and enough of it.
pub(crate) fn calls_are_what_happened(moment: &Moment<'_>) -> Check {
    let EventKind::ReadingTaken { reading, .. } = &moment.event.kind else { return Ok(()) };
    let Some(book) = moment.around.book else { return Ok(()) };
    let plan = &moment.view.plan;
    for judged in &reading.judged {
        let mut criteria = plan.criteria.iter();
        let Some(criterion) = criteria.find(|one| one.name == judged.criterion) else { continue };
        let Some(source) = plan.sources.get(&criterion.source) else { continue };
        let Some(calls) = source.calls() else { continue };
        if let Measured::Failed(words) = &judged.measured {
            sound_sources_answer(moment, book, source, words)?;
        }
        let Some(claim) = claim(moment, criterion, calls, judged)? else { continue };
        claims_are_allowed(moment, &claim)?;
        if matches!(source, Source::Executions(_)) {
            stream_counts_what_happened(moment, book, &claim)?;
        } else if criterion.pointer.matches('/').count() == 1 {
            metrics_count_what_happened(moment, book, &claim)?;
        }
    }
    Ok(())
}

/// No phase is rolled back for calls that ran before its flags had their values, whoever asked when.
pub(crate) fn old_calls_roll_nothing_back(moment: &Moment<'_>) -> Check {
    let EventKind::RollbackStarted { cause: RollbackCause::Breach { criterion, .. }, .. } =
        &moment.event.kind
    else {
        return Ok(());
    };
    let plan = &moment.view.plan;
    let criterion = plan.criteria.iter().find(|one| one.name == *criterion);
    let source = criterion.and_then(|criterion| plan.sources.get(&criterion.source));
    let (Some(criterion), Some(Source::Executions(calls)), Some(book), Some((_, reading))) =
        (criterion, source, moment.around.book, reading_of(moment.before))
    else {
        return Ok(());
    };
    let judged = reading.judged.iter().find(|judged| judged.criterion == criterion.name);
    let Some(judged) = judged else { return Ok(()) };
    let placed = |claim: &Claim<'_>| claim.is_placed(moment, book);
    let Some(told) = claim(moment, criterion, calls, judged)?.filter(placed) else { return Ok(()) };
    let Some(told) = told.tally() else { return Ok(()) };
    let ran_from = moment.view.flip_landed.unwrap_or(Timestamp::MIN);
    let (ended_from, refused) = (Timestamp::MIN, Refused::Nothing);
    let most = book.tally(&Counted { of: calls, ran_from, ended_from, refused }, moment.around.now);
    match told.errors <= most.errors {
        true => Ok(()),
        false => fail(NAME, moment, format!("told {told:?}; since {ran_from} {most:?}")),
    }
}

fn claim<'a>(
    moment: &Moment<'_>,
    criterion: &Criterion,
    calls: &'a Calls,
    judged: &Judged,
) -> Result<Option<Claim<'a>>, String> {
    let Measured::Number(value) = judged.measured else { return Ok(None) };
    let last = criterion.pointer.rsplit('/').next();
    let figure = CallFigure::ALL.into_iter().find(|figure| Some(figure.name()) == last);
    let basis = judged.basis;
    let samples = basis.and_then(|basis| basis.samples);
    match (figure, basis, samples) {
        (Some(figure), Some(basis), Some(samples)) => {
            Ok(Some(Claim { calls, figure, basis, value, samples }))
        }
        _ => fail(NAME, moment, format!("{} stands on nothing", criterion.name)),
    }
}

/// Too few calls show nothing, a part has no counts, and nothing from before the flip counts.
fn claims_are_allowed(moment: &Moment<'_>, claim: &Claim<'_>) -> Check {
    let least = u64::from(claim.calls.calls_min.max(1));
    if claim.figure != CallFigure::Calls && claim.samples < least {
        return fail(NAME, moment, format!("{} calls, {least} wanted", claim.samples));
    }
    let is_count = matches!(claim.figure, CallFigure::Calls | CallFigure::Errors);
    if is_count && claim.basis.extent == Extent::Part {
        return fail(NAME, moment, "a count of which a part is not known");
    }
    let flipped = moment.view.asked_flip.0.filter(|_| moment.around.clocks == Clocks::Right);
    match flipped.filter(|flipped| claim.basis.from < *flipped) {
        Some(flipped) => {
            fail(NAME, moment, format!("counted from {} on, flipped {flipped}", claim.basis.from))
        }
        None => Ok(()),
    }
}

impl Claim<'_> {
    /// False where its times may be wrong: with a clock that is wrong as well, what is said of a part has no exact ones, and
    /// until a call has ended since a process was first told of some, it is not known by how much the clocks differ.
    fn is_placed(&self, moment: &Moment<'_>, book: &Book) -> bool {
        let has_learnt = moment.view.told_from.zip(book.last_call());
        moment.around.clocks == Clocks::Right
            || self.basis.extent == Extent::Whole
                && has_learnt.is_some_and(|(told, last)| last > told)
    }

    /// The calls that it says there were, if they are a whole number.
    fn tally(&self) -> Option<Tally> {
        let errors = match self.figure {
            CallFigure::ErrorRate => self.value * self.samples as f64 / 100.0,
            CallFigure::Errors => self.value,
            _ => return None,
        };
        let whole = (errors - errors.round()).abs() < 1e-6 && errors >= 0.0;
        whole.then(|| Tally { calls: self.samples, errors: errors.round() as u64 })
    }
}

fn stream_counts_what_happened(moment: &Moment<'_>, book: &Book, claim: &Claim<'_>) -> Check {
    let (around, view) = (moment.around, moment.view);
    let counted = |ran_from, ended_from| {
        let refused = Refused::Nothing;
        Counted { of: claim.calls, ran_from, ended_from, refused }
    };
    let told = match (claim.figure, claim.tally()) {
        (CallFigure::Calls, _) => Tally { calls: claim.samples, errors: 0 },
        (_, Some(told)) => told,
        (_, None) => return fail(NAME, moment, "a share of calls that is none"),
    };
    // Whatever the clocks say: nothing is counted twice, and nothing from before the deployment had the new values.
    let since = view.asked_flip.1.filter(|_| claim.is_placed(moment, book));
    let since = since.unwrap_or(Timestamp::MIN);
    let most = book.tally(&counted(since, Timestamp::MIN), around.now);
    let well = told.calls.saturating_sub(told.errors);
    let fits = told.calls <= most.calls
        && told.errors <= most.errors
        && (claim.figure == CallFigure::Calls || well <= most.calls - most.errors);
    if !fits {
        return fail(NAME, moment, format!("told {told:?}; since {since} there were {most:?}"));
    }
    if around.clocks == Clocks::Any || claim.basis.extent == Extent::Part {
        return Ok(());
    }
    let asked_at = view.asked.map_or(view.last_at, |(_, at)| at);
    let from = claim.basis.from;
    let flipped = view.asked_flip.0.unwrap_or(from);
    let same = |tally: &Tally| match claim.figure {
        CallFigure::Calls => tally.calls == told.calls,
        _ => *tally == told,
    };
    // An answer that a fault has kept back is news when it comes, and as old as it was under way.
    let kept_back = book.fault_until + SETTLED >= around.now;
    let unheard = if kept_back { SILENT_MAX + UNDER_WAY_MAX } else { SILENT_MAX };
    let tallies = |late: SignedDuration| {
        let counted = counted(flipped + late, from + late);
        book.tallies(&counted, asked_at - unheard, around.now)
    };
    // What time it is the adapter knows from the question, and so up to as much too early as the reading has taken.
    let late_max = around.now.duration_since(asked_at);
    let mut late = book.moments(flipped, late_max).chain(book.moments(from, late_max));
    if tallies(SignedDuration::ZERO).iter().any(same)
        || late.any(|late| tallies(late).iter().any(same))
    {
        return Ok(());
    }
    let all = tallies(SignedDuration::ZERO);
    // A server puts what ended at one moment one after the other, so the edge may cut through it.
    if book.moments(flipped, SPREAD_MAX).chain(book.moments(from, SPREAD_MAX)).next().is_some() {
        let least = tallies(SPREAD_MAX);
        let is_within = |most: &Tally| {
            told.calls <= most.calls
                && told.errors <= most.errors
                && least.iter().any(|one| one.calls <= told.calls && one.errors <= told.errors)
        };
        if all.iter().any(is_within) {
            return Ok(());
        }
    }
    fail(NAME, moment, format!("told {told:?} since {from}; there were {all:?}"))
}

fn metrics_count_what_happened(moment: &Moment<'_>, book: &Book, claim: &Claim<'_>) -> Check {
    if moment.around.clocks == Clocks::Any {
        return Ok(());
    }
    let Basis { from, to, extent, .. } = claim.basis;
    let counted = |ended_from| {
        let refused = Refused::Failures;
        Counted { of: claim.calls, ran_from: Timestamp::MIN, ended_from, refused }
    };
    let told = match (claim.figure, claim.tally()) {
        (CallFigure::Calls, _) => Tally { calls: claim.samples, errors: 0 },
        (_, Some(told)) => told,
        (_, None) => return fail(NAME, moment, "a share of calls that is none"),
    };
    // A minute of the server's belongs to the one in which it begins.
    let most = book.tally(&counted(from), to + MINUTE);
    if told.calls > most.calls || told.errors > most.errors {
        return fail(NAME, moment, format!("told {told:?}; there were {most:?} at most"));
    }
    if extent == Extent::Part {
        return Ok(());
    }
    // A call that ended at that very moment is of the next minute.
    let least = book.tally(&counted(from + MINUTE), to - SignedDuration::from_nanos(1));
    if told.calls < least.calls {
        return fail(NAME, moment, format!("told {told:?}; there were {least:?} at least"));
    }
    // The server knows nothing of the time after the last call, nor of that before its start.
    // A question from before that start has been answered by the server that was.
    let was_asked_before = moment.view.asked.is_some_and(|(_, at)| at <= book.started_at);
    match was_asked_before || book.logged_at >= to - MINUTE && book.started_at <= from + MINUTE {
        true => Ok(()),
        false => fail(NAME, moment, format!("told {told:?} of a time that nobody knows")),
    }
}

/// A deployment that answers, and that can be reached, is not told as a failure.
fn sound_sources_answer(moment: &Moment<'_>, book: &Book, source: &Source, words: &str) -> Check {
    let Around { now, up, clocks, .. } = moment.around;
    let settled = |at: Timestamp| at + SETTLED < now;
    let is_sound = clocks == Clocks::Right
        && up > SETTLED
        && [book.fault_until, book.stopped_until, book.started_at].into_iter().all(settled);
    // A stream without an entry has not said anything yet.
    let has_told = !matches!(source, Source::Executions(_))
        || book.last_call().is_some_and(|last| last > book.started_at);
    match is_sound && has_told {
        true => fail(NAME, moment, format!("nothing is wrong, and it failed: {words}")),
        false => Ok(()),
    }
}

/// A breach that the stream shows, as it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting {
    /// The uptime with which it began.
    since: SignedDuration,
    /// The uptime at which a call failed while it stood.
    alarmed: Option<SignedDuration>,
}

/// 4, by the truth: calls that fail after the flip roll their phase back, while everything can be seen.
pub(crate) fn invariant_4_failing_calls_roll_back(
    view: &View,
    around: &Around<'_>,
    uptime: SignedDuration,
    lasting: &mut Option<Lasting>,
) -> Check {
    let Some(failed_at) = shows_a_breach(view, around) else {
        *lasting = None;
        return Ok(());
    };
    let known = lasting.get_or_insert(Lasting { since: uptime, alarmed: None });
    if failed_at == around.now && view.asked_since_flip {
        known.alarmed.get_or_insert(uptime);
    }
    let Lasting { since, alarmed } = *known;
    let waited = uptime - since;
    let ignored = alarmed.map_or(SignedDuration::ZERO, |at| uptime - at);
    match waited <= patience(view) && ignored <= ALARM_MAX {
        true => Ok(()),
        false => Err(format!(
            "invariant 4 (failing calls): those of {} have failed for {waited:#}, the last at {failed_at}, and nothing rolls it back",
            view.id
        )),
    }
}

/// When the last call failed that makes a source of this rollout a breach which everybody can see; `None` = there is
/// none.
fn shows_a_breach(view: &View, around: &Around<'_>) -> Option<Timestamp> {
    let Around { book, now, up, clocks, wall: _ } = *around;
    let book = book?;
    let settled = |at: Timestamp| at + SETTLED < now;
    let can_see = clocks == Clocks::Right
        && up > SETTLED
        && view.ended.is_none()
        && view.rolling.is_none()
        && !view.is_echo(now)
        && settled(book.fault_until)
        && settled(book.stopped_until);
    view.breach_hits().filter(|_| can_see)?;
    let judged = view.plan.criteria.iter().filter_map(|criterion| {
        match view.plan.sources.get(&criterion.source)? {
            Source::Executions(calls) => Some((criterion, calls)),
            _ => None,
        }
    });
    let mut failures = judged.filter_map(|(criterion, calls)| {
        let back = now - calls.over;
        let ended_from = view.flipped_at.map_or(back, |at| at.max(back));
        if book.lost_at >= ended_from - SETTLED {
            return None;
        }
        let ran_from = view.flipped_at.unwrap_or(back);
        let counted = Counted { of: calls, ran_from, ended_from, refused: Refused::Nothing };
        let tally = book.tally(&counted, now);
        let enough = tally.calls >= u64::from(calls.calls_min.max(1));
        let value = match criterion.pointer.as_str() {
            "/errorRate" => tally.errors as f64 / tally.calls.max(1) as f64 * 100.0,
            // Of a part there is no count, and the reading says so: it is blind, and a hold tells it.
            "/errors" if !view.unknown.contains(&criterion.name) => tally.errors as f64,
            _ => return None,
        };
        let breach = enough && says(criterion, &Measured::Number(value)) == Says::Breach;
        breach.then(|| book.last_failure(&counted)).flatten()
    });
    failures.next()
}

/// For so long a stream that is followed may be silent before it is no longer relied on.
const SILENT_MAX: SignedDuration = SignedDuration::from_secs(92);
/// For so long the answer to a question about the stream may be under way: the server holds it back, or the network does.
const UNDER_WAY_MAX: SignedDuration = SignedDuration::from_secs(75);
/// Over so long the emulator's server spreads a thousand calls that end at one moment.
const SPREAD_MAX: SignedDuration = SignedDuration::from_millis(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// After a fault, a start or a pause, everything is as usual again by then.
const SETTLED: SignedDuration = SignedDuration::from_mins(3);
/// From a call that fails to the rollback, while nothing is in the way. The daemon promises two seconds; a reading
/// that is under way and the pace of alarms come on top.
const ALARM_MAX: SignedDuration = SignedDuration::from_secs(45);
