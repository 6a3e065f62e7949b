//! Power cuts: the real daemon on a real file system that forgets what was not made durable.
//!
//! A cut freezes the daemon in the middle of its work, takes the disk without what the kernel still had in memory, and kills
//! the daemon. The next daemon starts on that disk, is looked at, and works on until the next cut; so most cuts hit a state
//! that came out of a cut. A second arm does the same without rolloutd's own fsync. If it survives, the cuts are too gentle
//! and the first arm proves nothing.

pub(crate) mod check;
mod disk;
pub(crate) mod load;
pub(crate) mod site;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use self::check::Findings;
use self::load::{Acknowledged, Book};
use self::site::Site;
use crate::shim::Faults;
use crate::tool::Tool;

/// What the cuts need of a machine.
pub const POWER_CUT_TOOLS: [Tool; 4] = [Tool::Cc, Tool::Root, Tool::MkfsExt4, Tool::Mount];

/// Requests sent or answered between two cuts, at least and at most.
const MOMENTS: std::ops::RangeInclusive<u64> = 8..=120;
/// Cuts after which a new machine is built, so that its disk does not grow full.
const CUTS_PER_SITE: u32 = 20;
/// Longest time for one step, in real time.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Failures that a report shows.
const SHOWN_MAX: usize = 5;

/// Whether rolloutd's own fsync reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// It does: the product as it is.
    Synced,
    /// It does not.
    Control,
}

/// What became of the cuts of one arm.
#[derive(Clone, Debug)]
pub struct Tally {
    arm: Arm,
    cuts: u32,
    failed_cuts: u32,
    acknowledged: usize,
    lost: usize,
    failed_opens: u32,
    stuck: usize,
    examples: Vec<String>,
}

/// Cuts the power of the program `rolloutd` `cuts` times in one arm.
///
/// # Errors
///
/// When the machine does not play along: no loop device, no emulator, a daemon that ends by itself.
pub async fn cut_power(
    rolloutd: &str,
    arm: Arm,
    cuts: u32,
    random: &mut fastrand::Rng,
) -> Result<Tally, String> {
    let mut tally = Tally::new(arm);
    while tally.cuts < cuts {
        let mut site = Site::build(rolloutd).await?;
        if arm == Arm::Control {
            // The store itself is there; what is missing is only what a commit makes durable.
            site.found(Faults::none().skip_our_sync()).await?;
        }
        site.start().await?;
        let mut machine = Machine { site, book: Book::new() };
        let until = cuts.min(tally.cuts + CUTS_PER_SITE);
        while tally.cuts < until {
            // A machine that lost something is not the one that its operators remember.
            if machine.cut(&mut tally, random).await? == Survived::No {
                break;
            }
        }
    }
    Ok(tally)
}

/// A machine and what was acknowledged on it.
struct Machine {
    site: Site,
    book: Book,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Survived {
    Yes,
    No,
}

impl Machine {
    async fn cut(
        &mut self,
        tally: &mut Tally,
        random: &mut fastrand::Rng,
    ) -> Result<Survived, String> {
        let known = self.book.read().len();
        let image = self.work_until_the_power_fails(random).await?;
        let told = self.book.read();
        tally.cuts += 1;
        tally.acknowledged += told.len() - known;
        let found = match self.power_up(image).await {
            Ok(()) => self.look(&told).await,
            Err(why) => Err(why),
        };
        let Findings { lost, stuck } = match found {
            Ok(findings) => findings,
            // A store that cannot be read, or not all of it, is as bad as one that cannot be opened.
            Err(why) => {
                tally.failed_opens += 1;
                return Ok(tally.failed(vec![why]));
            }
        };
        tally.lost += lost.len();
        tally.stuck += stuck.len();
        match lost.is_empty() && stuck.is_empty() {
            true => Ok(Survived::Yes),
            false => Ok(tally.failed(lost.into_iter().chain(stuck).collect())),
        }
    }

    /// Answers the disk as the cut left it; nobody is writing to the book any more then.
    async fn work_until_the_power_fails(
        &mut self,
        random: &mut fastrand::Rng,
    ) -> Result<PathBuf, String> {
        let (socket, deployments) = (self.site.socket(), &self.site.deployments);
        let mut operators = load::begin(&socket, deployments, &self.book, random);
        let moments = self.book.after(random.u64(MOMENTS));
        timeout(STEP_MAX, moments).await.map_err(|_| "the operators got nothing done")?;
        let image = self.site.fail_power().await?;
        let at_home = async { while operators.join_next().await.is_some() {} };
        timeout(STEP_MAX, at_home).await.map_err(|_| "an operator did not notice")?;
        Ok(image)
    }

    async fn look(&self, told: &[Acknowledged]) -> Result<Findings, String> {
        let (socket, said) = (self.site.socket(), self.site.messages());
        let looked = timeout(STEP_MAX, check::look(&socket, told, &said)).await;
        looked.unwrap_or_else(|_| Err(String::from("the daemon does not answer")))
    }

    async fn power_up(&mut self, image: PathBuf) -> Result<(), String> {
        self.site.restore_power(image)?;
        self.site.start().await
    }
}

impl Tally {
    fn new(arm: Arm) -> Self {
        Self {
            arm,
            cuts: 0,
            failed_cuts: 0,
            acknowledged: 0,
            lost: 0,
            failed_opens: 0,
            stuck: 0,
            examples: Vec::new(),
        }
    }

    fn failed(&mut self, why: Vec<String>) -> Survived {
        self.failed_cuts += 1;
        let room = SHOWN_MAX.saturating_sub(self.examples.len());
        let cut = self.cuts;
        self.examples.extend(why.into_iter().take(room).map(|why| format!("cut {cut}: {why}")));
        Survived::No
    }

    /// What the figures say against rolloutd, or against the test itself; `None` = nothing.
    pub fn objection(&self) -> Option<String> {
        let Self { arm, cuts, failed_cuts, acknowledged, examples, .. } = self;
        let enough = *acknowledged >= usize::try_from(*cuts).unwrap_or(usize::MAX);
        let problem = match arm {
            Arm::Synced if *failed_cuts > 0 => "power cuts did damage",
            Arm::Control if *failed_cuts * 2 <= *cuts => {
                "the control arm survives without fsync, so the cuts prove nothing"
            }
            Arm::Synced | Arm::Control if !enough => "hardly anything was acknowledged",
            Arm::Synced | Arm::Control => return None,
        };
        Some(format!("{problem}:\n{self}\n{}", examples.join("\n")))
    }

    /// The heading of the table whose rows tallies are.
    pub fn heading() -> String {
        row(["power cuts", "cuts", "failed", "acknowledged", "lost", "failed opens", "stuck"])
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arm = match self.arm {
            Arm::Synced => "as it is",
            Arm::Control => "without our fsync (control)",
        };
        let Self { cuts, failed_cuts, acknowledged, lost, failed_opens, stuck, .. } = self;
        let numbers = [
            cuts.to_string(),
            failed_cuts.to_string(),
            acknowledged.to_string(),
            lost.to_string(),
            failed_opens.to_string(),
            stuck.to_string(),
        ];
        let [a, b, c, d, e, g] = numbers.each_ref().map(String::as_str);
        f.write_str(&row([arm, a, b, c, d, e, g]))
    }
}

pub(crate) fn row(cells: [&str; 7]) -> String {
    let [first, rest @ ..] = cells;
    rest.iter().fold(format!("{first:<27}"), |row, cell| format!("{row}  {cell:>12}"))
}
