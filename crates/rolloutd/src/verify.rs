//! Owns `rolloutd verify`: every entry of every journal checked, by the daemon that holds the store or on the files.
//!
//! Changes nothing: without a daemon it reads a copy of the files, which is gone again when it ends. Ends with 0 when all is
//! sound and with 3 when something is not; standard output is the table.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use rollout_api::client::{Client, ClientError};
use rollout_api::{Exit, QuarantinedView, VerifiedRollout, VerifyReport};
use rollout_engine::store::{SledStore, Standing, StoreError, Survey, Surveyed, Unsettled, backup};

use crate::cli::Paint;
use crate::place::{Place, PlaceArgs, Trouble, check_owner, exit_of, open_backup};
use crate::telemetry::chain;

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Verify a backup instead of the store
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "state_dir"])]
    backup: Option<PathBuf>,
    /// Without a daemon: read the files themselves, not a copy of them. For when there is no room for a copy. Where the
    /// database is damaged, opening it cuts off what lies behind the first bad place: copy the state directory elsewhere first
    #[arg(long, conflicts_with = "backup")]
    in_place: bool,
}

/// Verifies; the page for standard output and how to end.
pub(crate) async fn run(args: &VerifyArgs, paint: Paint) -> Result<(String, Exit), Trouble> {
    let report = match &args.backup {
        Some(file) => of_backup(file)?,
        None => of_store(&args.place.find(paint)?, args.in_place).await?,
    };
    let exit = if report.sound { Exit::Done } else { Exit::Refused };
    Ok((page(&report), exit))
}

/// The daemon first: it holds the store while it runs.
async fn of_store(place: &Place, in_place: bool) -> Result<VerifyReport, Trouble> {
    if let Some(socket) = &place.socket {
        match ask(socket).await {
            Ok(report) => return Ok(report),
            Err(ClientError::Unreachable { .. }) => {}
            Err(ClientError::Problem(problem)) => {
                return Err(Trouble::new(problem.exit(), problem.to_string()));
            }
            Err(error @ ClientError::Protocol { .. }) => {
                return Err(Trouble::new(Exit::Failed, chain(&error)));
            }
        }
    }
    let store = place.store.clone();
    if store.exists() {
        check_owner(&store)?;
    }
    let examine = if in_place { SledStore::examine_in_place } else { SledStore::examine };
    let examined = tokio::task::spawn_blocking(move || examine(&store)).await;
    let examined = examined.map_err(|panic| Trouble::new(Exit::Failed, chain(&panic)))?;
    examined.map(|survey| report(&survey)).map_err(|error| {
        match error.is_disk_full() && !in_place {
            true => without_room(place, &error),
            false => trouble(place, &error),
        }
    })
}

/// There is no room for the copy that is read.
fn without_room(place: &Place, error: &StoreError) -> Trouble {
    let Trouble { exit, words } = trouble(place, error);
    let advice = "\nThe files are read from a copy beside them, so that nothing is changed, and there is no room for one. Make \
                  room, or copy the state directory to another disk and name that with --state-dir; --in-place reads the \
                  files themselves, for which 4 MiB are enough, and opening a damaged database cuts off what lies behind the first bad place";
    Trouble::new(exit, format!("{words}{advice}"))
}

async fn ask(socket: &Path) -> Result<VerifyReport, ClientError> {
    Client::unix(socket)?.verify().await
}

/// Why the files could not be examined.
pub(crate) fn trouble(place: &Place, error: &StoreError) -> Trouble {
    let (code, dir) = (error.code(), place.store.display());
    let words = format!("failed to open the store in {dir} ({code}): {}", chain(error));
    let advice = advice(error);
    match (error, &place.socket) {
        (StoreError::Missing, None) => {
            Trouble::new(Exit::Usage, format!("there is no store in {dir}"))
        }
        (StoreError::Missing, Some(socket)) => Trouble::new(
            Exit::Usage,
            format!("there is no store in {dir}, and nobody answers at {}", socket.display()),
        ),
        (StoreError::Locked { .. } | StoreError::Bereft { .. }, Some(socket)) => Trouble::new(
            Exit::Unreachable,
            format!("{words}, and nobody answers at {}", socket.display()),
        ),
        _ => Trouble::new(exit_of(code), format!("{words}{advice}")),
    }
}

/// What a person can do about a store that is refused; empty where the error says it itself.
pub(crate) fn advice(error: &StoreError) -> String {
    let restore = "\n  rolloutd restore --from FILE --replace   go back to a backup; the damaged store is kept beside it";
    let verify =
        "\n  rolloutd verify                          every rollout, with its first bad entry";
    if matches!(error, StoreError::Unsound { .. } | StoreError::Damaged { .. }) {
        return format!(
            "\nWays on, with the daemon stopped (docs/operating.md, \"The store is damaged\"):{verify}{restore}\
             \n  rolloutd serve --quarantine              set the damaged rollouts aside and serve the rest"
        );
    }
    if matches!(error, StoreError::Unreadable { .. }) {
        return format!(
            "\nThe database cannot be opened, so --quarantine cannot help (docs/operating.md, \"The store is damaged\"):{restore}"
        );
    }
    String::new()
}

fn of_backup(path: &Path) -> Result<VerifyReport, Trouble> {
    let file = open_backup(path)?;
    let contents = backup::check(&mut BufReader::new(file)).map_err(|error| {
        let words =
            format!("failed to verify {} ({}): {}", path.display(), error.code(), chain(&error));
        Trouble::new(exit_of(error.code()), words)
    })?;
    let survey = Survey {
        rollouts: contents.rollouts,
        keys: contents.keys,
        quarantined: contents.quarantined,
        ..Survey::default()
    };
    Ok(report(&survey))
}

/// A survey as the wire and the table have it.
pub(crate) fn report(survey: &Survey) -> VerifyReport {
    let findings = &survey.findings;
    let rollouts = survey.rollouts.iter().map(|surveyed: &Surveyed| {
        let finding = findings.of(surveyed.rollout);
        // A journal that lost its end may look live; the witness knows better.
        let standing = finding.and_then(|finding| finding.standing).or(surveyed.standing);
        let state = state(standing, surveyed.unsettled);
        VerifiedRollout {
            id: surveyed.rollout.to_string(),
            entries: surveyed.entries,
            state: state.to_owned(),
            first_bad: finding.map(|finding| finding.seq),
            wrong: finding.map(|finding| finding.what.to_string()).unwrap_or_default(),
        }
    });
    let quarantined = survey.quarantined.iter().map(|aside| QuarantinedView {
        id: aside.rollout.to_string(),
        why: aside.why.clone(),
        place: aside.place.clone(),
    });
    let loss = findings.loss.iter().map(ToString::to_string);
    VerifyReport {
        sound: findings.is_empty(),
        rollouts: rollouts.collect(),
        quarantined: quarantined.collect(),
        keys: survey.keys,
        problems: loss.chain(findings.rows.iter().cloned()).collect(),
    }
}

/// How a rollout stands, in words.
fn state(standing: Option<Standing>, unsettled: Option<Unsettled>) -> &'static str {
    match (standing, unsettled) {
        (Some(Standing::Live), None) => "live",
        (Some(Standing::Live), Some(Unsettled::Incident)) => "ended, incident open",
        (Some(Standing::Live), Some(Unsettled::Flags)) => "ended, flags watched",
        (Some(Standing::Ended), _) => "ended",
        (None, _) => "unknown",
    }
}

/// The table.
fn page(report: &VerifyReport) -> String {
    let mut rows = vec![["ROLLOUT", "ENTRIES", "STATE", "VERDICT"].map(str::to_owned)];
    for rollout in &report.rollouts {
        let verdict = match rollout.first_bad {
            None => "sound".to_owned(),
            Some(0) => format!("DAMAGED at its head: {}", rollout.wrong),
            Some(seq) => format!("DAMAGED from entry {seq} on: {}", rollout.wrong),
        };
        let entries = rollout.entries.to_string();
        rows.push([rollout.id.clone(), entries, rollout.state.clone(), verdict]);
    }
    for aside in &report.quarantined {
        let verdict = format!("set aside earlier, see {} below the store", aside.place);
        rows.push([aside.id.clone(), "-".to_owned(), "quarantined".to_owned(), verdict]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (ids, entries, states) = (width(0), width(1), width(2));
    let mut page = String::new();
    for [id, count, state, verdict] in &rows {
        page.push_str(&format!("{id:<ids$}  {count:>entries$}  {state:<states$}  {verdict}\n"));
    }
    let bad = report.rollouts.iter().filter(|rollout| rollout.first_bad.is_some()).count();
    let all = report.rollouts.len();
    let counted =
        format!("{all} rollouts, {} entries, {} idempotency keys", report.entries(), report.keys);
    let counted = match report.quarantined.len() {
        0 => counted,
        aside => format!("{counted}, {aside} quarantined"),
    };
    page.push_str(&match report.sound {
        true => format!("{counted}: all sound\n"),
        false => format!("{counted}: {bad} of {all} rollouts damaged\n"),
    });
    for problem in &report.problems {
        page.push_str(&format!("also: {problem}\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use rollout_core::RolloutId;
    use rollout_engine::store::{Damage, Finding, Findings, Loss};

    use super::*;

    #[test]
    fn the_table_names_the_first_bad_entry() {
        let id = |number| RolloutId::new(number).unwrap();
        let surveyed = |number, entries| Surveyed {
            rollout: id(number),
            entries,
            standing: Some(Standing::Live),
            unsettled: None,
        };
        let aborted = Surveyed { unsettled: Some(Unsettled::Incident), ..surveyed(3, 40) };
        let finding = Finding {
            rollout: id(12),
            seq: 7,
            what: Damage::Checksum,
            standing: Some(Standing::Live),
        };
        let findings = Findings {
            rollouts: vec![finding],
            loss: Some(Loss::Behind { store: 3, witness: 4 }),
            ..Findings::default()
        };
        let survey = Survey {
            rollouts: vec![surveyed(1, 228), aborted, surveyed(12, 9)],
            keys: 2,
            findings,
            ..Survey::default()
        };
        let page = page(&report(&survey));
        let expected = "ROLLOUT  ENTRIES  STATE                 VERDICT\n\
                        r1           228  live                  sound\n\
                        r3            40  ended, incident open  sound\n\
                        r12            9  live                  DAMAGED from entry 7 on: the checksum does not fit the bytes at this place\n\
                        3 rollouts, 277 entries, 2 idempotency keys: 1 of 3 rollouts damaged\n\
                        also: the store went back in time, it ends at commit 3 although commit 4 was acknowledged\n";
        assert_eq!(page, expected);
    }
}
