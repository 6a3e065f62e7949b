//! Owns the recording of what a process did to its directory: reads what `tests/shim/faults.c` wrote, in the order in which
//! it happened.
//!
//! Refuses a record that makes no sense. A last one that is cut short is left out: its writer was killed.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// Five numbers stand before each record's texts.
const HEAD_BYTES: usize = 5 * size_of::<i64>();

/// Everything that was done, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    bytes: Vec<u8>,
    /// What was done.
    pub(super) steps: Vec<Step>,
    /// Where the next record would stand.
    end: u64,
}

/// One thing that was done.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Where its record stands; grows with time, and is what the length of the recording is compared with.
    pub(super) position: u64,
    /// What was done.
    pub(super) deed: Deed,
}

/// What can be done to a directory. Paths are below it; the directory itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Bytes were written; they are [`Trace::written`].
    Write {
        /// Into which file.
        path: String,
        /// From which byte on.
        at: usize,
        /// Where the recording has them.
        bytes: Range<usize>,
    },
    /// A file was cut off, or made longer with zeros.
    SetLength {
        /// Which.
        path: String,
        /// In bytes.
        length: usize,
    },
    /// An empty file was made.
    Create {
        /// Its path.
        path: String,
    },
    /// A directory was made.
    MakeDirectory {
        /// Its path.
        path: String,
    },
    /// A file or directory got another name, in the place of what had it.
    Rename {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// A file or an empty directory was removed.
    Remove {
        /// Its path.
        path: String,
    },
    /// A sync returned.
    Synced {
        /// Of which file or directory.
        path: String,
        /// The sync was called here: what stands before was made durable.
        called: u64,
        /// Whether it was `fdatasync`.
        scope: Scope,
    },
}

/// What a sync was asked to make durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// `fdatasync`.
    Content,
    /// `fsync`.
    Everything,
}

impl Trace {
    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// When there is none, or it makes no sense.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut trace = Self { bytes, ..Self::default() };
        while let Some((step, end)) = trace.record_at(trace.end)? {
            match step {
                Some(step) => trace.steps.push(step),
                // What was recorded before was refused by the system.
                None => drop(trace.steps.pop()),
            }
            trace.end = end as u64;
        }
        Ok(trace)
    }

    /// The bytes of a write.
    pub(super) fn written(&self, bytes: &Range<usize>) -> &[u8] {
        self.bytes.get(bytes.clone()).unwrap_or_default()
    }

    /// Where the record behind the first `steps` of them stands.
    pub(super) fn position(&self, steps: usize) -> u64 {
        self.steps.get(steps).map_or(self.end, |step| step.position)
    }

    /// How many steps were begun when the recording had this length.
    pub(super) fn steps_before(&self, length: u64) -> usize {
        self.steps.partition_point(|step| step.position < length)
    }

    /// Takes the last record back; its writer was killed before it did what it says. Answers where the recording ends now.
    pub(super) fn forget_last(&mut self) -> u64 {
        if let Some(step) = self.steps.pop() {
            self.end = step.position;
        }
        self.end
    }

    /// Where the recording ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The same without the syncs for which `is_left_out`.
    pub(super) fn without(&self, is_left_out: impl Fn(&str, Scope) -> bool) -> Self {
        let stays = |step: &&Step| match &step.deed {
            Deed::Synced { path, scope, .. } => !is_left_out(path, *scope),
            Deed::Write { .. }
            | Deed::SetLength { .. }
            | Deed::Create { .. }
            | Deed::MakeDirectory { .. }
            | Deed::Rename { .. }
            | Deed::Remove { .. } => true,
        };
        let steps = self.steps.iter().filter(stays).cloned().collect();
        Self { bytes: self.bytes.clone(), steps, end: self.end }
    }

    /// The record that stands at `position`, and where it ends; no step for one that takes the one before back.
    fn record_at(&self, position: u64) -> Result<Option<(Option<Step>, usize)>, String> {
        let nonsense = || format!("the record at {position} makes no sense");
        let start = usize::try_from(position).map_err(|_| nonsense())?;
        let Some((head, rest)) =
            self.bytes.get(start..).and_then(|rest| rest.split_at_checked(HEAD_BYTES))
        else {
            return Ok(None);
        };
        let numbers: Vec<i64> =
            head.as_chunks::<8>().0.iter().map(|n| i64::from_ne_bytes(*n)).collect();
        let [kind, a, b, path_bytes, data_bytes] = numbers[..] else { return Err(nonsense()) };
        let size = |number: i64| usize::try_from(number).map_err(|_| nonsense());
        let (path_bytes, data_bytes) = (size(path_bytes)?, size(data_bytes)?);
        if rest.len() < path_bytes.saturating_add(data_bytes) {
            return Ok(None);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| nonsense());
        let path = text(&rest[..path_bytes])?;
        let from = start + HEAD_BYTES + path_bytes;
        let bytes = from..from + data_bytes;
        let deed = match kind {
            0 => return Ok(Some((None, bytes.end))),
            1 => Deed::Write { path, at: size(a)?, bytes: bytes.clone() },
            2 => Deed::SetLength { path, length: size(a)? },
            3 => Deed::Create { path },
            4 => Deed::MakeDirectory { path },
            5 => Deed::Rename { from: path, to: text(self.written(&bytes))? },
            6 | 7 => Deed::Remove { path },
            8 => {
                let called = u64::try_from(a).map_err(|_| nonsense())?;
                let scope = if b == 1 { Scope::Content } else { Scope::Everything };
                Deed::Synced { path, called, scope }
            }
            _ => return Err(nonsense()),
        };
        Ok(Some((Some(Step { position, deed }), bytes.end)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes recordings as the library does, for tests.
    #[derive(Default)]
    pub(in super::super) struct Scribe(Vec<u8>);

    impl Scribe {
        pub(in super::super) fn note(
            &mut self,
            kind: i64,
            a: i64,
            b: i64,
            path: &str,
            data: &[u8],
        ) {
            for number in [kind, a, b, path.len() as i64, data.len() as i64] {
                self.0.extend_from_slice(&number.to_ne_bytes());
            }
            self.0.extend_from_slice(path.as_bytes());
            self.0.extend_from_slice(data);
        }

        pub(in super::super) fn length(&self) -> i64 {
            self.0.len() as i64
        }

        pub(in super::super) fn read(&self) -> Trace {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &self.0).unwrap();
            Trace::read(file.path()).unwrap()
        }
    }

    #[test]
    fn a_recording_is_read_in_order_and_what_was_refused_is_left_out() {
        let mut scribe = Scribe::default();
        scribe.note(3, 0, 0, "db", b"");
        scribe.note(6, 0, 0, "gone", b"");
        scribe.note(0, 0, 0, "", b"");
        scribe.note(1, 7, 0, "db", b"bytes");
        scribe.note(8, scribe.length(), 1, "db", b"");
        let whole = scribe.length() as u64;
        scribe.note(5, 0, 0, "db", b"other");
        scribe.0.pop();
        let mut trace = scribe.read();
        assert_eq!(trace.steps.len(), 3);
        assert_eq!(trace.end(), whole, "the last record is cut short");
        let Deed::Write { path, at, bytes } = &trace.steps[1].deed else { panic!() };
        assert_eq!((path.as_str(), *at, trace.written(bytes)), ("db", 7, &b"bytes"[..]));
        assert_eq!(trace.steps_before(whole), 3);
        assert_eq!(trace.steps_before(trace.position(1)), 1);
        assert_eq!(
            trace.without(|path, scope| (path, scope) == ("db", Scope::Content)).steps.len(),
            2
        );
        trace.forget_last();
        assert_eq!((trace.steps.len(), trace.end()), (2, trace.position(2)));
    }
}
