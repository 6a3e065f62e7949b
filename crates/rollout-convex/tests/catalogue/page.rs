//! Owns `docs/convex-errors.md`: the page is what the adapter does, row by row.

use std::fmt::Write as _;
use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream;
use rollout_core::{Fault, FaultClass, Pace};

use crate::drive::{Ends, drive};
use crate::rows::{self, Answer, Place};

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_sorted_as_the_page_says() {
    let ends: Vec<Ends> =
        stream::iter(rows::all()).map(drive).buffered(ROWS_AT_ONCE).collect().await;
    assert!(ends.len() > 90, "rows are missing");
    for one in &ends {
        assert_consistent(one);
    }
    let page = render(&ends);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/convex-errors.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(is, says)| is != says);
    assert!(
        page == written,
        "docs/convex-errors.md is not what the adapter does; run BLESS=1. First difference: {differs:#?}"
    );
}

/// What must hold for each row, whatever the page says.
fn assert_consistent(ends: &Ends) {
    let row = &ends.row;
    let sentence = sentence(ends);
    assert!(!sentence.contains('<'), "{row:?}: a page was quoted: {sentence}");
    assert!(!sentence.contains("0123456789abcdef"), "{row:?}: {sentence}");
    assert!(!sentence.ends_with('.') && !sentence.contains('!'), "{row:?}: {sentence}");
    let faults = [&ends.write, &ends.smoke].into_iter().flatten().map(|(fault, _)| fault);
    let flags = ends.reading.iter().filter_map(|(flags, _)| flags.as_ref());
    let is_answered = |place| matches!(row.answer, Answer::Page(200)) && place == Place::Any;
    for fault in faults.chain(flags) {
        // A page in answer to a write is a success that reading back does not confirm.
        let is_same = fault.reason.starts_with(&sentence);
        assert!(is_same || is_answered(row.place), "{row:?}: {} / {sentence}", fault.reason);
        if fault.class == FaultClass::Permanent && !NOTHING_TO_DO.contains(&row.situation) {
            let advises = fault.reason.contains("; ") || fault.reason.contains(" until ");
            assert!(advises, "{row:?} says nothing to do: {}", fault.reason);
        }
    }
    if let Some((flags, words)) = &ends.reading {
        // A reading changes nothing, so nothing about it is ever unknown.
        assert!(flags.as_ref().is_none_or(|fault| fault.class != FaultClass::Unknown), "{row:?}");
        let asked = words.strip_prefix("could not ask m:f: ").unwrap_or(words);
        assert!(is_answered(row.place) || asked == sentence, "{row:?}: {words} / {sentence}");
    }
    if let Some((fault, _)) = &ends.smoke {
        // After anything but a definite refusal, nobody knows whether a user's function ran.
        let definite = matches!(
            row.answer,
            Answer::NoConnection | Answer::Coded(300..=407 | 409..=428, ..) | Answer::Empty(300..=407 | 409..=428)
                | Answer::Page(300..=407 | 409..=428) | Answer::Failed(..) | Answer::Thrown(_) | Answer::Old(_)
        );
        assert!(definite || fault.class == FaultClass::Unknown, "{row:?}: {fault:?}");
    }
}

/// The sentence that a person reads, without what the occasion adds.
fn sentence(ends: &Ends) -> String {
    let flags = ends.reading.as_ref().and_then(|(flags, _)| flags.as_ref());
    let smoke = ends.smoke.as_ref().map(|(fault, _)| fault);
    let write = ends.write.as_ref().map(|(fault, _)| fault);
    let fault = flags.or(smoke).or(write);
    fault.map(|fault| fault.reason.clone()).expect("every row ends in some fault")
}

fn class(fault: &Fault) -> &'static str {
    match fault.class {
        FaultClass::Transient => "transient",
        FaultClass::Permanent => "permanent",
        FaultClass::Unknown => "unknown",
    }
}

fn pace(pace: Pace) -> &'static str {
    match pace {
        Pace::Usual => "2–30 s",
        Pace::Overloaded => "3–16 s",
        Pace::Restarting => "1–16 s",
    }
}

fn render(ends: &[Ends]) -> String {
    let mut page = String::from(HEAD);
    let mut group = "";
    for one in ends {
        if group != one.row.group {
            group = one.row.group;
            write!(page, "\n## {group}\n\n{COLUMNS}").unwrap();
        }
        let reading = match &one.reading {
            None => "–",
            Some((None, _)) => "error",
            Some((Some(fault), _)) => class(fault),
        };
        let cell =
            |end: &Option<(Fault, Pace)>| end.as_ref().map_or("–", |(fault, _)| class(fault));
        let wait = match (&one.write, &one.smoke) {
            (Some((fault, wait)), _) if fault.class == FaultClass::Permanent => {
                format!("rollback: {}", pace(*wait))
            }
            (None, Some((fault, _))) if fault.class == FaultClass::Permanent => "–".into(),
            (Some((_, wait)), _) | (None, Some((_, wait))) => pace(*wait).into(),
            (None, None) => "–".into(),
        };
        let sentence = sentence(one).replace('|', "\\|");
        writeln!(
            page,
            "| {} | {} | {reading} | {} | {} | {wait} | {sentence} |",
            one.row.situation,
            one.row.answer.words(),
            cell(&one.write),
            cell(&one.smoke),
        )
        .unwrap();
    }
    page
}

/// The reason is the user's own function, or one that nobody can change.
const NOTHING_TO_DO: [&str; 6] = [
    "it threw",
    "it threw a ConvexError",
    "it failed, on an old server",
    "it failed, and the deployment redacts",
    "no audit log on this plan, or self-hosted",
    "audit log asked too far back",
];
/// Each holds a few sockets; two cores have other things to do.
const ROWS_AT_ONCE: usize = 8;
const COLUMNS: &str = "| situation | answer | reading | writing flags | smoke function | again after | what people read |
| --- | --- | --- | --- | --- | --- | --- |
";
const HEAD: &str = "# Every error of a deployment, and what becomes of it

Generated by `BLESS=1 cargo test -p rollout-convex --test catalogue` and compared with what the adapter does over real
sockets. How to read the classes, and what the core does with them: [convex.md](convex.md#how-failures-are-sorted).

* *reading*: flags, health sources and probes. *Error* is the error of that source alone.
* *again after*: the wait before the next try, from the first to the longest, doubling; a fifth is added at most. What is
  permanent waits for a person, but for a rollback, which is tried for ever. A smoke function whose end is unknown is tried
  again only with `repeat = \"safe\"`. Readings have their own waits, from 15 s to the planned interval.
* *what people read* is the reason in the log, in holds and in `rolloutctl get`. A write adds what reading back showed.
  The time-out of the test is 1.5 s; the default is 20 s.
";
