//! Owns the proof that the checks can fail: a list of mistakes, each put into a copy of the tree, built, and given to the
//! simulator, which must find every one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Deserialize;

/// Puts known mistakes into core and engine, one at a time, and runs the simulator on each.
///
/// Works on a copy of the tree in target/mutants. Exit codes: 0 all found, 1 one survived or could not be built, 2 wrong
/// usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "sim-mutants", version)]
pub struct MutantArgs {
    /// Only mutants whose name contains this.
    #[arg(long, value_name = "PART")]
    pub only: Option<String>,
    /// Seeds that each mutant is given, from 0 on.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub seeds: u64,
    /// Root of the workspace.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
    /// Where to work. Holds the copy and what is built from it.
    #[arg(long, value_name = "DIR", default_value = "target/mutants")]
    pub work: PathBuf,
}

/// A mistake to be found.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// Its short name.
    pub name: String,
    /// The harm, in one sentence.
    pub what: String,
    /// The file, from the root of the workspace.
    pub file: String,
    /// The text that is replaced; it occurs exactly once.
    pub find: String,
    /// What it is replaced by.
    pub replace: String,
}

/// Why the mutants cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum MutantsError {
    /// The list is not one.
    #[error("mutants.toml cannot be read")]
    List(#[from] toml::de::Error),
    /// A file cannot be read, copied or written.
    #[error("failed to work on {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The text of a mutant does not occur exactly once.
    #[error("mutant {name}: its text occurs {times} times in {file}")]
    Stale {
        /// The mutant.
        name: String,
        /// Its file.
        file: String,
        /// How often.
        times: usize,
    },
}

#[derive(Deserialize)]
struct List {
    mutant: Vec<Mutant>,
}

/// How one mutant ended.
enum End {
    Found { seed: String, why: String, took: Duration },
    Survived { said: String },
    DoesNotBuild { said: String },
}

/// The list of mistakes.
///
/// # Errors
///
/// [`MutantsError::List`].
pub fn mutants() -> Result<Vec<Mutant>, MutantsError> {
    Ok(toml::from_str::<List>(include_str!("../mutants.toml"))?.mutant)
}

impl Mutant {
    /// The file of this mutant below `root`, with the mistake in it.
    ///
    /// # Errors
    ///
    /// [`MutantsError::Stale`] when its text does not occur exactly once; [`MutantsError::File`].
    pub fn apply(&self, root: &Path) -> Result<String, MutantsError> {
        let path = root.join(&self.file);
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        let times = text.matches(&self.find).count();
        match times {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            times => {
                let (name, file) = (self.name.clone(), self.file.clone());
                Err(MutantsError::Stale { name, file, times })
            }
        }
    }
}

/// Tries what `args` ask for. The answer is the exit code.
pub fn mutants_command(args: &MutantArgs, out: &mut impl Write) -> u8 {
    match try_all(args, out) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            eprintln!("{error}: {}", cause.unwrap_or_default());
            1
        }
    }
}

fn try_all(args: &MutantArgs, out: &mut impl Write) -> Result<bool, MutantsError> {
    let mut all = mutants()?;
    if let Some(only) = &args.only {
        all.retain(|mutant| mutant.name.contains(only));
    }
    // Every text is looked for before anything is built.
    all.iter().try_for_each(|mutant| mutant.apply(&args.root).map(drop))?;
    let tree = args.work.join("tree");
    copy_tree(&args.root, &tree)?;
    let mut survived = 0;
    let mut say =
        |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).map_err(file(&tree));
    say(format!("{:<34} {:>7} {:>7}  check", "mutant", "seed", "s"))?;
    for mutant in &all {
        let path = tree.join(&mutant.file);
        let (right, wrong) =
            (fs::read_to_string(&path).map_err(file(&path))?, mutant.apply(&tree)?);
        fs::write(&path, wrong).map_err(file(&path))?;
        let end = try_one(args, &tree);
        fs::write(&path, right).map_err(file(&path))?;
        let name = &mutant.name;
        match end.map_err(file(&tree))? {
            End::Found { seed, why, took } => {
                let why: String = why.chars().take(CHECK_CHARS_MAX).collect();
                say(format!("{name:<34} {seed:>7} {:>7.1}  {why}", took.as_secs_f64()))?;
            }
            End::Survived { said } => {
                survived += 1;
                say(format!("{name:<34} SURVIVED: {}\n{said}", mutant.what))?;
            }
            End::DoesNotBuild { said } => {
                survived += 1;
                say(format!("{name:<34} DOES NOT BUILD\n{said}"))?;
            }
        }
    }
    say(format!("{} mutants, {survived} not found", all.len()))?;
    Ok(survived == 0 && !all.is_empty())
}

fn try_one(args: &MutantArgs, tree: &Path) -> io::Result<End> {
    let target = fs::canonicalize(&args.work)?.join("target");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "proof",
            "-p",
            "rollout-sim",
            "--bin",
            "rollout-sim",
        ])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        // Built often and run for seconds.
        .env("CARGO_PROFILE_PROOF_INCREMENTAL", "true")
        .env("CARGO_PROFILE_PROOF_OPT_LEVEL", "1")
        .stdin(Stdio::null())
        .output()?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        return Ok(End::DoesNotBuild { said });
    }
    let began = Instant::now();
    let seeds = args.seeds.to_string();
    let child = Command::new(target.join("proof/rollout-sim"))
        .args(["--from", "0", "--seeds", &seeds])
        .env_remove("SEED")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let said = within(child, RUN_MAX)?;
    let mut lines = said.lines().skip_while(|line| !line.starts_with("FAILED: SEED="));
    let seed = lines.next().map(|line| line.trim_start_matches("FAILED: SEED=").to_owned());
    Ok(match (seed, lines.next()) {
        (Some(seed), Some(why)) => End::Found { seed, why: why.to_owned(), took: began.elapsed() },
        _ => End::Survived { said },
    })
}

/// Waits for a child and reads what it says; ends it when it takes too long.
fn within(mut child: Child, max: Duration) -> io::Result<String> {
    let mut stdout = child.stdout.take();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let read = stdout.as_mut().map_or(Ok(String::new()), io::read_to_string);
        // Nobody listens any more when the time is up.
        let _ = sender.send(());
        read
    });
    if receiver.recv_timeout(max).is_err() {
        child.kill()?;
    }
    child.wait()?;
    reader.join().unwrap_or_else(|_| Ok(String::new()))
}

/// Copies what is needed to build the simulator; what is equal is left alone, so that it is not built again.
fn copy_tree(root: &Path, tree: &Path) -> Result<(), MutantsError> {
    for name in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "clippy.toml"] {
        copy(&root.join(name), &tree.join(name))?;
    }
    for name in ["crates", "tests"] {
        copy_below(&root.join(name), &tree.join(name))?;
    }
    Ok(())
}

fn copy_below(from: &Path, to: &Path) -> Result<(), MutantsError> {
    for entry in fs::read_dir(from).map_err(file(from))? {
        let entry = entry.map_err(file(from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_below(&path, &to)?,
            false => copy(&path, &to)?,
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), MutantsError> {
    let new = fs::read(from).map_err(file(from))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(file(parent))?;
    }
    fs::write(to, new).map_err(file(to))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> MutantsError {
    let path = path.to_owned();
    move |source| MutantsError::File { path, source }
}

/// Longest time that one mutant's seeds may take.
const RUN_MAX: Duration = Duration::from_secs(300);
/// Longest part of a check's words in the table.
const CHECK_CHARS_MAX: usize = 110;
