//! Owns the table of figures that the benchmarks print: what, figure, goal, met or not.

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure with its unit, and what it is the median of.
    pub figure: String,
    /// What was promised; `-` where nothing was.
    pub goal: String,
    /// `met`, `NOT MET`, or `-`.
    pub verdict: String,
}

impl Row {
    /// A figure that must not exceed its goal.
    pub fn at_most(what: &str, figure: f64, goal: f64, unit: &str, detail: &str) -> Self {
        let verdict = if figure <= goal { "met" } else { "NOT MET" };
        Self {
            what: what.to_owned(),
            figure: format!("{figure:.2} {unit}{detail}"),
            goal: format!("<= {goal} {unit}"),
            verdict: verdict.to_owned(),
        }
    }

    /// A count that must not exceed its goal.
    pub fn count_at_most(what: &str, count: u64, goal: u64, unit: &str, detail: &str) -> Self {
        Self {
            what: what.to_owned(),
            figure: format!("{count} {unit}{detail}"),
            goal: format!("<= {goal} {unit}"),
            verdict: if count <= goal { "met" } else { "NOT MET" }.to_owned(),
        }
    }

    /// A figure that must reach its goal.
    pub fn at_least(what: &str, figure: f64, goal: f64, unit: &str, detail: &str) -> Self {
        let verdict = if figure >= goal { "met" } else { "NOT MET" };
        Self {
            what: what.to_owned(),
            figure: format!("{figure:.0} {unit}{detail}"),
            goal: format!(">= {goal} {unit}"),
            verdict: verdict.to_owned(),
        }
    }

    /// A figure that is only reported.
    pub fn only(what: &str, figure: String) -> Self {
        Self { what: what.to_owned(), figure, goal: "-".to_owned(), verdict: "-".to_owned() }
    }
}

/// Sets rows one below the other, under a head.
pub fn table(rows: &[Row]) -> String {
    let head = Row {
        what: "what".to_owned(),
        figure: "figure".to_owned(),
        goal: "goal".to_owned(),
        verdict: "verdict".to_owned(),
    };
    let all = || std::iter::once(&head).chain(rows);
    let width = |field: fn(&Row) -> &str| all().map(|row| field(row).len()).max().unwrap_or(0);
    let (what, figure, goal) =
        (width(|row| &row.what), width(|row| &row.figure), width(|row| &row.goal));
    let line = |row: &Row| {
        let Row { what: name, figure: found, goal: wanted, verdict } = row;
        format!("{name:<what$}  {found:<figure$}  {wanted:<goal$}  {verdict}\n")
    };
    all().map(line).collect()
}
