//! The comparison of `make guard`, with records that were changed: it fails when a figure is
//! off, and names the figure. `make guard` itself needs the static binary.

#[path = "../../benches/footprint/record.rs"]
mod record;

use record::{FIGURES, Values, differences, read, updated};

const RECORD: &str = include_str!("../../benches/footprint.json");

fn values() -> Values {
    FIGURES.iter().map(|figure| (figure.key, 2_000)).collect()
}

/// Returns what is reported when one figure differs from the record.
fn reported(key: &'static str, measured: u64) -> Vec<String> {
    let mut other = values();
    other.insert(key, measured);
    differences(&values(), &other)
}

#[test]
fn the_record_is_valid() {
    read(RECORD, "amd64").unwrap();
}

#[test]
fn figures_as_recorded_pass() {
    assert!(differences(&values(), &values()).is_empty());
}

#[test]
fn each_figure_that_is_off_is_reported_with_both_values() {
    for figure in &FIGURES {
        let allowed = 2_000 * figure.percent / 100;
        for within in [2_000 - allowed, 2_000 + allowed] {
            assert!(reported(figure.key, within).is_empty(), "{}", figure.key);
        }
        for beyond in [2_000 - allowed - 1, 2_000 + allowed + 1] {
            let words = reported(figure.key, beyond);
            let [words] = &words[..] else {
                panic!("{}: {words:?}", figure.key);
            };
            for part in [figure.description, &beyond.to_string(), "2000"] {
                assert!(words.contains(part), "{words}");
            }
        }
    }
}

#[test]
fn a_figure_that_was_not_measured_is_off() {
    assert_eq!(differences(&values(), &Values::new()).len(), FIGURES.len());
}

#[test]
fn an_invalid_record_is_refused() {
    let good = updated(None, "amd64", &values()).unwrap();
    for (text, words) in [
        (String::new(), "no JSON"),
        (
            "[]".to_owned(),
            "an object with a key for each architecture",
        ),
        ("{}".to_owned(), "nothing for amd64"),
        (r#"{"amd64": {}}"#.to_owned(), "no file_bytes"),
        (good.replace("2000", "0"), "says 0 for file_bytes"),
        (good.replace("2000", "\"2000\""), "right would be a number"),
    ] {
        let error = read(&text, "amd64").unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
        assert!(error.contains("UPDATE=1"), "{error}");
    }
}

#[test]
fn an_update_keeps_other_architectures() {
    let first = updated(None, "arm64", &values()).unwrap();
    let both = updated(Some(&first), "amd64", &values()).unwrap();
    for architecture in ["amd64", "arm64"] {
        assert_eq!(read(&both, architecture).unwrap(), values());
    }
}
