//! Owns the cases, what each must be judged as, and the run over all of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rollout_core::{Bound, Comparison, Criterion, Limit, Measured, Span, SpanEnd, Unit, Verdict};

/// Longest time for one request of a provider: long enough for a slow machine, short enough to wait for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
/// What the right credential holds; it must never be seen again.
pub(crate) const SECRET: &str = "hunter2hunter2";
/// Within target.
pub(crate) const PASS: f64 = 0.25;
/// Between target and alert.
pub(crate) const WARN: f64 = 3.0;
/// Beyond the alert.
pub(crate) const BREACH: f64 = 7.5;

/// What a provider is put into before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// The value is [`PASS`].
    Pass,
    /// The value is [`WARN`].
    Warn,
    /// The value is [`BREACH`].
    Breach,
    /// It answers, and there is no value.
    Empty,
    /// The value is NaN, however the provider writes it.
    NotANumber,
    /// The value is infinite, however the provider writes it.
    Infinite,
    /// It answers that it failed.
    Error,
    /// It does not answer in time.
    Slow,
    /// It is asked about [`past`], when the value was [`BREACH`]; now it is [`PASS`].
    Past,
    /// It is asked about [`past`] in a way in which it can tell only of the present.
    PastUnknown,
    /// Nobody listens.
    NoConnection,
    /// It is asked with another credential.
    WrongCredential,
    /// Its answer has no end, or none within bounds.
    Huge,
    /// Its answer is something else.
    Garbage,
}

/// What one asking came to.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What the criterion is told.
    pub(crate) measured: Measured,
    /// How many requests for it arrived, where the fixture counts them.
    pub(crate) requests: Option<usize>,
}

/// A source behind real HTTP.
pub(crate) trait Provider {
    /// Its name in the table.
    const NAME: &'static str;
    /// Cases that it cannot be put into, and why.
    const IMPOSSIBLE: &'static [(Case, &'static str)];

    /// Puts the fixture into `case` and asks once for a value in percent.
    async fn take(&mut self, case: Case) -> Taken;
}

/// All cases, in the order in which they are run. The first comes again at the end: a bad day leaves nothing behind.
const CASES: [Case; 15] = [
    Case::Pass,
    Case::Warn,
    Case::Breach,
    Case::Empty,
    Case::NotANumber,
    Case::Infinite,
    Case::Error,
    Case::Slow,
    Case::Past,
    Case::PastUnknown,
    Case::NoConnection,
    Case::WrongCredential,
    Case::Huge,
    Case::Garbage,
    Case::Pass,
];

/// The verdicts that are right. Never a pass where nothing was seen, never a breach where the provider failed.
fn right(case: Case) -> &'static [Verdict] {
    match case {
        Case::Pass => &[Verdict::Pass],
        Case::Warn => &[Verdict::Warn],
        Case::Breach | Case::Past => &[Verdict::Breach],
        Case::Empty | Case::PastUnknown => &[Verdict::NoData],
        // JSON has neither NaN nor infinity; there it is an answer that cannot be read.
        Case::NotANumber => &[Verdict::NoData, Verdict::Error],
        Case::Infinite => &[Verdict::Breach, Verdict::Error],
        Case::Error
        | Case::Slow
        | Case::NoConnection
        | Case::WrongCredential
        | Case::Huge
        | Case::Garbage => &[Verdict::Error],
    }
}

/// Runs every case against a provider and prints the table (`--nocapture`).
pub(crate) async fn run<P: Provider>(provider: &mut P) {
    let criterion = criterion();
    let mut rows = Vec::new();
    let mut taken = 0;
    for case in CASES {
        let name = format!("{:<12} {:<16}", P::NAME, format!("{case:?}"));
        if let Some((_, reason)) = P::IMPOSSIBLE.iter().find(|(impossible, _)| *impossible == case)
        {
            rows.push(format!("{name} not possible: {reason}"));
            continue;
        }
        let begun = Instant::now();
        let Taken { measured, requests } = provider.take(case).await;
        let took = begun.elapsed();
        let (verdict, reason) = criterion.judge(&measured);
        let shown = reason.unwrap_or_else(|| measured.shown(Unit::Percent));
        rows.push(format!("{name} {:<8} {shown}", verdict.word()));
        let row = rows.last().unwrap();
        assert!(right(case).contains(&verdict), "judged wrongly: {row}");
        assert!(!shown.contains(SECRET), "the credential is shown: {row}");
        assert!(took < TIMEOUT + Duration::from_secs(8), "took {took:?}: {row}");
        assert!(requests.is_none_or(|count| count <= 1), "asked {requests:?} times: {row}");
        taken += 1;
    }
    assert_eq!(taken + P::IMPOSSIBLE.len(), CASES.len(), "a case was left out");
    assert!(taken >= 9, "only {taken} cases were run");
    println!("{}", rows.join("\n"));
}

/// The range of time that ends now, as far as the fixtures are concerned.
pub(crate) fn present() -> Span {
    Span { from: moment("10:00"), to: moment("10:15"), end: SpanEnd::Now }
}

/// A range of time that nobody watched.
pub(crate) fn past() -> Span {
    Span { from: moment("08:30"), to: moment("08:45"), end: SpanEnd::Past }
}

/// The range that a case is about.
pub(crate) fn span(case: Case) -> Span {
    if matches!(case, Case::Past | Case::PastUnknown) { past() } else { present() }
}

/// A moment of the day that all fixtures live in.
pub(crate) fn moment(time: &str) -> Timestamp {
    format!("2026-08-21T{time}:00Z").parse().unwrap()
}

/// Target below 1 %, alert above 5 %, as in the guide.
fn criterion() -> Criterion {
    let bound = |comparison, limit| Some(Bound { comparison, limit: Limit::Number(limit) });
    Criterion {
        name: "error_rate".into(),
        label: "Error Rate".into(),
        source: "s".into(),
        pointer: String::new(),
        unit: Unit::Percent,
        target: bound(Comparison::Less, 1.0),
        alert: bound(Comparison::Greater, 5.0),
    }
}
