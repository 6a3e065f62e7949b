//! Owns how files get to their places: all of them or none, each whole, none over another one without being told so.
//!
//! Makes no directory but the one of the module: a directory that is not there is most likely a slip of the pen.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Whether a file that is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    Never,
    Forced,
}

/// Refuses a place where no file could be put.
pub(super) fn check(path: &Path, replace: Replace) -> Result<(), Failure> {
    let named = path.display();
    let dir = dir_of(path);
    if path.file_name().is_none() || path.is_dir() {
        return Err(Failure::Usage(format!("{named} is a directory; name a file in it")));
    }
    if !dir.is_dir() {
        let dir = dir.display();
        return Err(Failure::Usage(format!("there is no directory {dir} for {named}")));
    }
    if replace == Replace::Never && fs::symlink_metadata(path).is_ok() {
        return Err(taken(path));
    }
    Ok(())
}

/// Writes all files next to their places, and only then puts them there.
pub(super) fn write(files: &[(&Path, &str)], replace: Replace) -> Result<(), Failure> {
    let drafts: Vec<_> = files.iter().map(|(path, _)| draft(path)).collect();
    let placed = place(files, &drafts, replace);
    for draft in &drafts {
        fs::remove_file(draft).ok();
    }
    placed
}

fn place(files: &[(&Path, &str)], drafts: &[PathBuf], replace: Replace) -> Result<(), Failure> {
    let failed = |path: &Path, source| Failure::Write { path: path.to_path_buf(), source };
    for ((path, text), draft) in files.iter().zip(drafts) {
        fill(draft, text).map_err(|source| failed(path, source))?;
    }
    for (at, ((path, _), draft)) in files.iter().zip(drafts).enumerate() {
        let placed = match replace {
            Replace::Forced => fs::rename(draft, path),
            // A link is refused where a file is, also one that came just now.
            Replace::Never => fs::hard_link(draft, path),
        };
        let Err(error) = placed else { continue };
        if replace == Replace::Never {
            // They were not there a moment ago, so taking them away leaves things as they were.
            files.iter().take(at).for_each(|(path, _)| drop(fs::remove_file(path)));
        }
        return Err(match error.kind() == io::ErrorKind::AlreadyExists {
            true => taken(path),
            false => failed(path, error),
        });
    }
    Ok(())
}

fn fill(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn taken(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} is there already and was not touched; --force replaces it",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of_a_test(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("rolloutctl-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_only_by_force_and_no_draft_stays() {
        let dir = place_of_a_test("files");
        let path = dir.join("plan.toml");
        write(&[(&path, "one")], Replace::Never).unwrap();
        let refused = write(&[(&path, "two")], Replace::Never).unwrap_err().to_string();
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write(&[(&path, "two")], Replace::Forced).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(&dir), ["plan.toml"]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn of_several_files_all_are_written_or_none() {
        let dir = place_of_a_test("several");
        let (one, two, away) = (dir.join("one"), dir.join("two"), dir.join("away/three"));
        fs::write(&two, "mine").unwrap();
        for other in [&two, &away] {
            write(&[(&one, "1"), (other, "2")], Replace::Never).unwrap_err();
            assert_eq!(names(&dir), ["two"], "half of it was written");
        }
        for (path, words) in
            [(&two, "--force"), (&away, "there is no directory"), (&dir, "is a directory")]
        {
            let refused = check(path, Replace::Never).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
        check(&one, Replace::Never).unwrap();
        check(&two, Replace::Forced).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }
}
