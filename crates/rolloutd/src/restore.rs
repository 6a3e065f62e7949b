//! Owns `rolloutd restore`: the store as it was when a backup was made.
//!
//! Refuses while a daemon holds the directory or answers at its socket, and where a store is unless that is to be moved away; nothing is deleted, and
//! until the last moment nothing is changed.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use nix::unistd::Uid;
use rollout_api::Exit;
use rollout_engine::store::backup::{self, BackupError, Existing, HoldOrder, Restored, Then};
use rollout_engine::store::{Standing, Surveyed, Unsettled};

use crate::access::Peer;
use crate::cli::Paint;
use crate::place::{Place, PlaceArgs, Trouble, check_owner, exit_of, open_backup};
use crate::socket::{SocketError, check_free};
use crate::telemetry::chain;

/// What to restore, and where to.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Move a store that is there to `store.before-restore-N` beside it
    #[arg(long)]
    replace: bool,
    /// Do not hold the rollouts that were live then. Only when nothing happened since the backup: no flag changed, nobody
    /// gave an order
    #[arg(long)]
    go_on: bool,
}

/// Restores; what to say about it.
pub(crate) fn run(args: &RestoreArgs, now: Timestamp, paint: Paint) -> Result<String, Trouble> {
    let place = args.place.find(paint)?;
    check_owner(&place.store)?;
    must_be_stopped(&place)?;
    let existing = if args.replace { Existing::MoveAway } else { Existing::Keep };
    let shown = args.from.display();
    let mut file = open_backup(&args.from)?;
    let then = match args.go_on {
        true => Then::GoOn,
        false => Then::Hold(HoldOrder {
            at: now,
            actor: Peer { uid: Some(Uid::effective().as_raw()) }.name(),
            reason: format!(
                "restored from {shown}: compare the flags with the deployment, then resume"
            ),
        }),
    };
    let restored = backup::restore(&place.store, &mut file, existing, &then).map_err(|error| {
        let (code, dir) = (error.code(), place.store.display());
        if matches!(error, BackupError::Occupied) {
            let words = format!(
                "there is a store in {dir}; --replace moves it to `store.before-restore-N` beside it and restores"
            );
            return Trouble::new(Exit::Usage, words);
        }
        let words = format!("failed to restore {shown} into {dir} ({code}): {}", chain(&error));
        Trouble::new(exit_of(code), words)
    })?;
    Ok(told(&restored, &then))
}

/// A daemon that has lost its store drives rollouts on and does not hold the directory meanwhile, so the lock alone does not
/// say that none is there.
fn must_be_stopped(place: &Place) -> Result<(), Trouble> {
    match place.socket.as_deref().map(check_free) {
        Some(Err(SocketError::InUse { path })) => {
            let words = format!(
                "a daemon answers at {} (RO0204); stop it first: it goes on with what it knows, and would overwrite what is restored",
                path.display()
            );
            Err(Trouble::new(exit_of("RO0204"), words))
        }
        // Who cannot be asked is not proved to be there; the lock is still to be had.
        Some(Ok(()) | Err(_)) | None => Ok(()),
    }
}

fn told(restored: &Restored, then: &Then) -> String {
    let Restored { contents, moved_to } = restored;
    let made = Timestamp::from_second(contents.about.made_at);
    let made = made.map_or_else(|_| "an unknown time".to_owned(), |made| made.to_string());
    let mut text = format!(
        "restored {} rollouts, {} entries, as of {made}\n",
        contents.rollouts.len(),
        contents.entries()
    );
    let is_live = |it: &&Surveyed| it.standing == Some(Standing::Live);
    let ids = |which: fn(Option<Unsettled>) -> bool| {
        let these = contents.rollouts.iter().filter(is_live).filter(|it| which(it.unsettled));
        these.map(|it| it.rollout.to_string()).collect::<Vec<_>>()
    };
    let (live, ended) =
        (ids(|unsettled| unsettled.is_none()), ids(|unsettled| unsettled.is_some()));
    if let Some(old) = moved_to {
        text.push_str(&format!("the store that was there is now {}\n", old.display()));
    }
    match live.is_empty() {
        true => text.push_str("no rollout was live then\n"),
        false => text.push_str(&format!("live then: {}, {}\n", live.join(", "), words(then))),
    }
    if !ended.is_empty() {
        let ended = ended.join(", ");
        text.push_str(&format!("ended then, incident or flags not settled: {ended}\n"));
    }
    text
}

fn words(then: &Then) -> &'static str {
    match then {
        Then::GoOn => "and going on with the next start of the daemon",
        Then::Hold(_) => {
            "now held. What happened since then is not known to the store: start the daemon, compare the flags with the \
             deployment, then `rolloutctl resume` each (docs/operating.md, \"Backup and restore\")"
        }
    }
}
