//! Owns how a backup is read: frame by frame, every length, checksum, number and chain checked, with the offset of whatever
//! does not fit. Trusts no length before it is known to be small.

use std::io::{self, Read};
use std::sync::Arc;

use rollout_core::{RolloutId, Seq};
use sha2::{Digest as _, Sha256};

use super::super::chain::Walk;
use super::super::codec::RECORD_BYTES_MAX;
use super::super::{
    Age, Hash, Head, IDEMPOTENCY_KEY_BYTES_MAX, IdempotencyRow, Quarantined, Standing, Surveyed,
    Unsettled,
};
use super::{About, BackupError, Contents, FIRST_WORDS, FORMAT};

/// Checks a backup from its first byte to its last.
///
/// # Errors
/// `RO0209` with the offset of the first frame that does not fit; `RO0205` when the file cannot be read.
pub fn check(source: &mut dyn Read) -> Result<Contents, BackupError> {
    walk(source, &mut |_| Ok(()))
}

/// Whether a file begins as a backup of any format does; says nothing about the rest of it.
///
/// # Errors
/// What the system said when it could not be read.
pub fn begins_like_one(source: &mut dyn Read) -> io::Result<bool> {
    let mut words = Vec::with_capacity(FIRST_WORDS.len());
    source.take(FIRST_WORDS.len() as u64).read_to_end(&mut words)?;
    Ok(words == FIRST_WORDS.as_bytes())
}

/// The first entry of the first rollout in a backup that is whole.
pub(in crate::store) fn first_entry(source: &mut dyn Read) -> Result<Option<Vec<u8>>, BackupError> {
    let mut first = None;
    walk(source, &mut |item| {
        if let (Item::Entry(_, payload), None) = (item, &first) {
            first = Some(payload);
        }
        Ok(())
    })?;
    Ok(first)
}

/// One checked piece of a backup, in the order of the file.
pub(super) enum Item<'a> {
    /// The next entry of a rollout.
    Entry(RolloutId, Vec<u8>),
    /// The end of a rollout; its entries came before.
    Head(&'a Head),
    /// An idempotency row.
    Key(IdempotencyRow),
}

type Take<'a> = dyn FnMut(Item<'_>) -> Result<(), BackupError> + 'a;

/// Reads a backup and hands out its pieces. Only when this returns `Ok` is the backup known to be whole.
pub(super) fn walk(source: &mut dyn Read, take: &mut Take<'_>) -> Result<Contents, BackupError> {
    let mut frames = Frames { source, offset: 0, frame_at: 0, hasher: Sha256::new() };
    frames.first_line()?;
    let mut frame = frames.next()?;
    let about = about(&frames, &frame)?;
    let mut contents = Contents { about, rollouts: Vec::new(), keys: 0, quarantined: Vec::new() };
    loop {
        frame = frames.next()?;
        match frame.kind {
            b'H' => {
                let last = contents.rollouts.last().map(|surveyed: &Surveyed| surveyed.rollout);
                contents.rollouts.push(journal(&mut frames, &frame, last, take)?);
            }
            b'K' => {
                take(Item::Key(key(&frames, &frame)?))?;
                contents.keys += 1;
            }
            b'Q' => {
                contents.quarantined.push(aside(&frames, &frame)?);
            }
            b'Z' => {
                end(&mut frames, &frame, &contents)?;
                return Ok(contents);
            }
            _ => return Err(frames.damaged("there is a frame of an unknown kind")),
        }
    }
}

/// A head, and behind it the entries that it counts.
fn journal(
    frames: &mut Frames<'_>,
    frame: &Frame,
    last: Option<RolloutId>,
    take: &mut Take<'_>,
) -> Result<Surveyed, BackupError> {
    let mut fields = frame.fields(frames);
    let rollout = fields.rollout()?;
    let seq = fields.seq()?;
    let hash: Hash = fields.bytes()?;
    let standing = match fields.rest() {
        [0] => Standing::Live,
        [1] => Standing::Ended,
        _ => return Err(frames.damaged("a head says no standing that there is")),
    };
    if last.is_some_and(|last| last >= rollout) {
        return Err(frames.damaged("the rollouts are not in order"));
    }
    let head = Head { rollout, seq, hash, standing };
    let head_at = frames.frame_at;
    let mut walk = Walk::new(head, Seq::FIRST);
    let mut previous: Hash = [0; 32];
    let mut payloads = Vec::new();
    for _ in 0..seq.get() {
        let frame = frames.next()?;
        let mut fields = frame.fields(frames);
        let fits = frame.kind == b'E' && fields.rollout()? == rollout;
        let payload = match fits {
            true => {
                walk.expect(fields.seq()?).map_err(|_| frames.misplaced())?;
                fields.rest().to_vec()
            }
            false => return Err(frames.damaged("an entry is missing")),
        };
        previous = walk.step(&previous, &payload).map_err(|_| frames.misplaced())?;
        if standing == Standing::Live {
            payloads.push(payload.clone());
        }
        take(Item::Entry(rollout, payload))?;
    }
    if walk.finish().is_err() {
        let what = "the entries of a rollout are not the ones that its head names";
        return Err(BackupError::Damaged { offset: head_at, what });
    }
    take(Item::Head(&head))?;
    let unsettled = Unsettled::of(payloads.iter().map(Vec::as_slice));
    Ok(Surveyed { rollout, entries: seq.get(), standing: Some(standing), unsettled })
}

fn about(frames: &Frames<'_>, frame: &Frame) -> Result<About, BackupError> {
    if frame.kind != b'A' {
        return Err(frames.damaged("it does not begin with what it says about itself"));
    }
    let mut fields = frame.fields(frames);
    let made_at = i64::from_le_bytes(fields.bytes()?);
    let age = Age { incarnation: fields.number()?, commits: fields.number()? };
    Ok(About { made_at, version: fields.text(TEXT_BYTES_MAX)?, age })
}

fn key(frames: &Frames<'_>, frame: &Frame) -> Result<IdempotencyRow, BackupError> {
    let mut fields = frame.fields(frames);
    let rollout = fields.rollout()?;
    let request_digest = fields.bytes()?;
    let key = fields.text(IDEMPOTENCY_KEY_BYTES_MAX)?;
    match key.is_empty() {
        true => Err(frames.damaged("an idempotency key is empty")),
        false => Ok(IdempotencyRow { key, rollout, request_digest }),
    }
}

fn aside(frames: &Frames<'_>, frame: &Frame) -> Result<Quarantined, BackupError> {
    let mut fields = frame.fields(frames);
    let rollout = fields.rollout()?;
    let seq = fields.number()?;
    let why = u32::from_le_bytes(fields.bytes()?) as usize;
    let texts = fields.text(2 * TEXT_BYTES_MAX)?;
    match texts.split_at_checked(why) {
        Some((why, place)) => {
            Ok(Quarantined { rollout, seq, why: why.to_owned(), place: place.to_owned() })
        }
        None => Err(frames.damaged("the texts of a quarantined rollout do not fit")),
    }
}

fn end(frames: &mut Frames<'_>, frame: &Frame, contents: &Contents) -> Result<(), BackupError> {
    let mut fields = frame.fields(frames);
    let counts = [
        contents.rollouts.len() as u64,
        contents.entries(),
        contents.keys,
        contents.quarantined.len() as u64,
    ];
    for count in counts {
        if fields.number()? != count {
            return Err(frames.damaged("the numbers at the end are not what was read"));
        }
    }
    let digest: [u8; 32] = frames.hasher.clone().finalize().into();
    if fields.rest() != digest {
        return Err(frames.damaged("the digest at the end does not fit what was read"));
    }
    frames.frame_at = frames.offset;
    match frames.fill(1)?.is_empty() {
        true => Ok(()),
        false => Err(frames.damaged("something follows the end")),
    }
}

/// Reads frames and knows where it is.
struct Frames<'a> {
    source: &'a mut dyn Read,
    offset: u64,
    /// Where the last frame began.
    frame_at: u64,
    /// Over everything before the end frame.
    hasher: Sha256,
}

struct Frame {
    kind: u8,
    body: Vec<u8>,
}

impl Frames<'_> {
    fn first_line(&mut self) -> Result<(), BackupError> {
        let words = self.fill(FIRST_WORDS.len())?;
        if words != FIRST_WORDS.as_bytes() {
            return Err(BackupError::Foreign);
        }
        let mut digits = String::new();
        loop {
            let byte = self.fill(1)?;
            match byte.first() {
                Some(b'\n') => break,
                Some(digit) if digit.is_ascii_digit() && digits.len() < 9 => {
                    digits.push(char::from(*digit));
                }
                Some(_) | None => return Err(BackupError::Foreign),
            }
        }
        match digits.parse() {
            Ok(FORMAT) => {
                self.hasher.update(format!("{FIRST_WORDS}{digits}\n"));
                Ok(())
            }
            Ok(found) if found > FORMAT => Err(BackupError::TooNew { found }),
            Ok(_) | Err(_) => Err(BackupError::Foreign),
        }
    }

    fn next(&mut self) -> Result<Frame, BackupError> {
        self.frame_at = self.offset;
        let prefix = self.exactly(8)?;
        let (len, crc) = prefix.split_at(4);
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if !(1..=FRAME_BYTES_MAX).contains(&len) {
            return Err(self.damaged("the length of a frame makes no sense"));
        }
        let body = self.exactly(len)?;
        if crc != crc32fast::hash(&body).to_le_bytes() {
            return Err(self.damaged("the checksum does not fit the bytes"));
        }
        let kind = body[0];
        if kind != b'Z' {
            self.hasher.update(&prefix);
            self.hasher.update(&body);
        }
        Ok(Frame { kind, body })
    }

    fn exactly(&mut self, len: usize) -> Result<Vec<u8>, BackupError> {
        let bytes = self.fill(len)?;
        match bytes.len() == len {
            true => Ok(bytes),
            false => Err(self.damaged("the file ends before its end was written")),
        }
    }

    /// Reads `len` bytes, or what there is.
    fn fill(&mut self, len: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::with_capacity(len);
        let read = (&mut *self.source).take(len as u64).read_to_end(&mut bytes);
        read.map_err(|source: io::Error| BackupError::Io { source: Arc::new(source) })?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    fn damaged(&self, what: &'static str) -> BackupError {
        BackupError::Damaged { offset: self.frame_at, what }
    }

    fn misplaced(&self) -> BackupError {
        self.damaged("an entry is not the next one of its rollout")
    }
}

impl Frame {
    fn fields<'a>(&'a self, frames: &Frames<'_>) -> Fields<'a> {
        Fields { rest: &self.body[1..], frame_at: frames.frame_at }
    }
}

/// What is left of a frame's body.
struct Fields<'a> {
    rest: &'a [u8],
    frame_at: u64,
}

impl<'a> Fields<'a> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.too_short())?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn number(&mut self) -> Result<u64, BackupError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn rollout(&mut self) -> Result<RolloutId, BackupError> {
        RolloutId::new(self.number()?).ok_or_else(|| self.too_short())
    }

    fn seq(&mut self) -> Result<Seq, BackupError> {
        Seq::new(self.number()?).ok_or_else(|| self.too_short())
    }

    fn text(&mut self, bytes_max: usize) -> Result<String, BackupError> {
        let text = str::from_utf8(self.rest).ok().filter(|text| text.len() <= bytes_max);
        text.map(str::to_owned).ok_or_else(|| self.too_short())
    }

    fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn too_short(&self) -> BackupError {
        let what = "the fields of a frame make no sense";
        BackupError::Damaged { offset: self.frame_at, what }
    }
}

/// Longest of a backup's own texts.
const TEXT_BYTES_MAX: usize = 4_096;
/// One record with its place is the largest frame.
const FRAME_BYTES_MAX: usize = RECORD_BYTES_MAX + 64;
