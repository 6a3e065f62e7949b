//! Owns where a line for people may be broken: between words, and not inside a command in backticks that fits on a line of
//! its own, since a command that is cut in two cannot be copied.

/// The parts of `text` between which a line may be broken. A command in backticks is one, with what stands right before and
/// behind it, unless it has more than `max` characters; `usize::MAX` never breaks one.
pub fn unbroken(text: &str, max: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let blank = blank_in(rest);
        let end = match rest.get(..blank).and_then(|word| word.find('`')) {
            Some(open) => {
                let close = rest.get(open + 1..).and_then(|after| after.find('`'));
                let close = close.map_or(blank, |close| open + close + 2);
                // Punctuation behind the command stays with it.
                let tail = rest.get(close..).unwrap_or_default();
                let end = close + blank_in(tail);
                let is_short = rest.get(..end).is_some_and(|part| part.chars().count() <= max);
                if is_short { end.max(blank) } else { blank }
            }
            None => blank,
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn blank_in(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_word_where_it_fits() {
        let text = "try `npx convex run a:b '{}'`, then\nwait";
        assert_eq!(unbroken(text, 40), ["try", "`npx convex run a:b '{}'`,", "then", "wait"]);
        assert_eq!(unbroken(text, 10).len(), 8, "what never fits is broken as any other text");
        assert_eq!(unbroken("a `b c", 40), ["a", "`b", "c"], "a lone backtick opens nothing");
        assert_eq!(unbroken("  ", 40), [""; 0]);
    }
}
