//! Bytes of the journal: whatever lies on the disk, decoding refuses it or gives an event whose bytes are these.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_core::{LogOptions, Rollout, log, sentence};
use rollout_engine::store::record::{decode_event, encode_event};

fuzz_target!(|data: &[u8]| {
    let Ok(event) = decode_event(data) else { return };
    let again = encode_event(&event).expect("what was read can be written");
    // The version in front is the newest; all after it has one form.
    assert_eq!(again[2..], data[2..], "{event:?} has two forms");
    let told = sentence(&event, None);
    assert!(!told.contains('\n'), "{told:?} is more than one line");
    if let Ok(rollout) = Rollout::replay([&event]) {
        // A plan from a journal is taken as it is, however strange; looking at it must be harmless.
        let _ = (rollout.pending(), rollout.next_deadline(), rollout.waits(), rollout.is_over());
        let _ = log(&[event], LogOptions::default());
    }
});
