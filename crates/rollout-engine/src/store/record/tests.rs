//! Judges the frozen format: nothing is lost, nothing moves, nothing but an event is taken for one.
//!
//! `BLESS=1 cargo test -p rollout-engine record` writes golden files that are missing and adds lines for new samples. It
//! never changes a line that is there; before the first release, delete a file by hand to have it written anew.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::PathBuf;
use std::{env, fs};

use jiff::Timestamp;
use rollout_core::{
    Actor, Event, EventKind, FlagValues, Judged, JudgedReading, Measured, Purpose, Verdict,
};

use super::samples::events;
use super::*;

#[test]
fn every_event_comes_back_as_it_was() {
    for (name, samples) in events() {
        for event in samples {
            let bytes = encode_event(&event).unwrap();
            assert_eq!(decode_event(&bytes).unwrap(), event, "{name}");
        }
    }
}

#[test]
fn golden_bytes_are_read_and_written_for_ever() {
    let mut known = BTreeSet::new();
    for (name, samples) in events() {
        let path = golden_dir().join(format!("{name}.hex"));
        let written: Vec<_> =
            samples.iter().map(|event| hex(&encode_event(event).unwrap())).collect();
        let mut golden = lines(&path);
        if env::var_os("BLESS").is_some() {
            assert!(written.starts_with(&golden), "{name}: golden lines are never changed");
            fs::create_dir_all(golden_dir()).unwrap();
            fs::write(&path, written.join("\n") + "\n").unwrap();
            golden = lines(&path);
        }
        assert_eq!(golden.len(), samples.len(), "{name}: golden lines are missing, see BLESS");
        for (line, (event, written)) in golden.iter().zip(samples.iter().zip(&written)) {
            assert_eq!(decode_event(&unhex(line)).unwrap(), *event, "{name} is read differently");
            assert_eq!(written, line, "{name} is written differently");
        }
        known.insert(path);
    }
    assert_eq!(files(&golden_dir()), known, "every golden file has its samples");
}

#[test]
fn what_versions_1_and_2_wrote_means_what_it_meant() {
    let (events, mut read) = (events(), [0, 0]);
    for version in [1_u16, 2] {
        for path in files(&fixtures(&format!("format-v{version}"))) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            for (line, sample) in lines(&path).iter().zip(&events[name]) {
                let bytes = unhex(line);
                assert_eq!(bytes[..2], version.to_le_bytes());
                assert_eq!(decode_event(&bytes).unwrap(), *sample, "{name} is read differently");
                let again = codec::encode(&(version, EventRecordV1::to_disk(sample))).unwrap();
                assert_eq!(hex(&again), *line, "{name} moved");
                read[usize::from(version) - 1] += 1;
            }
        }
    }
    assert!(read[0] > 80 && read[1] > read[0], "records of versions 1 and 2: {read:?}");
}

#[test]
fn a_cut_at_any_byte_and_a_trailing_byte_are_refused() {
    for (name, samples) in events() {
        for event in samples {
            let mut bytes = encode_event(&event).unwrap();
            for cut in 0..bytes.len() {
                let read = decode_event(&bytes[..cut]);
                match cut {
                    0 | 1 => assert!(matches!(read, Err(RecordError::NoFormat)), "{name}"),
                    _ => assert!(
                        matches!(read, Err(RecordError::Codec(CodecError::Decode(_)))),
                        "{name} cut to {cut}: {read:?}"
                    ),
                }
            }
            bytes.push(0);
            let read = decode_event(&bytes);
            assert!(matches!(read, Err(RecordError::Codec(CodecError::Decode(_)))), "{read:?}");
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_is_another_event_with_its_own_bytes() {
    let (mut refused, mut taken) = (0, 0);
    for event in events().into_values().map(|samples| samples[0].clone()) {
        let bytes = encode_event(&event).unwrap();
        // Another version's number may name another form of the same event.
        for place in 2..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            match decode_event(&flipped) {
                Ok(other) => {
                    assert_eq!(encode_event(&other).unwrap(), flipped, "{other:?}");
                    taken += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 500 && taken > 500, "{refused} refused, {taken} taken");
}

#[test]
fn floats_keep_every_bit() {
    let numbers = [0x7FF8_0000_0000_0000_u64, 0xFFF8_0000_0000_1234, 0x7FF0_0000_0000_0001]
        .into_iter()
        .chain([f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, 0.1].map(f64::to_bits));
    for bits in numbers {
        let judged = Judged {
            criterion: "errors".to_owned(),
            measured: Measured::Number(f64::from_bits(bits)),
            verdict: Verdict::NoData,
            reason: None,
            basis: None,
        };
        let reading = JudgedReading {
            flags: Ok(FlagValues::new()),
            writes: Default::default(),
            push: None,
            cursors: Default::default(),
            judged: vec![judged],
            probes: vec![],
            verdict: Verdict::NoData,
        };
        let kind = EventKind::ReadingTaken { purpose: Purpose::Check, reading: Box::new(reading) };
        let bytes = encode_event(&event(kind)).unwrap();
        let EventKind::ReadingTaken { reading, .. } = decode_event(&bytes).unwrap().kind else {
            panic!("another kind came back");
        };
        let Measured::Number(number) = reading.judged[0].measured else {
            panic!("another measurement came back: {reading:?}");
        };
        assert_eq!(number.to_bits(), bits, "{bits:#x}");
    }
}

#[test]
fn values_that_the_core_does_not_know_name_their_field() {
    let events = events();
    let sample = |name: &str| encode_event(&events[name][0]).unwrap();
    let cases = [
        (patched(sample("FlagsSet"), b"ENABLE_B", b"ENABLE-B"), "kind.FlagsSet.wrote.1"),
        (patched(sample("FlagsSet"), b"_c", b"9c"), "kind.FlagsSet.already.0"),
        (
            patched(sample("RolloutCreated"), &42_u64.to_le_bytes(), &[0; 8]),
            "kind.RolloutCreated.id",
        ),
        (
            patched(sample("RolloutCreated"), b"ENABLE_A", b"ENABLE A"),
            "kind.RolloutCreated.plan.phases.0.flags.0.0",
        ),
        (
            patched(sample("RolloutCreated"), &900_000_000_000_i128.to_le_bytes(), &[0; 16]),
            "kind.RolloutCreated.plan.cadence",
        ),
        (
            patched(sample("PhaseCompleted"), &9_833_u16.to_le_bytes(), &10_001_u16.to_le_bytes()),
            "kind.PhaseCompleted.coverage",
        ),
        (
            patched(sample("IncidentResolved"), &[0xFF; 4], &[0; 4]),
            "kind.IncidentResolved.incident",
        ),
        (patched(sample("PhaseApproved"), &[0xFF], &[0]), "kind.PhaseApproved.phase"),
        (
            patched(sample("RollbackStarted"), b"ENABLE_B", b"ENABLE_A"),
            "kind.RollbackStarted.restore.1",
        ),
        (
            patched(sample("RollbackStarted"), b"ENABLE_B", b"ENABLE_0"),
            "kind.RollbackStarted.restore.1",
        ),
        (
            patched(
                sample("SmokePassed"),
                &events["SmokePassed"][0].at.as_nanosecond().to_le_bytes(),
                &[0x7F; 16],
            ),
            "at",
        ),
        (
            patched(sample("ClockJumped"), &(-7_000_000_001_i128).to_le_bytes(), &[0x7F; 16]),
            "kind.ClockJumped.by",
        ),
    ];
    for (bytes, expected) in cases {
        let error = decode_event(&bytes).unwrap_err();
        assert!(
            matches!(&error, RecordError::Field { field, .. } if field == expected),
            "{expected}: {error:?}"
        );
        assert_eq!(error.code(), "RO0202");
    }
    let error = decode_event(&patched(sample("FlagsSet"), b"ENABLE_B", b"ENABLE-B")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "read the field `kind.FlagsSet.wrote.1` of the event: \"ENABLE-B\" is not the name of a flag"
    );
}

#[test]
fn the_version_is_judged_before_the_rest() {
    let mut bytes = encode_event(&event(EventKind::SmokePassed)).unwrap();
    assert_eq!(bytes[..2], [3, 0]);
    bytes[0] = 4;
    bytes.truncate(3);
    let error = decode_event(&bytes).unwrap_err();
    assert!(matches!(error, RecordError::TooNew { found: 4, known: 3 }), "{error:?}");
    assert_eq!(error.code(), "RO0201");
    bytes[0] = 0;
    assert!(matches!(decode_event(&bytes), Err(RecordError::NoFormat)));
}

#[test]
fn a_variant_of_a_later_version_is_no_event() {
    let mut bytes = encode_event(&event(EventKind::RolloutCompleted)).unwrap();
    let kind = bytes.len() - 4;
    assert_eq!(bytes[kind..], [40, 0, 0, 0], "the last kind without a field, of 49");
    bytes[kind] = 49;
    let error = decode_event(&bytes).unwrap_err();
    assert!(matches!(error, RecordError::Codec(CodecError::Decode(_))), "{error:?}");
    assert!(error.source().is_some());
}

fn event(kind: EventKind) -> Event {
    Event { at: Timestamp::UNIX_EPOCH, actor: Actor::Engine, note: None, kind }
}

/// `bytes` with the first `old` replaced by `new`, which is as long.
fn patched(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old);
    let at = at.expect("the sample holds what is to be replaced");
    bytes[at..at + old.len()].copy_from_slice(new);
    bytes
}

fn golden_dir() -> PathBuf {
    fixtures("format-v3")
}

fn fixtures(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version).join("events")
}

fn files(dir: &PathBuf) -> BTreeSet<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The lines of a golden file; none when there is no file.
fn lines(path: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte at the end");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("golden files are hex");
    (0..text.len()).step_by(2).map(byte).collect()
}
