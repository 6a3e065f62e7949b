//! Owns the two outputs: data on one, talk on the other.
//!
//! Texts come from plans, people and a deployment, so control characters are taken out on the way: nothing of theirs can
//! move the cursor or rename a terminal. A reader that has gone away ends the program quietly.

use std::io::{self, Write};

use serde::Serialize;

/// Where data and talk go.
pub struct Io<'a> {
    out: &'a mut (dyn Write + Send),
    talk: &'a mut (dyn Write + Send),
}

impl<'a> Io<'a> {
    /// Takes the output for data and the one for talk.
    pub fn new(out: &'a mut (dyn Write + Send), talk: &'a mut (dyn Write + Send)) -> Self {
        Self { out, talk }
    }

    /// Prints data.
    pub(crate) fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(tame(text).as_bytes())?;
        self.out.flush()
    }

    /// Prints data on a line of its own.
    pub(crate) fn print_line(&mut self, text: &str) -> io::Result<()> {
        self.print(&format!("{text}\n"))
    }

    /// Prints one value as one line of JSON.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }

    /// Clears the terminal and prints a page in its place.
    pub(crate) fn redraw(&mut self, page: &str) -> io::Result<()> {
        self.out.write_all(b"\x1b[H\x1b[2J")?;
        self.print(page)
    }

    /// Says something to the person. Nobody listening is no reason to fail.
    pub(crate) fn say(&mut self, text: &str) {
        writeln!(self.talk, "{}", tame(text)).ok();
    }

    /// Says something that was rendered here, colours and all.
    pub(crate) fn say_rendered(&mut self, text: &str) {
        self.talk.write_all(text.as_bytes()).ok();
    }

    /// Prints data that was rendered here, colours and all.
    pub(crate) fn print_rendered(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// `text` without control characters other than line ends and tabs.
pub(crate) fn tame(text: &str) -> String {
    let tame = |letter: char| match letter {
        '\n' | '\t' => letter,
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_steer_a_terminal() {
        assert_eq!(tame("a\x1b]0;owned\x07b\r\n\tü"), "a\u{fffd}]0;owned\u{fffd}b\u{fffd}\n\tü");
    }
}
