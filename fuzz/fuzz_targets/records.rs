//! Bytes of the journal: whatever lies on the disk, decoding refuses it or gives an event, and an event has one form per version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollout_core::{LogOptions, Rollout, log, sentence};
use rollout_engine::store::record::{decode_event, encode_event};

fuzz_target!(|data: &[u8]| {
    let Ok(event) = decode_event(data) else { return };
    let again = encode_event(&event).expect("what was read can be written");
    if data[..2] == again[..2] {
        assert_eq!(again, data, "{event:?} has two forms");
    } else {
        // An earlier version is written anew in the newest, which must say the same; bytes, because NaN is no NaN's equal.
        let read = decode_event(&again).expect("what was written can be read");
        let thrice = encode_event(&read).expect("what was read can be written");
        assert_eq!(thrice, again, "{event:?} changes when it is written anew");
        assert_eq!(
            format!("{read:?}"),
            format!("{event:?}"),
            "it is another event when it is written anew"
        );
    }
    let told = sentence(&event, None);
    assert!(!told.contains('\n'), "{told:?} is more than one line");
    if let Ok(rollout) = Rollout::replay([&event]) {
        // A plan from a journal is taken as it is, however strange; looking at it must be harmless.
        let _ = (rollout.pending(), rollout.next_deadline(), rollout.waits(), rollout.is_over());
        let _ = log(&[event], LogOptions::default());
    }
});
