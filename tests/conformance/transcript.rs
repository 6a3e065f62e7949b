//! Owns the form of a script: what is done, and what was said and seen, as one text that is also its own golden file.
//!
//! ```text
//! # A comment: where the expectation comes from.
//! ! state {"state":"paused"}                 a control of the emulator
//! file flags.env                             a file, with the lines that follow
//! | ENABLE_X=true
//! $ env set ENABLE_X true                    a command, `[wrong] env set …` with another key
//! 2> ✔ Successfully set ENABLE_X             what it said; `1> ` on standard output
//! exit 0
//! saw POST /api/update_environment_variables 200
//! wrote ENABLE_X="true"
//! ? variables                                a question to the emulator
//! is ENABLE_X="true"
//! & logs --success                           a command that does not end by itself, left running
//! stop 2                                     ended once it has said so many lines on standard output
//! ```

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// `! control body`.
    Control { control: String, body: String },
    /// `file name` and its lines.
    File { name: String, lines: Vec<String> },
    /// `$ [key] args`.
    Command { key: Key, args: Vec<String> },
    /// `& [key] args`: a command that follows the deployment until it is stopped.
    Follow { key: Key, args: Vec<String> },
    /// `stop lines`: ends what follows, once it has said so many lines on standard output.
    Stop { lines: usize },
    /// `? variables`.
    Variables,
}

/// How a command enters the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The full key, self-hosted.
    Admin,
    /// The key that may only look.
    ReadOnly,
    /// A key that the deployment does not know.
    Wrong,
    /// `CONVEX_DEPLOY_KEY`: the control plane is asked first where the deployment is.
    Deploy,
}

/// A part of a script: as written, what is done, and the lines that should come of it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Comments and blank lines before it, then its own lines; all without what comes of it.
    pub(crate) written: Vec<String>,
    /// What is done; `None` for comments at the end.
    pub(crate) act: Option<Act>,
    /// What came of it when it was recorded.
    pub(crate) expected: Vec<String>,
}

/// Takes a script apart.
///
/// # Panics
///
/// When a line is none of a script.
pub(crate) fn parse(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut before = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            before.push(line.to_owned());
        } else if OUTCOMES.iter().any(|prefix| line.starts_with(prefix)) {
            parts.last_mut().unwrap().expected.push(line.to_owned());
        } else if let Some(content) = line.strip_prefix('|') {
            let part = parts.last_mut().unwrap();
            part.written.push(line.to_owned());
            let Some(Act::File { lines, .. }) = &mut part.act else { panic!("no file: {line}") };
            lines.push(content.strip_prefix(' ').unwrap_or(content).to_owned());
        } else {
            let mut written = std::mem::take(&mut before);
            written.push(line.to_owned());
            parts.push(Part { written, act: Some(parse_act(line)), expected: Vec::new() });
        }
    }
    parts.push(Part { written: before, act: None, expected: Vec::new() });
    parts
}

fn parse_act(line: &str) -> Act {
    let (mark, rest) = line.split_once(' ').unwrap_or_else(|| panic!("not of a script: {line}"));
    match mark {
        "!" => {
            let (control, body) = rest.split_once(' ').unwrap_or((rest, ""));
            Act::Control { control: control.to_owned(), body: body.to_owned() }
        }
        "file" => Act::File { name: rest.to_owned(), lines: Vec::new() },
        "?" if rest == "variables" => Act::Variables,
        "$" => {
            let (key, args) = parse_command(rest);
            Act::Command { key, args }
        }
        "&" => {
            let (key, args) = parse_command(rest);
            Act::Follow { key, args }
        }
        "stop" => Act::Stop { lines: rest.parse().unwrap() },
        _ => panic!("not of a script: {line}"),
    }
}

fn parse_command(text: &str) -> (Key, Vec<String>) {
    let keys =
        [("[wrong] ", Key::Wrong), ("[read-only] ", Key::ReadOnly), ("[deploy] ", Key::Deploy)];
    let named = keys.iter().find_map(|(name, key)| Some((*key, text.strip_prefix(name)?)));
    let (key, rest) = named.unwrap_or((Key::Admin, text));
    (key, words(rest))
}

/// Splits at blanks, but for what stands between single quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// How lines begin that came of what was done.
const OUTCOMES: [&str; 6] = ["1>", "2>", "exit ", "saw ", "wrote ", "is "];

#[test]
fn a_script_is_taken_apart_and_keeps_its_words() {
    let text = "# why\n! state {\"a\": 1}\nfile f.env\n| A=1\n|\n\n$ [wrong] run f '{\"n\": 3}' x\n1> out\n2>\nexit 0\n? variables\nis A=\"1\"\n& logs\nstop 2\n1> a\n1> b\n# end\n";
    let parts = parse(text);
    let acts: Vec<_> = parts.iter().filter_map(|part| part.act.clone()).collect();
    let args = ["run", "f", "{\"n\": 3}", "x"].map(str::to_owned).to_vec();
    assert_eq!(
        acts,
        [
            Act::Control { control: "state".into(), body: "{\"a\": 1}".into() },
            Act::File { name: "f.env".into(), lines: vec!["A=1".into(), String::new()] },
            Act::Command { key: Key::Wrong, args },
            Act::Variables,
            Act::Follow { key: Key::Admin, args: vec!["logs".into()] },
            Act::Stop { lines: 2 },
        ]
    );
    assert_eq!(parts[2].expected, ["1> out", "2>", "exit 0"]);
    let lines = parts.iter().flat_map(|part| part.written.iter().chain(&part.expected));
    assert_eq!(lines.map(|line| format!("{line}\n")).collect::<String>(), text);
}
