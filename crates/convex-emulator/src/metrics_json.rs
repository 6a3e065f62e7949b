//! How `app_metrics` writes its series: pairs of a bucket's start and a value, oldest first.

use serde_json::{Value as Json, json};

use crate::metrics::{FunctionKey, Window};

/// Parts of a whole, for percentages.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    pub(crate) part: u64,
    pub(crate) whole: u64,
}

type Series<T> = [Option<T>];

/// Which functions a series is about.
type Wanted<'a> = &'a dyn Fn(&FunctionKey) -> bool;

impl Share {
    pub(crate) fn add(&mut self, other: Self) {
        self.part += other.part;
        self.whole += other.whole;
    }

    pub(crate) fn percent(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counts of an hour fit")]
        let percent = |part: u64, whole: u64| part as f64 / whole as f64 * 100.0;
        (self.whole > 0).then(|| percent(self.part, self.whole))
    }
}

/// The named functions one by one, then all others that count as `_rest`.
pub(crate) fn with_rest(
    named: &[FunctionKey],
    series: &dyn Fn(Wanted<'_>) -> Json,
    counts_at_all: impl Fn(&FunctionKey) -> bool,
) -> Json {
    let mut rows: Vec<Json> = named
        .iter()
        .map(|key| json!([key.shown(), series(&|other: &FunctionKey| other == key)]))
        .collect();
    let rest = |key: &FunctionKey| counts_at_all(key) && !named.contains(key);
    rows.push(json!(["_rest", series(&rest)]));
    Json::Array(rows)
}

pub(crate) fn series_json<T>(
    window: &Window,
    series: &Series<T>,
    value: impl Fn(&T) -> Option<f64>,
) -> Json {
    let pair = |(bucket, sum): (usize, &Option<T>)| {
        let start = window.bucket_start(bucket);
        let time = json!({
            "secs_since_epoch": start.as_second(),
            "nanos_since_epoch": start.subsec_nanosecond(),
        });
        json!([time, sum.as_ref().and_then(&value)])
    };
    series.iter().enumerate().map(pair).collect()
}

pub(crate) fn percent_json(window: &Window, series: &Series<Share>) -> Json {
    series_json(window, series, Share::percent)
}

#[expect(clippy::cast_precision_loss, reason = "counts of an hour fit")]
pub(crate) fn counts_json(window: &Window, series: &Series<u64>) -> Json {
    series_json(window, series, |count| Some(*count as f64))
}

#[expect(clippy::cast_precision_loss, reason = "counts of an hour fit")]
pub(crate) fn rate_json(window: &Window, series: &Series<u64>) -> Json {
    let seconds = window.width().as_secs_f64();
    series_json(window, series, |count| Some(*count as f64 / seconds))
}
