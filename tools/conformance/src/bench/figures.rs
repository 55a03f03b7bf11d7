//! Figures of several rounds as a table: median (least..greatest) of each server, and what one is to the other.

use std::fmt;

/// One figure of one round.
pub(super) type Figure = (&'static str, f64);

/// One row: a figure of a workload.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) workload: String,
    pub(super) figure: &'static str,
    samples: [Vec<f64>; 2],
}

/// All rows, in the order in which they came.
#[derive(Debug)]
pub(super) struct Table {
    names: [&'static str; 2],
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn new(names: [&'static str; 2]) -> Self {
        Self { names, rows: Vec::new() }
    }

    /// What one round of a workload gave on the first or second server.
    pub(super) fn add(&mut self, column: usize, workload: &str, figures: &[Figure]) {
        for (figure, value) in figures {
            let is_it = |row: &Row| row.workload == workload && row.figure == *figure;
            let at = self.rows.iter().position(is_it).unwrap_or_else(|| {
                let samples = [Vec::new(), Vec::new()];
                self.rows.push(Row { workload: workload.to_owned(), figure, samples });
                self.rows.len() - 1
            });
            if let Some(samples) = self.rows.get_mut(at).and_then(|row| row.samples.get_mut(column)) {
                samples.push(*value);
            }
        }
    }

    /// The first server's median.
    pub(super) fn first(&self, workload: &str, figure: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.workload == workload && row.figure == figure)?;
        median(row.samples.first()?)
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl Row {
    /// The second server's median in terms of the first one's.
    pub(super) fn ratio(&self) -> Option<f64> {
        let [first, second] = self.samples.each_ref().map(|samples| median(samples));
        let (first, second) = (first?, second?);
        (first > 0.0).then(|| second / first)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.names;
        writeln!(f, "| workload | figure | {first} | {second} | {second}/{first} |\n|---|---|---:|---:|---:|")?;
        for row in &self.rows {
            let [first, second] = row.samples.each_ref().map(|samples| summary(samples));
            let ratio = row.ratio().map_or("-".to_owned(), short);
            writeln!(f, "| {} | {} | {first} | {second} | {ratio} |", row.workload, row.figure)?;
        }
        Ok(())
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    Some((upper + sorted.get(middle.checked_sub(1)?)?) / 2.0)
}

fn summary(samples: &[f64]) -> String {
    let Some(median) = median(samples) else { return "-".to_owned() };
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if samples.len() < 2 {
        return short(median);
    }
    format!("{} ({}..{})", short(median), short(least), short(greatest))
}

/// Three digits, or all before the point, in groups.
fn short(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Table, short};

    #[test]
    fn a_row_shows_median_least_and_greatest_and_the_ratio_of_medians() {
        let mut table = Table::new(["a", "b"]);
        for (first, second) in [(3.0, 9000.0), (1.0, 6000.0), (2.0, 4000.0)] {
            table.add(0, "load", &[("rate", first)]);
            table.add(1, "load", &[("rate", second)]);
        }
        let text = table.to_string();
        assert_eq!(text.lines().last(), Some("| load | rate | 2.00 (1.00..3.00) | 6,000 (4,000..9,000) | 3,000 |"));
        assert_eq!(table.rows().first().and_then(super::Row::ratio), Some(3000.0));
    }

    #[test]
    fn numbers_have_three_digits_or_groups() {
        assert_eq!(
            ["0.12", "12.3", "123", "1,234,567"],
            [0.123, 12.34, 123.4, 1_234_567.0].map(short).each_ref().map(|text| text.as_str())
        );
    }
}
