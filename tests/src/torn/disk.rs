//! Owns what a file system has promised at each moment of a recording: what is durable, and what may still be lost.
//!
//! The contract is that of a journalling file system as ext4 keeps it with `data=ordered` and barriers
//! (Documentation/admin-guide/ext4.rst; fs/ext4/fsync.c, `ext4_fsync_journal`), taken at its weakest:
//!
//! * A sync of a file makes durable what was written to that file before the sync was called. Until then each sector of 512
//!   bytes that was written may hold any of the contents that it had since, each sector for itself: the kernel writes back
//!   when and in the order it likes, and a device writes sectors whole, not more.
//! * A file that grew may be shorter, and may be zeros where it grew; it never holds what other files had there.
//! * Changes of names and lengths (create, rename, remove, truncate) become durable in the order in which they were made, so a
//!   power cut takes the last ones, none from the middle. A sync makes durable the changes up to the last one that concerns
//!   what was synced: its own creation, renaming, truncation and growth; for a directory, its entries. It need not reach any
//!   further: with nothing of its own to commit, ext4 answers an `fdatasync` without touching the journal.
//! * `sync_file_range` promises nothing, and is not even recorded.
//! * A write that was begun when the power failed is like one that nobody synced.
//!
//! POSIX allows more: names in any order, a new file whose directory forgets it although it was synced, torn sectors, a
//! write that reaches its neighbours. None of this is drawn, and none of it is claimed to be survived.

use std::collections::BTreeMap;

use super::draw::Image;
use super::trace::{Deed, Trace};

/// A directory as the file system keeps it, at one moment of a recording.
#[derive(Clone, Debug)]
pub(super) struct Disk<'a> {
    trace: &'a Trace,
    steps: usize,
    pub(super) objects: Vec<Object<'a>>,
    /// As they were when the recording began.
    pub(super) begun: Names,
    /// As the process sees them.
    names: Names,
    /// Every change of names and lengths so far.
    pub(super) changes: Vec<Change>,
    /// How many of the changes are durable.
    pub(super) durable: usize,
}

/// Which object has which path.
pub(super) type Names = BTreeMap<String, usize>;

/// A file or a directory, whatever its name is now.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    pub(super) kind: Kind,
    /// What is on the disk in any case.
    pub(super) content: Vec<u8>,
    /// What may be, oldest first.
    pub(super) pending: Vec<Pending<'a>>,
    /// As the process sees it, in bytes.
    length: usize,
    /// When something of it changed that the journal has, and how many changes there were then.
    touched: Vec<(u64, usize)>,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Something that was done to a file's content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending<'a> {
    position: u64,
    pub(super) what: Done<'a>,
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done<'a> {
    Written {
        at: usize,
        bytes: &'a [u8],
    },
    /// It is durable with the change of this number.
    Length {
        length: usize,
        change: usize,
    },
}

/// A change that the journal orders.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Made {
        path: String,
        object: usize,
    },
    Renamed {
        from: String,
        to: String,
    },
    Removed {
        path: String,
    },
    /// Of a file, which has it among what is pending.
    Length,
}

impl<'a> Disk<'a> {
    /// The directory that a recording began with; all of it is durable.
    pub(super) fn new(trace: &'a Trace, begun: &Image) -> Self {
        let (mut objects, mut names) = (vec![Object::new(Kind::Directory)], Names::new());
        names.insert(String::new(), 0);
        for path in begun.directories.iter().filter(|path| !path.is_empty()) {
            names.insert(path.clone(), objects.len());
            objects.push(Object::new(Kind::Directory));
        }
        for (path, content) in &begun.files {
            names.insert(path.clone(), objects.len());
            let (content, length) = (content.clone(), content.len());
            objects.push(Object { content, length, ..Object::new(Kind::File) });
        }
        let begun = names.clone();
        Self { trace, steps: 0, objects, begun, names, changes: Vec::new(), durable: 0 }
    }

    /// Goes on until the first `steps` are begun. Does not go back.
    ///
    /// # Errors
    ///
    /// When the recording speaks of a file that is not there.
    pub(super) fn advance(&mut self, steps: usize) -> Result<(), String> {
        let trace = self.trace;
        for step in trace.steps.get(self.steps..steps).unwrap_or_default() {
            self.step(step.position, &step.deed)
                .map_err(|why| format!("{why}, in the record at {}", step.position))?;
        }
        self.steps = self.steps.max(steps);
        Ok(())
    }

    fn step(&mut self, position: u64, deed: &'a Deed) -> Result<(), String> {
        match deed {
            // A file without a name is gone after a power cut, whatever was written to it.
            Deed::Write { path, .. } | Deed::SetLength { path, .. } | Deed::Synced { path, .. }
                if path.ends_with(NAMELESS) =>
            {
                Ok(())
            }
            Deed::Write { path, at, bytes } => {
                self.write(position, path, *at, self.trace.written(bytes))
            }
            Deed::SetLength { path, length } => {
                let object = self.object(path)?;
                let change = self.change(position, Change::Length, &[object]);
                let file = &mut self.objects[object];
                let what = Done::Length { length: *length, change };
                file.pending.push(Pending { position, what });
                file.length = *length;
                Ok(())
            }
            Deed::Create { path } => self.make(position, path, Kind::File),
            Deed::MakeDirectory { path } => self.make(position, path, Kind::Directory),
            Deed::Rename { from, to } => {
                let concerned = [self.object(from)?, self.parent(from)?, self.parent(to)?];
                let change = Change::Renamed { from: from.clone(), to: to.clone() };
                change.apply(&mut self.names);
                self.change(position, change, &concerned);
                Ok(())
            }
            Deed::Remove { path } => {
                let concerned = [self.parent(path)?];
                let change = Change::Removed { path: path.clone() };
                change.apply(&mut self.names);
                self.change(position, change, &concerned);
                Ok(())
            }
            Deed::Synced { path, called, .. } => self.sync(path, *called),
        }
    }

    fn write(
        &mut self,
        position: u64,
        path: &str,
        at: usize,
        bytes: &'a [u8],
    ) -> Result<(), String> {
        let (object, changes) = (self.object(path)?, self.changes.len());
        let file = &mut self.objects[object];
        file.pending.push(Pending { position, what: Done::Written { at, bytes } });
        let end = at + bytes.len();
        if end > file.length {
            file.length = end;
            // New room is a matter of the journal, and what came before goes with it.
            file.touched.push((position, changes));
        }
        Ok(())
    }

    fn make(&mut self, position: u64, path: &str, kind: Kind) -> Result<(), String> {
        let parent = self.parent(path)?;
        let object = self.objects.len();
        self.objects.push(Object::new(kind));
        let change = Change::Made { path: path.to_owned(), object };
        change.apply(&mut self.names);
        self.change(position, change, &[object, parent]);
        Ok(())
    }

    /// Takes a change down; answers its number.
    fn change(&mut self, position: u64, change: Change, concerned: &[usize]) -> usize {
        self.changes.push(change);
        for object in concerned {
            self.objects[*object].touched.push((position, self.changes.len()));
        }
        self.changes.len() - 1
    }

    fn sync(&mut self, path: &str, called: u64) -> Result<(), String> {
        let object = self.object(path)?;
        let object = &mut self.objects[object];
        let pending = object.pending.partition_point(|done| done.position < called);
        for done in object.pending.drain(..pending) {
            done.what.apply(&mut object.content);
        }
        let touched = object.touched.partition_point(|(position, _)| *position < called);
        let reached = object.touched.drain(..touched).map(|(_, changes)| changes).max();
        self.durable = self.durable.max(reached.unwrap_or(0));
        Ok(())
    }

    fn object(&self, path: &str) -> Result<usize, String> {
        self.names.get(path).copied().ok_or_else(|| format!("there is no `{path}`"))
    }

    fn parent(&self, path: &str) -> Result<usize, String> {
        self.object(path.rsplit_once('/').map_or("", |(parent, _)| parent))
    }
}

impl Object<'_> {
    fn new(kind: Kind) -> Self {
        let (content, pending, touched) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, content, pending, length: 0, touched }
    }
}

impl Done<'_> {
    /// Does it to a file of which nothing is lost.
    pub(super) fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Written { at, bytes } => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[at..end].copy_from_slice(bytes);
            }
            Self::Length { length, .. } => content.resize(length, 0),
        }
    }
}

impl Change {
    /// Makes the change.
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Made { path, object } => drop(names.insert(path.clone(), *object)),
            Self::Renamed { from, to } => {
                let inside = format!("{from}/");
                let moved: Vec<_> = names
                    .keys()
                    .filter(|path| *path == from || path.starts_with(&inside))
                    .cloned()
                    .collect();
                for path in moved {
                    if let Some(object) = names.remove(&path) {
                        names.insert(format!("{to}{}", &path[from.len()..]), object);
                    }
                }
            }
            Self::Removed { path } => drop(names.remove(path)),
            Self::Length => {}
        }
    }
}

/// What the system calls a file that was removed while it was open.
const NAMELESS: &str = " (deleted)";
