//! Owns a disk that can lose its power: an ext4 image in memory, mounted through a loop device of its own.
//!
//! A power cut is a copy of the image while nothing writes to it: what the mounted file system still keeps in its cache is
//! not in the image, exactly as it would not be on a disk. The cache is written back by fsync only, for the commit interval
//! is five minutes and no disk lives that long. Touches no loop device and no mount but its own, and leaves neither behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Room for the journals of twenty cuts.
const IMAGE_BYTES: u64 = 96 << 20;
/// Longest time for one command, in seconds; they take milliseconds.
const COMMAND_SECS_MAX: &str = "30";
/// Longest time until every thread of a process has stopped.
const FREEZE_MAX: Duration = Duration::from_secs(20);
/// How often a copy is tried during which the kernel wrote to the image.
const COPIES_MAX: u32 = 100;

/// A mounted image.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    image: PathBuf,
    /// The kernel's counters of the loop device.
    stat: PathBuf,
    cuts: u32,
}

impl Disk {
    /// Makes an empty disk with a state directory on it.
    ///
    /// # Errors
    ///
    /// What the failing command said.
    pub(super) fn new(dir: &Path) -> Result<Self, String> {
        let image = dir.join("disk-0.img");
        let file = fs::File::create(&image).map_err(words)?;
        file.set_len(IMAGE_BYTES).map_err(words)?;
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run("mkfs.ext4", &["-q", "-F", "-E", options, text(&image)])?;
        fs::create_dir(dir.join("mnt")).map_err(words)?;
        let stat = mount(&image, &dir.join("mnt"))?;
        let disk = Self { dir: dir.to_owned(), image, stat, cuts: 0 };
        fs::create_dir(disk.state_dir()).map_err(words)?;
        disk.write_back()?;
        Ok(disk)
    }

    /// Where the daemon keeps its state.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.dir.join("mnt").join("state")
    }

    /// Makes everything on the disk durable.
    pub(super) fn write_back(&self) -> Result<(), String> {
        run("sync", &["-f", text(&self.dir.join("mnt"))]).map(drop)
    }

    /// Takes what would be left if the power failed now. Every process that writes to the disk must be frozen.
    pub(super) fn cut(&mut self) -> Result<PathBuf, String> {
        self.cuts += 1;
        let copy = self.dir.join(format!("disk-{}.img", self.cuts));
        for _ in 0..COPIES_MAX {
            let before = self.writes()?;
            run("cp", &["--sparse=auto", text(&self.image), text(&copy)])?;
            if self.writes()? == before {
                return Ok(copy);
            }
        }
        Err(String::from("the kernel does not stop writing to the image"))
    }

    /// Puts another image into the place of this one: the machine has its power back. The daemon must be gone.
    ///
    /// # Errors
    ///
    /// What `mount` said; then nothing is mounted.
    pub(super) fn replace(&mut self, image: PathBuf) -> Result<(), String> {
        let at = self.dir.join("mnt");
        run("umount", &[text(&at)])?;
        fs::remove_file(&self.image).map_err(words)?;
        self.image = image;
        self.stat = mount(&self.image, &at)?;
        Ok(())
    }

    /// Numbers that change with everything that is written to the image or on its way: completed writes, sectors written,
    /// requests under way, flushes.
    fn writes(&self) -> Result<[u64; 4], String> {
        let stat = fs::read_to_string(&self.stat).map_err(words)?;
        let numbers: Vec<u64> =
            stat.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied().ok_or("the kernel counts too little");
        Ok([at(4)?, at(6)?, at(8)?, at(15)?])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let at = self.dir.join("mnt");
        if !is_mounted(&at) {
            return;
        }
        // A daemon that is just being killed may hold it for a moment; then the mount goes with its last file.
        if run("umount", &[text(&at)]).is_err() {
            let _ = run("umount", &["--lazy", text(&at)]);
        }
    }
}

/// Stops a process where it stands, and waits until none of its threads is inside a system call that still works.
///
/// # Errors
///
/// When it is gone, or does not stop.
pub(super) fn freeze(pid: u32) -> Result<(), String> {
    run("kill", &["-STOP", &pid.to_string()])?;
    let start = Instant::now();
    while start.elapsed() < FREEZE_MAX {
        if threads(pid)?.iter().all(|state| *state == 'T') {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(format!("process {pid} does not stop"))
}

fn threads(pid: u32) -> Result<Vec<char>, String> {
    let mut states = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(words)? {
        let stat = thread.map_err(words)?.path().join("stat");
        // A thread that ends meanwhile does nothing any more.
        let Ok(stat) = fs::read_to_string(stat) else { continue };
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        states.push(state.ok_or("a thread without a state")?);
    }
    match states.is_empty() {
        true => Err(format!("process {pid} is gone")),
        false => Ok(states),
    }
}

/// Mounts an image; answers where the kernel counts what is written to it.
fn mount(image: &Path, at: &Path) -> Result<PathBuf, String> {
    let device = run("losetup", &["--find", "--show", text(image)])?;
    let device = device.trim();
    let mounted = run("mount", &["-t", "ext4", "-o", "commit=300,nodiscard", device, text(at)]);
    // From now on the device lives only as long as the mount; without one it goes at once.
    let detached = run("losetup", &["--detach", device]);
    mounted.and(detached)?;
    let name = device.rsplit('/').next().unwrap_or(device);
    Ok(Path::new("/sys/block").join(name).join("stat"))
}

fn is_mounted(at: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == at.to_str())
}

/// Runs a command to its end, or for half a minute; answers what it printed.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.arg(COMMAND_SECS_MAX).arg(program).args(args).stdin(Stdio::null());
    let output = command.output().map_err(words)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program} {}: {}: {}", args.join(" "), output.status, said.trim()))
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn words(error: std::io::Error) -> String {
    error.to_string()
}
