//! The figures of all runs, of the subject and of the peer.

use std::collections::BTreeMap;

use crate::figure::Figure;
use crate::number::{median, show};

/// The values of one row, in the order of runs.
#[derive(Default)]
pub struct Row {
    /// Those of the subject, then those of the peer, if there is one.
    pub values: [Vec<f64>; 2],
    /// Why there are no values.
    pub why_not: Option<String>,
}

impl Row {
    /// The subject's value divided by the peer's, for each run in which the peer's is not zero.
    pub fn ratios(&self) -> Vec<f64> {
        let [subject, peer] = &self.values;
        subject
            .iter()
            .zip(peer)
            .filter(|(_, peer)| **peer != 0.0)
            .map(|(subject, peer)| subject / peer)
            .collect()
    }
}

/// All rows, including those that could not be measured.
#[derive(Default)]
pub struct Table(pub BTreeMap<Figure, Row>);

impl Table {
    /// Adds a value of the subject (0) or of the peer (1).
    pub fn add(&mut self, side: usize, figure: Figure, value: f64) {
        if let Some(values) = self.0.entry(figure).or_default().values.get_mut(side) {
            values.push(value);
        }
    }

    /// Records why there is no value.
    pub fn cannot(&mut self, figure: Figure, why: String) {
        self.0.entry(figure).or_default().why_not = Some(why);
    }
}

/// Formats minimum, median and maximum, or one value if all are the same.
pub fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
        return "-".to_owned();
    };
    let shown = [*least, median(values), *most].map(|value| show(value, digits));
    if shown[0] == shown[2] {
        let [value, ..] = shown;
        return value;
    }
    shown.join(" / ")
}
