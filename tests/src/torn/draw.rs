//! Owns the disks that a power cut may leave: draws one of those that the contract of `disk.rs` allows.
//!
//! Fair coins for each sector would hardly ever lose one write whole and keep the next, or tear just one. So the ways in
//! which writes get lost are drawn first, for each file on its own, and then which ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fastrand::Rng;

use super::disk::{Disk, Done, Kind, Names, Object};

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What the kernel writes back at once when nothing tears.
const PAGE_BYTES: usize = 4_096;

/// A directory as it is found when the power is back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) directories: Vec<String>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// How much was lost of what might have been, for people.
    pub(super) words: String,
}

/// How the writes to a file get lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// None is kept.
    Nothing,
    /// All are.
    Everything,
    /// Each sector, page or write with this chance.
    Sectors(f64),
    Pages(f64),
    Writes(f64),
    /// As far as this sector, counted in the order of writing.
    Until(usize),
    /// From this one on.
    From(usize),
    /// All but this one.
    Without(usize),
    /// Just this one.
    Only(usize),
}

impl Image {
    /// One of the disks that are allowed at this moment.
    pub(super) fn draw(disk: &Disk<'_>, dice: &mut Rng) -> Self {
        let kept = match dice.u8(0..4) {
            0 => disk.durable,
            1 => disk.changes.len(),
            _ => dice.usize(disk.durable..=disk.changes.len()),
        };
        let lost = disk.changes.len() - kept;
        let mut words =
            format!("{lost} of {} changes of names lost", disk.changes.len() - disk.durable);
        let mut image = Self::default();
        for (path, object) in names_after(disk, kept) {
            let object = &disk.objects[object];
            let way = Way::draw(sectors_of(object), dice);
            if !object.pending.is_empty() {
                words += &format!("; {path}: {way:?} of {} sectors", sectors_of(object));
            }
            image.add(path, object.kind, || lose(object, kept, way, dice));
        }
        image.words = words;
        image
    }

    /// The disk on which nothing is lost.
    pub(super) fn whole(disk: &Disk<'_>) -> Self {
        let mut image = Self::default();
        for (path, object) in names_after(disk, disk.changes.len()) {
            let object = &disk.objects[object];
            image.add(path, object.kind, || {
                let mut content = object.content.clone();
                object.pending.iter().for_each(|done| done.what.apply(&mut content));
                content
            });
        }
        image
    }

    fn add(&mut self, path: String, kind: Kind, content: impl FnOnce() -> Vec<u8>) {
        match kind {
            Kind::File => drop(self.files.insert(path, content())),
            Kind::Directory => self.directories.push(path),
        }
    }

    /// Puts everything into the empty directory `dir`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn write(&self, dir: &Path) -> Result<(), String> {
        // Parents sort before what is in them.
        for path in &self.directories {
            fs::create_dir_all(dir.join(path)).map_err(|error| format!("{path}: {error}"))?;
        }
        for (path, content) in &self.files {
            fs::write(dir.join(path), content).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(())
    }

    /// Reads what is in a directory.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        let mut image = Self::default();
        image.read_into("", dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(image)
    }

    fn read_into(&mut self, path: &str, dir: &Path) -> std::io::Result<()> {
        self.directories.push(path.to_owned());
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            match entry.file_type()?.is_dir() {
                true => self.read_into(&path, &entry.path())?,
                false => drop(self.files.insert(path, fs::read(entry.path())?)),
            }
        }
        self.directories.sort();
        Ok(())
    }

    /// Where two directories differ; `None` = nowhere.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.directories != other.directories {
            return Some(format!("directories {:?} and {:?}", self.directories, other.directories));
        }
        let paths = self.files.keys().chain(other.files.keys());
        let differs = |path: &&String| self.files.get(*path) != other.files.get(*path);
        let path = paths.into_iter().find(differs)?;
        let length = |image: &Self| image.files.get(path).map(Vec::len);
        Some(format!("`{path}` differs; {:?} and {:?} bytes", length(self), length(other)))
    }
}

/// Which paths there are when the first `kept` changes are.
fn names_after(disk: &Disk<'_>, kept: usize) -> Names {
    let mut names = disk.begun.clone();
    disk.changes[..kept].iter().for_each(|change| change.apply(&mut names));
    names
}

/// A file's content after its writes got lost in this way, and the changes behind the first `kept`, too.
fn lose(object: &Object<'_>, kept: usize, way: Way, dice: &mut Rng) -> Vec<u8> {
    // What the process saw, and what the disk has of it.
    let (mut seen, mut content) = (object.content.clone(), object.content.clone());
    // A truncation that is lost: what is beyond it was freed for the kernel, and is never written any more.
    let mut ceiling = usize::MAX;
    let mut keeps = Keeper { way, sectors: 0, page: None, page_is_kept: false };
    for (number, done) in object.pending.iter().enumerate() {
        done.what.apply(&mut seen);
        match done.what {
            Done::Length { length, change } if change < kept => content.resize(length, 0),
            Done::Length { length, .. } => ceiling = ceiling.min(length),
            Done::Written { at, bytes } => {
                for sector in sectors(at, bytes.len()) {
                    let start = sector * SECTOR_BYTES;
                    let end = (start + SECTOR_BYTES).min(seen.len()).min(ceiling);
                    if !keeps.sector(number, sector, dice) || start >= end {
                        continue;
                    }
                    if content.len() < end {
                        content.resize(end, 0);
                    }
                    content[start..end].copy_from_slice(&seen[start..end]);
                }
            }
        }
    }
    // The length may be durable before what is there.
    let longest = seen.len().min(ceiling);
    if content.len() < longest && dice.u8(0..4) == 0 {
        let length = if dice.bool() { longest } else { dice.usize(content.len()..=longest) };
        content.resize(length, 0);
    }
    content
}

fn sectors(at: usize, bytes: usize) -> std::ops::Range<usize> {
    at / SECTOR_BYTES..(at + bytes).div_ceil(SECTOR_BYTES)
}

fn sectors_of(object: &Object<'_>) -> usize {
    let written = object.pending.iter().map(|done| match done.what {
        Done::Written { at, bytes } => sectors(at, bytes.len()).len(),
        Done::Length { .. } => 0,
    });
    written.sum()
}

impl Way {
    fn draw(sectors: usize, dice: &mut Rng) -> Self {
        let chances = [0.02, 0.1, 0.5, 0.9, 0.98];
        let chance = chances[dice.usize(..chances.len())];
        let one = dice.usize(..sectors.max(1));
        match dice.u8(0..100) {
            0..8 => Self::Nothing,
            8..14 => Self::Everything,
            14..34 => Self::Sectors(chance),
            34..49 => Self::Pages(chance),
            49..64 => Self::Writes(chance),
            64..76 => Self::Until(one),
            76..86 => Self::From(one),
            86..94 => Self::Without(one),
            _ => Self::Only(one),
        }
    }
}

/// Decides about one sector after another.
struct Keeper {
    way: Way,
    /// How many were decided about.
    sectors: usize,
    /// The last page, or the last write, that was decided about as a whole.
    page: Option<(usize, usize)>,
    page_is_kept: bool,
}

impl Keeper {
    fn sector(&mut self, write: usize, sector: usize, dice: &mut Rng) -> bool {
        let number = self.sectors;
        self.sectors += 1;
        let page = (write, sector * SECTOR_BYTES / PAGE_BYTES);
        match self.way {
            Way::Nothing => false,
            Way::Everything => true,
            Way::Sectors(chance) => dice.f64() < chance,
            Way::Pages(chance) => self.whole(page, chance, dice),
            Way::Writes(chance) => self.whole((write, 0), chance, dice),
            Way::Until(end) => number < end,
            Way::From(start) => number >= start,
            Way::Without(one) => number != one,
            Way::Only(one) => number == one,
        }
    }

    fn whole(&mut self, page: (usize, usize), chance: f64, dice: &mut Rng) -> bool {
        if self.page != Some(page) {
            self.page = Some(page);
            self.page_is_kept = dice.f64() < chance;
        }
        self.page_is_kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::trace::Trace;
    use super::super::trace::tests::Scribe;
    use super::*;

    const WRITE: i64 = 1;
    const LENGTH: i64 = 2;
    const CREATE: i64 = 3;
    const DIRECTORY: i64 = 4;
    const RENAME: i64 = 5;
    const REMOVE: i64 = 6;
    const SYNCED: i64 = 8;

    fn sync(scribe: &mut Scribe, path: &str) {
        scribe.note(SYNCED, scribe.length(), 1, path, b"");
    }

    /// Every disk that 2,000 draws at the end of a recording give.
    fn all(trace: &Trace) -> BTreeSet<BTreeMap<String, Vec<u8>>> {
        let mut disk = Disk::new(trace, &Image::default());
        disk.advance(trace.steps.len()).unwrap();
        let mut dice = Rng::with_seed(7);
        (0..2_000).map(|_| Image::draw(&disk, &mut dice).files).collect()
    }

    fn contents(trace: &Trace, path: &str) -> BTreeSet<Option<Vec<u8>>> {
        all(trace).iter().map(|files| files.get(path).cloned()).collect()
    }

    /// Sectors full of these numbers, one each.
    fn filled(numbers: &[u8]) -> Vec<u8> {
        numbers.iter().flat_map(|number| [*number; SECTOR_BYTES]).collect()
    }

    #[test]
    fn what_was_synced_is_on_every_disk_and_what_was_written_later_on_some() {
        let mut scribe = Scribe::default();
        scribe.note(CREATE, 0, 0, "f", b"");
        scribe.note(WRITE, 0, 0, "f", &filled(&[1, 1]));
        sync(&mut scribe, "f");
        scribe.note(WRITE, 0, 0, "f", &filled(&[2, 2]));
        scribe.note(WRITE, 512, 0, "f", &filled(&[3]));
        let expected = [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]];
        let expected = expected.iter().map(|numbers| Some(filled(numbers))).collect();
        assert_eq!(contents(&scribe.read(), "f"), expected);
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_was_called() {
        let mut scribe = Scribe::default();
        scribe.note(CREATE, 0, 0, "f", b"");
        scribe.note(WRITE, 0, 0, "f", &filled(&[1]));
        let called = scribe.length();
        scribe.note(WRITE, 0, 0, "f", &filled(&[2]));
        scribe.note(SYNCED, called, 1, "f", b"");
        let expected = [[1], [2]].iter().map(|numbers| Some(filled(numbers))).collect();
        assert_eq!(contents(&scribe.read(), "f"), expected);
    }

    #[test]
    fn a_file_that_grew_is_short_or_zero_there_but_never_garbage() {
        let mut scribe = Scribe::default();
        scribe.note(CREATE, 0, 0, "f", b"");
        sync(&mut scribe, "f");
        scribe.note(WRITE, 0, 0, "f", &filled(&[1, 1])[..700]);
        let seen = contents(&scribe.read(), "f");
        for content in &seen {
            let content = content.as_ref().unwrap();
            assert!(content.len() <= 700);
            for sector in content.chunks(SECTOR_BYTES) {
                let is_one = |number: u8| sector.iter().all(|byte| *byte == number);
                assert!(is_one(0) || is_one(1), "a sector is torn: {sector:?}");
            }
        }
        let lengths: BTreeSet<_> = seen.iter().flatten().map(Vec::len).collect();
        assert!([0, 512, 700].iter().all(|length| lengths.contains(length)), "{lengths:?}");
    }

    #[test]
    fn names_are_lost_from_the_end_and_a_sync_keeps_those_before_its_own() {
        let mut scribe = Scribe::default();
        scribe.note(CREATE, 0, 0, "a", b"");
        scribe.note(CREATE, 0, 0, "b", b"");
        scribe.note(CREATE, 0, 0, "c", b"");
        sync(&mut scribe, "b");
        scribe.note(RENAME, 0, 0, "c", b"d");
        let names: BTreeSet<Vec<_>> =
            all(&scribe.read()).into_iter().map(|files| files.into_keys().collect()).collect();
        let expected = [vec!["a", "b"], vec!["a", "b", "c"], vec!["a", "b", "d"]];
        assert_eq!(
            names,
            expected.map(|names| names.into_iter().map(String::from).collect()).into()
        );
        sync(&mut scribe, "");
        let names: Vec<_> = all(&scribe.read()).into_iter().flat_map(BTreeMap::into_keys).collect();
        assert_eq!(names, ["a", "b", "d"], "the directory was synced");
    }

    #[test]
    fn a_sync_with_nothing_of_its_own_keeps_nobody_elses_names() {
        let mut scribe = Scribe::default();
        scribe.note(CREATE, 0, 0, "old", b"");
        scribe.note(WRITE, 0, 0, "old", &filled(&[1]));
        sync(&mut scribe, "old");
        scribe.note(CREATE, 0, 0, "new", b"");
        scribe.note(WRITE, 0, 0, "old", &filled(&[2]));
        sync(&mut scribe, "old");
        assert!(
            contents(&scribe.read(), "new").contains(&None),
            "an overwritten sector is no growth"
        );
        scribe.note(WRITE, 512, 0, "old", &filled(&[3]));
        sync(&mut scribe, "old");
        assert!(
            !contents(&scribe.read(), "new").contains(&None),
            "growth takes all before it along"
        );
    }

    #[test]
    fn a_truncation_is_a_change_like_a_name() {
        let mut scribe = Scribe::default();
        scribe.note(CREATE, 0, 0, "f", b"");
        scribe.note(WRITE, 0, 0, "f", &filled(&[1, 1]));
        sync(&mut scribe, "f");
        scribe.note(LENGTH, 0, 0, "f", b"");
        let expected = [Vec::new(), filled(&[1, 1])].map(Some).into();
        assert_eq!(contents(&scribe.read(), "f"), expected);
        scribe.note(WRITE, 0, 0, "f", &filled(&[2]));
        let seen = contents(&scribe.read(), "f");
        let expected = [vec![], filled(&[0]), filled(&[2]), filled(&[1, 1])].map(Some);
        assert!(expected.iter().all(|content| seen.contains(content)));
        assert!(
            seen.iter()
                .flatten()
                .all(|content| content.len() != 1_024 || *content == filled(&[1, 1]))
        );
        sync(&mut scribe, "f");
        assert_eq!(contents(&scribe.read(), "f"), [Some(filled(&[2]))].into());
    }

    #[test]
    fn files_move_with_their_directory_and_keep_what_was_written() {
        let mut scribe = Scribe::default();
        scribe.note(DIRECTORY, 0, 0, "new", b"");
        scribe.note(CREATE, 0, 0, "new/f", b"");
        scribe.note(WRITE, 0, 0, "new/f", b"words");
        sync(&mut scribe, "new/f");
        scribe.note(RENAME, 0, 0, "new", b"old");
        scribe.note(CREATE, 0, 0, "gone", b"");
        scribe.note(REMOVE, 0, 0, "gone", b"");
        scribe.note(WRITE, 0, 0, "gone (deleted)", b"unseen");
        let trace = scribe.read();
        let mut disk = Disk::new(&trace, &Image::default());
        disk.advance(trace.steps.len()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let whole = Image::whole(&disk);
        whole.write(dir.path()).unwrap();
        assert_eq!(whole.difference(&Image::read(dir.path()).unwrap()), None);
        assert_eq!(fs::read(dir.path().join("old/f")).unwrap(), b"words");
        fs::write(dir.path().join("old/f"), b"other").unwrap();
        assert!(whole.difference(&Image::read(dir.path()).unwrap()).is_some());
        for files in all(&trace) {
            let found = files.get("old/f").or(files.get("new/f"));
            assert_eq!(found.map(Vec::as_slice), Some(&b"words"[..]));
        }
    }
}
