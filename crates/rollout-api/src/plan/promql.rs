//! Owns what is wrong with a query before any server is asked: brackets and quotes that are left open, placeholders of
//! other tools. What the query means is Prometheus' own affair.

use super::complaint::{Complaint, suggestion};
use super::placeholders::names;

/// What is filled in, in a query.
const SPAN: [&str; 1] = ["$span"];

/// Refuses a query that no server can read.
pub(super) fn check(query: &str) -> Result<(), Complaint> {
    let bare = bare(query)?;
    // In quotes a dollar sign belongs to a regular expression; outside of them PromQL has none.
    if let Some(name) = names(&bare).find(|name| !SPAN.contains(&name.text)) {
        let hint = format!("{}; it becomes the length of the time asked about", known(name.text));
        return Err(Complaint::hinted(
            format!("nothing is filled in for `{}` in a query", name.text),
            hint,
        ));
    }
    let mut open = Vec::new();
    for letter in bare.chars() {
        let closes = match letter {
            '(' | '[' | '{' => {
                open.push(letter);
                continue;
            }
            ')' => '(',
            ']' => '[',
            '}' => '{',
            _ => continue,
        };
        if open.pop() != Some(closes) {
            return Err(Complaint::new(format!("the query has a `{letter}` that closes nothing")));
        }
    }
    match open.pop() {
        Some(left) => Err(Complaint::new(format!("the query has a `{left}` that is never closed"))),
        None => Ok(()),
    }
}

fn known(written: &str) -> String {
    match written.starts_with("$__") {
        // Grafana's own names, as `$__rate_interval`.
        true => "use `$span`".to_string(),
        false => suggestion(written, &SPAN),
    }
}

/// The query without what stands in quotes and in remarks.
fn bare(query: &str) -> Result<String, Complaint> {
    let mut bare = String::new();
    let mut letters = query.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\'' | '`' => quoted(letter, &mut letters)?,
            '#' => {
                let _ = letters.by_ref().find(|letter| *letter == '\n');
                bare.push('\n');
            }
            other => bare.push(other),
        }
    }
    Ok(bare)
}

/// Passes over a text in quotes, whose first one was read.
fn quoted(quote: char, letters: &mut std::str::Chars<'_>) -> Result<(), Complaint> {
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quote != '`' => drop(letters.next()),
            letter if letter == quote => return Ok(()),
            _ => {}
        }
    }
    Err(Complaint::new(format!("the query has a `{quote}` that is never closed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_servers_read_are_good() {
        for query in [
            "vector(1)",
            "rate(x_total[$span])",
            "label_replace(up, \"a\", \"$1\", \"b\", \"(.*)$\")",
            "sum by (le) (rate(http_seconds_bucket{code=~\"5..$\"}[5m])) # a ) in a remark",
            "x{a='\\'', b=`\\`}",
        ] {
            assert_eq!(check(query), Ok(()), "{query}");
        }
    }

    #[test]
    fn queries_that_no_server_reads_are_refused() {
        for (query, message) in [
            ("sum(rate(x[5m])", "the query has a `(` that is never closed"),
            ("rate(x[5m)]", "the query has a `)` that closes nothing"),
            ("x}", "the query has a `}` that closes nothing"),
            ("x{a=\"b}", "the query has a `\"` that is never closed"),
            ("rate(x[$spam])", "nothing is filled in for `$spam` in a query"),
            ("rate(x[$__rate_interval])", "nothing is filled in for `$__rate_interval` in a query"),
        ] {
            assert_eq!(check(query).unwrap_err().message, message, "{query}");
        }
    }
}
