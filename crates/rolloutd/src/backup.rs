//! Owns `rolloutd backup`: one file with everything that the store holds, made by the running daemon or from the directory.
//!
//! The file appears under its name only when it is complete, on disk, and was read again from its first byte to its last.
//! Writes over a backup only when told to, and over nothing else ever. Credentials are not in the store, so they are not in a backup.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use rollout_api::Exit;
use rollout_api::client::{Client, ClientError};
use rollout_core::Seq;
use rollout_engine::store::backup::{self, About, Contents, Encoder};
use rollout_engine::store::{self, SledStore, Store as _, StoreError};

use crate::cli::Paint;
use crate::place::{Place, PlaceArgs, Trouble, check_owner, exit_of};
use crate::telemetry::chain;
use crate::verify;

/// What to back up, and where to.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Write over a backup that is there; no other file is ever replaced
    #[arg(long)]
    force: bool,
}

/// Makes a backup; what to say about it. `now` is written into it.
pub(crate) async fn run(
    args: &BackupArgs,
    now: Timestamp,
    paint: Paint,
) -> Result<String, Trouble> {
    let place = args.place.find(paint)?;
    let target = &args.to;
    let part = part_of(target);
    must_be_replaceable(target, Empty::IsSomebodys)?;
    must_be_replaceable(&part, Empty::IsOurs)?;
    if target.exists() && !args.force {
        let words = format!("{} is there already; --force writes over it", target.display());
        return Err(Trouble::new(Exit::Usage, words));
    }
    let made = make(&place, &part, now).await;
    let finished = made.and_then(|()| finish(&part, target));
    let contents = match finished {
        Ok(contents) => contents,
        Err(trouble) => {
            // Half a backup is worth nothing, and its name is free again.
            fs::remove_file(&part).ok();
            return Err(trouble);
        }
    };
    let bytes = fs::metadata(target).map_or(0, |found| found.len());
    Ok(format!(
        "backed up {} rollouts, {} entries, {bytes} bytes to {}; read again and found whole\n",
        contents.rollouts.len(),
        contents.entries(),
        target.display()
    ))
}

/// What a file without a byte in it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    /// Anything: whoever made it knows.
    IsSomebodys,
    /// What a backup that was cut short left, where nobody else writes.
    IsOurs,
}

/// Refuses a place where something else lies than a backup. The finished file takes its place, whatever it is: a device, a
/// socket, a link, or somebody's only copy of something else would be gone.
fn must_be_replaceable(place: &Path, empty: Empty) -> Result<(), Trouble> {
    let kind = match fs::symlink_metadata(place) {
        Ok(found) => found.file_type(),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let words = format!("failed to look at {}: {error}", place.display());
            return Err(Trouble::new(Exit::Usage, words));
        }
    };
    let words = match kind {
        _ if kind.is_file() => return must_be_a_backup(place, empty),
        _ if kind.is_dir() => "a directory; name a file in it",
        _ if kind.is_symlink() => "a symbolic link; name the file itself",
        _ if kind.is_block_device() || kind.is_char_device() => "a device",
        _ if kind.is_fifo() => "a pipe",
        _ => "no plain file",
    };
    let words = format!(
        "{} is {words}; a backup is written to a file, and takes its place",
        place.display()
    );
    Err(Trouble::new(Exit::Usage, words))
}

fn must_be_a_backup(place: &Path, empty: Empty) -> Result<(), Trouble> {
    let look = |file: File| {
        let is_empty = file.metadata()?.len() == 0;
        Ok(is_empty && empty == Empty::IsOurs || backup::begins_like_one(&mut &file)?)
    };
    match File::open(place).and_then(look) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let words = format!(
                "{} is there and is no backup of rolloutd, and nothing else is ever written over; name another file, or remove this one yourself",
                place.display()
            );
            Err(Trouble::new(Exit::Usage, words))
        }
        Err(error) => {
            let words = format!("failed to look at {}: {error}", place.display());
            Err(Trouble::new(Exit::Usage, words))
        }
    }
}

/// Writes the backup to `part`: from the daemon that runs, or from the directory.
async fn make(place: &Place, part: &Path, now: Timestamp) -> Result<(), Trouble> {
    let failed = |error: io::Error| {
        Trouble::new(Exit::Failed, format!("failed to write {}: {error}", part.display()))
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(part);
    let mut file = file.map_err(failed)?;
    if let Some(socket) = &place.socket {
        match download(socket, &mut file).await {
            Ok(Ok(())) => return file.sync_all().map_err(failed),
            Ok(Err(error)) => return Err(failed(error)),
            Err(ClientError::Unreachable { .. }) if is_empty(&file) => {}
            Err(ClientError::Problem(problem)) => {
                return Err(Trouble::new(problem.exit(), problem.to_string()));
            }
            Err(error) => {
                let words = format!("the backup broke off: {}", chain(&error));
                return Err(Trouble::new(Exit::Failed, words));
            }
        }
    }
    let dir = place.store.clone();
    // An empty directory, or a mount that is missing: opening would create a store, and its backup would be empty.
    if !SledStore::is_in(&dir) {
        let words = format!("there is no store in {}, and no daemon answers", dir.display());
        return Err(Trouble::new(Exit::Usage, words));
    }
    check_owner(&dir)?;
    let written = tokio::task::spawn_blocking(move || from_directory(&dir, &mut file, now)).await;
    match written.map_err(|panic| Trouble::new(Exit::Failed, chain(&panic)))? {
        Ok(()) => Ok(()),
        Err(Unmade::Store(error)) => Err(verify::trouble(place, &error)),
        Err(Unmade::File(error)) => Err(failed(error)),
    }
}

/// The outer error is the daemon's, the inner one the file's.
async fn download(socket: &Path, file: &mut File) -> Result<io::Result<()>, ClientError> {
    let mut pieces = Client::unix(socket)?.backup().await?;
    while let Some(piece) = pieces.next().await? {
        if let Err(error) = file.write_all(&piece) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.len() == 0)
}

/// Why a backup was not made from the directory.
enum Unmade {
    Store(StoreError),
    File(io::Error),
}

impl From<StoreError> for Unmade {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn from_directory(dir: &Path, file: &mut File, now: Timestamp) -> Result<(), Unmade> {
    let (mut store, _) = SledStore::open(dir, store::OpenOptions::default())?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let about = About { made_at: now.as_second(), version, age: store.age() };
    let mut encoder = Encoder::new();
    let mut write = |bytes: Vec<u8>| file.write_all(&bytes).map_err(Unmade::File);
    write(encoder.begin(&about))?;
    for head in store.heads()? {
        let entries = store.journal(head.rollout, Seq::FIRST)?;
        write(encoder.rollout(&head, entries.iter()))?;
    }
    write(encoder.end(&store.idempotency_rows()?, &store.quarantined()))?;
    file.sync_all().map_err(Unmade::File)?;
    Ok(store.close()?)
}

/// Reads the finished part again, and gives it its name.
fn finish(part: &Path, target: &Path) -> Result<Contents, Trouble> {
    let failed = |error: io::Error| {
        Trouble::new(Exit::Failed, format!("failed to finish {}: {error}", target.display()))
    };
    let file = File::open(part).map_err(failed)?;
    let contents = backup::check(&mut BufReader::new(file)).map_err(|error| {
        let words = format!("the backup is not whole ({}): {}", error.code(), chain(&error));
        Trouble::new(exit_of(error.code()), words)
    })?;
    fs::rename(part, target).map_err(failed)?;
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = File::open(dir.unwrap_or(Path::new("."))).map_err(failed)?;
    dir.sync_all().map_err(failed)?;
    Ok(contents)
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
