//! The figures of all runs, of the subject and of the peer.

use std::collections::BTreeMap;

use crate::figure::Figure;
use crate::number::{median, show};

/// The values of one row, run by run.
#[derive(Default)]
pub struct Row {
    /// The subject's first, then the peer's if there is one.
    pub values: [Vec<f64>; 2],
    /// Why there are none.
    pub why_not: Option<String>,
}

impl Row {
    /// Subject by peer, of each run; where the peer has nothing of it, there is none.
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

/// All rows that were measured, or could not be.
#[derive(Default)]
pub struct Table(pub BTreeMap<Figure, Row>);

impl Table {
    /// One more value, of the subject (0) or the peer (1).
    pub fn add(&mut self, side: usize, figure: Figure, value: f64) {
        if let Some(values) = self.0.entry(figure).or_default().values.get_mut(side) {
            values.push(value);
        }
    }

    /// Says why there is no value.
    pub fn cannot(&mut self, figure: Figure, why: String) {
        self.0.entry(figure).or_default().why_not = Some(why);
    }
}

/// min / median / max, or the one value that all of them are.
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
