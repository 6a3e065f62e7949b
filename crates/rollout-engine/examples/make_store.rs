//! Writes a store with real journals into an empty directory, and beside it what they are: `make_store DIRECTORY`.
//!
//! This is how a fixture of a store format is made (`tests/fixtures/README.md`). Four rollouts: r1 and r3 live, r2 and r4
//! ended; r3 has an entry in parts. `DIRECTORY/store` is the state, `DIRECTORY/expected.txt` one line per rollout: id,
//! standing, entries, and the SHA-256 over all payloads, each behind its length.

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use rollout_engine::store::{OpenOptions, SledStore, Store as _};
use sha2::{Digest as _, Sha256};
use support::Journal;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = env::args_os().nth(1).map(PathBuf::from).ok_or("say where: make_store DIRECTORY")?;
    let journals: Vec<Journal> = [(1, 40), (2, usize::MAX), (3, 25), (4, usize::MAX)]
        .map(|(number, entries_max)| support::journal(number, entries_max))
        .into();
    let (mut store, _) = SledStore::open(&dir.join("store"), OpenOptions::default())?;
    support::write(&mut store, &journals)?;
    store.close()?;
    let lines: String = journals.iter().map(line).collect();
    fs::write(dir.join("expected.txt"), &lines)?;
    print!("{lines}");
    Ok(())
}

fn line(journal: &Journal) -> String {
    let mut hasher = Sha256::new();
    for entry in &journal.entries {
        hasher.update((entry.len() as u64).to_le_bytes());
        hasher.update(entry);
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {:?} {} {digest}\n", journal.rollout, journal.standing, journal.entries.len())
}
