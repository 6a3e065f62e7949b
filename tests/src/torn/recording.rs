//! Owns what is kept of a run that was recorded: its trace, what was acknowledged when, and which steps belong to a start or
//! a stop. Chooses the moments at which the power fails.
//!
//! Refuses a recording that does not lead to the directory as it really was in the end: such a one lacks something.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::Path;

use fastrand::Rng;

use super::disk::Disk;
use super::draw::Image;
use super::trace::{Deed, Scope, Trace};

/// A run of several processes, one after the other, on one directory that was empty before.
#[derive(Clone, Debug)]
pub(super) struct Recording<F, W> {
    pub(super) trace: Trace,
    /// What was acknowledged, with the length that the recording had when that was heard; in this order.
    pub(super) told: Vec<(u64, F)>,
    /// The steps in which a process started or stopped.
    pub(super) turns: Vec<Range<usize>>,
    /// What a process needs besides its directory.
    pub(super) world: W,
}

/// Whether our own sync of the database counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Counts,
    /// As if it were not there; what sled makes durable by itself stays.
    IsLeftOut,
}

impl<F, W> Recording<F, W> {
    /// Puts a run together of what was recorded, heard, and seen of starts and stops (in lengths of the recording).
    pub(super) fn new(
        trace: Trace,
        told: Vec<(u64, F)>,
        turns: &[Range<u64>],
        world: W,
    ) -> Result<Self, String> {
        if told.is_empty() {
            return Err(String::from("nothing was acknowledged while it was recorded"));
        }
        let mut recording = Self { trace, told, turns: Vec::new(), world };
        let steps = |length| recording.trace.steps_before(length);
        let turns = turns.iter().map(|turn| steps(turn.start)..steps(turn.end));
        recording.turns = turns.filter(|turn| !turn.is_empty()).collect();
        Ok(recording)
    }

    /// What was acknowledged before the power failed behind the first `steps`.
    pub(super) fn told_before(&self, trace: &Trace, steps: usize) -> &[(u64, F)] {
        let position = trace.position(steps);
        &self.told[..self.told.partition_point(|(length, _)| *length <= position)]
    }

    /// The trace of one arm.
    pub(super) fn trace(&self, ours: Ours) -> Trace {
        match ours {
            Ours::Counts => self.trace.clone(),
            Ours::IsLeftOut => {
                self.trace.without(|path, scope| is_database(path) && scope == Scope::Content)
            }
        }
    }

    /// Moments at which the power fails, in order: most of them where a sync is about to return or has just done so, where
    /// somebody has just been answered, where sled begins a segment, and in starts and stops. Each is a number of steps that
    /// were begun.
    pub(super) fn moments(
        &self,
        trace: &Trace,
        ours: Ours,
        number: usize,
        dice: &mut Rng,
    ) -> Vec<usize> {
        let steps = trace.steps.len();
        let places = Places::of(trace);
        let answered = |dice: &mut Rng| {
            let (length, _) = &self.told[dice.usize(..self.told.len())];
            trace.steps_before(*length)
        };
        let one = |dice: &mut Rng| match dice.u8(0..100) {
            // Right after an answer, unless sled has made everything durable meanwhile: then nothing can be lost.
            _ if ours == Ours::IsLeftOut => {
                let mut tries = (0..TRIES).map(|_| answered(dice));
                tries.find(|moment| is_open(trace, *moment)).unwrap_or(steps)
            }
            0..25 => pick(&places.syncs, dice).unwrap_or(steps),
            25..32 => pick(&places.syncs, dice).map_or(steps, |step| step + 1),
            32..44 => answered(dice),
            44..58 => pick(&places.seams, dice).unwrap_or(steps) + dice.usize(1..=8),
            58..70 => pick(&places.others, dice).unwrap_or(steps) + dice.usize(0..=1),
            70..92 => {
                pick(&self.turns, dice).map_or(steps, |turn| dice.usize(turn.start..=turn.end))
            }
            _ => dice.usize(1..=steps),
        };
        let mut moments: Vec<_> = (0..number).map(|_| one(dice).min(steps)).collect();
        moments.sort_unstable();
        moments
    }
}

/// Steps that are worth a look.
struct Places {
    /// A sync of the database returned.
    syncs: Vec<usize>,
    /// A segment of the database was begun, or it was cut off.
    seams: Vec<usize>,
    /// Another sync returned, or a name changed.
    others: Vec<usize>,
}

impl Places {
    fn of(trace: &Trace) -> Self {
        let mut places = Self { syncs: Vec::new(), seams: Vec::new(), others: Vec::new() };
        for (number, step) in trace.steps.iter().enumerate() {
            let of_its_kind = match &step.deed {
                Deed::Synced { path, .. } if is_database(path) => &mut places.syncs,
                Deed::Write { path, at, .. } if is_database(path) && at % SEGMENT_BYTES == 0 => {
                    &mut places.seams
                }
                Deed::SetLength { path, .. } if is_database(path) => &mut places.seams,
                Deed::Write { .. } => continue,
                Deed::Synced { .. }
                | Deed::SetLength { .. }
                | Deed::Create { .. }
                | Deed::MakeDirectory { .. }
                | Deed::Rename { .. }
                | Deed::Remove { .. } => &mut places.others,
            };
            of_its_kind.push(number);
        }
        places
    }
}

/// Checks after the end of a process that the recording leads to the directory as it is. A process that was killed may have
/// recorded one thing that it did not do any more; that is taken back. The directory was `begun` when the recording was.
///
/// # Errors
///
/// When they differ: something was done that is not recorded.
pub(super) fn settle(recording: &Path, begun: &Image, dir: &Path) -> Result<Trace, String> {
    let mut trace = Trace::read(recording)?;
    let found = Image::read(dir)?;
    let difference = |trace: &Trace| {
        let mut disk = Disk::new(trace, begun);
        disk.advance(trace.steps.len())?;
        Ok::<_, String>(Image::whole(&disk).difference(&found))
    };
    let Some(first) = difference(&trace)? else {
        return shorten(recording, trace.end()).map(|()| trace);
    };
    let end = trace.forget_last();
    match difference(&trace)? {
        None => shorten(recording, end).map(|()| trace),
        Some(_) => Err(format!("the recording lacks something: {first}")),
    }
}

/// The power fails once more, while a process finds its way on a disk that a power cut has left: one of the disks that may be
/// left now. The process has ended; what it did on `begun` was recorded.
///
/// # Errors
///
/// When the recording lacks something.
pub(super) fn cut_again(
    recording: &Path,
    begun: &Image,
    dir: &Path,
    dice: &mut Rng,
) -> Result<Image, String> {
    let trace = settle(recording, begun, dir)?;
    let mut disk = Disk::new(&trace, begun);
    disk.advance(dice.usize(0..=trace.steps.len()))?;
    Ok(Image::draw(&disk, dice))
}

fn shorten(recording: &Path, length: u64) -> Result<(), String> {
    let file = OpenOptions::new().write(true).open(recording);
    file.and_then(|file| file.set_len(length)).map_err(|error| error.to_string())
}

/// How long a recording is by now, in bytes.
pub(super) fn length(recording: &Path) -> Result<u64, String> {
    fs::metadata(recording).map(|found| found.len()).map_err(|error| error.to_string())
}

/// Whether this is sled's log.
pub(super) fn is_database(path: &str) -> bool {
    path == "db" || path.ends_with("/db")
}

/// Whether the database was written to after its last sync.
fn is_open(trace: &Trace, moment: usize) -> bool {
    let before = trace.steps[..moment].iter().rev();
    let mut of_database = before.filter_map(|step| match &step.deed {
        Deed::Write { path, .. } if is_database(path) => Some(true),
        Deed::Synced { path, .. } if is_database(path) => Some(false),
        Deed::Write { .. }
        | Deed::Synced { .. }
        | Deed::SetLength { .. }
        | Deed::Create { .. }
        | Deed::MakeDirectory { .. }
        | Deed::Rename { .. }
        | Deed::Remove { .. } => None,
    });
    of_database.next() == Some(true)
}

/// How often an answer is looked for behind which something can be lost.
const TRIES: usize = 100;

fn pick<T: Clone>(places: &[T], dice: &mut Rng) -> Option<T> {
    dice.choice(places).cloned()
}

/// Size of sled's segments here, in bytes.
pub(super) const SEGMENT_BYTES: usize = 2 << 20;
