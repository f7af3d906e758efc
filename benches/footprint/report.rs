//! The figures for people, as Markdown, and for programs, as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::figure::Figure;
use crate::settings::Settings;
use crate::sidecar::Binary;
use crate::table::{Row, Table, spread};

/// All that the report contains.
pub struct Report<'a> {
    pub machine: Vec<(&'static str, String)>,
    pub driver: &'a str,
    pub settings: &'a Settings,
    pub binaries: &'a [Binary],
    pub table: &'a Table,
}

impl Report<'_> {
    /// The table, and the circumstances of the measurement.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let names: Vec<&str> = self
            .binaries
            .iter()
            .map(|binary| binary.name.as_str())
            .collect();
        let mut heads = vec!["min / median / max", "unit"];
        heads.extend(&names);
        if names.len() == 2 {
            heads.push("ratio, run by run");
        }
        let _ = writeln!(text, "| {} |", heads.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(heads.len()));
        for (figure, row) in &self.table.0 {
            let _ = writeln!(text, "| {} |", self.cells(*figure, row).join(" | "));
        }
        let _ = writeln!(
            text,
            "\n{} runs; idle is {:?} long; driver: {}.",
            self.settings.runs, self.settings.idle, self.driver
        );
        for binary in self.binaries {
            let _ = writeln!(
                text,
                "{}: {}, {}.",
                binary.name,
                binary.path.display(),
                binary.version()
            );
        }
        let facts: Vec<String> = self
            .machine
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let _ = writeln!(text, "{}.", facts.join("; "));
        text
    }

    fn cells(&self, figure: Figure, row: &Row) -> Vec<String> {
        let mut cells = vec![figure.name(self.settings.growth), figure.unit().to_owned()];
        if let Some(why) = &row.why_not {
            cells.push(format!("not measured: {why}"));
        }
        let shown = row.values.iter().take(self.binaries.len());
        cells.extend(shown.map(|values| spread(values, figure.digits())));
        if self.binaries.len() == 2 {
            cells.push(spread(&ratios(figure, row), 3));
        }
        // The reason stands in place of the first value.
        if row.why_not.is_some() {
            cells.remove(3);
        }
        cells
    }

    /// Writes the same as JSON, with the values of each run.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{:#}\n", self.json());
        let made = match path.parent() {
            Some(directory) => std::fs::create_dir_all(directory),
            None => Ok(()),
        };
        made.and_then(|()| std::fs::write(path, text))
            .map_err(|error| format!("JSON={}: cannot write it: {error}", path.display()))
    }

    fn json(&self) -> Value {
        let machine: serde_json::Map<String, Value> = self
            .machine
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let binaries: Vec<Value> = self
            .binaries
            .iter()
            .map(|binary| {
                json!({
                    "name": binary.name,
                    "path": binary.path.display().to_string(),
                    "version": binary.version(),
                })
            })
            .collect();
        let figures: Vec<Value> = self
            .table
            .0
            .iter()
            .map(|(figure, row)| self.figure(*figure, row))
            .collect();
        json!({
            "machine": machine,
            "driver": self.driver,
            "runs": self.settings.runs,
            "idle_seconds": self.settings.idle.as_secs(),
            "growth_probes": self.settings.growth,
            "subject": binaries.first(),
            "peer": binaries.get(1),
            "figures": figures,
        })
    }

    fn figure(&self, figure: Figure, row: &Row) -> Value {
        let [subject, peer] = &row.values;
        json!({
            "name": figure.name(self.settings.growth),
            "unit": figure.unit(),
            "subject": subject,
            "peer": peer,
            "ratios": ratios(figure, row),
            "not_measured": row.why_not,
        })
    }
}

fn ratios(figure: Figure, row: &Row) -> Vec<f64> {
    if figure.is_difference() {
        return Vec::new();
    }
    row.ratios()
}
