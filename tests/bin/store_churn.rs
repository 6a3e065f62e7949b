//! The store alone, in a process that the torn writes can record: `wear DIR RECORDING SEED COMMITS closed|open` makes
//! commits, `look DIR SEED` checks what is left against lines `rollout seq` on its standard input.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use rollout_e2e::torn::{Leave, look, wear};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = match args[..] {
        ["wear", dir, recording, seed, commits, leave] => {
            run_wear(dir, recording, seed, commits, leave)
        }
        ["look", dir, seed] => run_look(dir, seed),
        _ => Err(String::from("say `wear` or `look`, and on what")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run_wear(
    dir: &str,
    recording: &str,
    seed: &str,
    commits: &str,
    leave: &str,
) -> Result<(), String> {
    let leave = match leave {
        "closed" => Leave::Closed,
        "open" => Leave::Open,
        other => return Err(format!("`{other}` is no way to leave")),
    };
    let commits = commits.parse().map_err(|_| format!("`{commits}` is no number of commits"))?;
    wear(Path::new(dir), Path::new(recording), number(seed)?, commits, leave)
}

fn run_look(dir: &str, seed: &str) -> Result<(), String> {
    let mut told = BTreeMap::new();
    for line in io::stdin().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let (rollout, seq) =
            line.split_once(' ').ok_or_else(|| format!("`{line}` names no entry"))?;
        told.insert(number(rollout)?, number(seq)?);
    }
    let seen = look(Path::new(dir), number(seed)?, &told)?;
    seen.lost.iter().for_each(|lost| println!("lost {lost}"));
    seen.repairs.iter().for_each(|repair| println!("repair {repair}"));
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}
