//! Owns the commands a person could type: each is one line, and every foreign word in it is quoted.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::id::FlagName;
use crate::plan::{FlagChange, Phase};

/// The commands that turn a phase's flags on, one per flag.
pub(super) fn enable(phase: &Phase) -> Vec<String> {
    commands(&phase.flags, |change| &change.on)
}

/// The commands that put a phase's flags back, in reverse order.
pub(super) fn restore(phase: &Phase) -> Vec<String> {
    commands(&phase.flags, |change| &change.safe).into_iter().rev().collect()
}

/// `npx convex run dir/module:function`.
pub(super) fn run(function: &str) -> String {
    format!("npx convex run {}", word(function))
}

fn commands(
    flags: &BTreeMap<FlagName, FlagChange>,
    value: impl Fn(&FlagChange) -> &str,
) -> Vec<String> {
    flags.iter().map(|(flag, change)| env_set(flag, value(change))).collect()
}

/// `npx convex env set RETRY true`.
pub(crate) fn env_set(flag: &FlagName, value: &str) -> String {
    // Without the `--`, a value that begins with a dash would be read as an option.
    let end_of_options = if value.starts_with('-') { "-- " } else { "" };
    format!("npx convex env set {end_of_options}{flag} {}", word(value))
}

/// One word for a POSIX shell; a word with control characters is written as bash and zsh read it.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_string();
    }
    if text.chars().any(char::is_control) {
        let escaped: String = text.chars().map(escaped).collect();
        return format!("$'{escaped}'");
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn escaped(letter: char) -> String {
    match letter {
        '\'' | '\\' => format!("\\{letter}"),
        '\n' => "\\n".to_string(),
        '\t' => "\\t".to_string(),
        letter if letter.is_ascii_control() => format!("\\x{:02x}", u32::from(letter)),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        assert_eq!(word("true"), "true");
        assert_eq!(word(""), "''");
        assert_eq!(word("a b; rm -rf $HOME"), "'a b; rm -rf $HOME'");
        assert_eq!(word("it's"), "'it'\\''s'");
        assert_eq!(word("two\nlines'\u{1b}"), "$'two\\nlines\\'\\x1b'");
    }

    #[test]
    fn a_value_with_a_dash_is_no_option() {
        let flag = FlagName::new("LEVEL").unwrap();
        assert_eq!(env_set(&flag, "-1"), "npx convex env set -- LEVEL -1");
        assert_eq!(env_set(&flag, "1"), "npx convex env set LEVEL 1");
    }
}
