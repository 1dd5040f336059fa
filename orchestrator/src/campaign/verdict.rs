//! Whether what an experiment asserts holds, cell by cell, and the same for CI servers as a JUnit file.

use super::directory::{CampaignDir, State};
use super::summary::{CampaignSummary, CellSummary};
use crate::report::{Figures, number};
use samp_model::experiment::{Assertion, Statistic};
use serde::Serialize;
use std::fmt::Write;

/// Whether an assertion holds in a cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The cell's name; none where there is but one run.
    pub cell: Option<String>,
    /// The assertion, as it is written.
    pub assertion: String,
    /// The figure, in the metric's unit; none when nothing was measured.
    pub figure: Option<f64>,
    /// Whether it holds; of nothing nothing holds.
    pub holds: bool,
    /// What is wrong, in words.
    pub failure: Option<String>,
}

impl Verdict {
    /// On a cell, or a run, with this figure.
    pub fn on(assertion: &Assertion, cell: Option<String>, figures: Option<&Figures>) -> Self {
        let figure = match (figures, assertion.statistic) {
            (Some(figures), statistic) => Some(figures.get(statistic)),
            (None, Some(Statistic::N)) => Some(0.0),
            (None, _) => None,
        };
        let holds = figure.is_some_and(|figure| assertion.relation.holds(figure, assertion.limit));
        let failure = (!holds).then(|| match (figure, assertion.statistic) {
            (None, _) => "nothing was measured".to_owned(),
            (Some(figure), Some(Statistic::N)) => format!("it is {figure}"),
            (Some(figure), _) => {
                let (metric, unit) = (assertion.metric, assertion.metric.kind().unit());
                format!("it is {}{unit}", number(metric, figure))
            }
        });
        Self { cell, assertion: assertion.text.clone(), figure, holds, failure }
    }

    /// On all cells of a summary that an assertion is about.
    pub fn all(assertions: &[Assertion], summary: &CampaignSummary) -> Vec<Self> {
        let concerns = |assertion: &Assertion, cell: &CellSummary| {
            assertion.levels.iter().all(|(factor, level)| cell.levels.get(factor) == Some(level))
        };
        let of = |assertion| {
            let cells = summary.cells.iter().filter(move |cell| concerns(assertion, cell));
            cells.map(move |cell| {
                let name = cell.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Self::on(assertion, Some(name), cell.figures(assertion.metric))
            })
        };
        assertions.iter().flat_map(of).collect()
    }

    /// What is wrong, in a line; nothing when it holds.
    pub fn complaint(&self) -> Option<String> {
        let cell = self.cell.as_ref().map_or(String::new(), |cell| format!("{cell}: "));
        Some(format!("ASSERTION FAILED: {cell}{}: {}\n", self.assertion, self.failure.as_ref()?))
    }
}

/// A test case of a JUnit file.
#[derive(Debug)]
pub struct TestCase {
    /// The cell.
    pub class: String,
    /// What is tested.
    pub name: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// Why it cannot be told.
    pub error: Option<String>,
}

/// The test cases of an experiment of many runs: each run, and each assertion on each cell.
pub fn test_cases(dir: &CampaignDir, verdicts: &[Verdict]) -> Vec<TestCase> {
    let runs = dir.cells.iter().flat_map(|cell| {
        cell.runs.iter().map(|run| TestCase {
            class: cell.directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            name: format!("run {} is valid", run.repetition),
            failure: None,
            error: match &run.state {
                State::Done { invalid_because } => {
                    (!invalid_because.is_empty()).then(|| invalid_because.join("; "))
                }
                State::Failed { error } => Some(error.clone()),
                State::Pending => Some("it was not made".to_owned()),
            },
        })
    });
    runs.chain(verdicts.iter().map(TestCase::from)).collect()
}

impl From<&Verdict> for TestCase {
    fn from(verdict: &Verdict) -> Self {
        Self {
            class: verdict.cell.clone().unwrap_or_else(|| "run".to_owned()),
            name: verdict.assertion.clone(),
            failure: verdict.failure.clone(),
            error: None,
        }
    }
}

/// A JUnit file, as CI servers read them.
pub fn junit(suite: &str, cases: &[TestCase]) -> String {
    let count = |bad: fn(&TestCase) -> bool| cases.iter().filter(|case| bad(case)).count();
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        cases.len(),
        count(|case| case.failure.is_some()),
        count(|case| case.error.is_some())
    );
    let suite = escaped(suite);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {totals}>\n  <testsuite name=\"{suite}\" {totals}>\n"
    );
    for TestCase { class, name, failure, error } in cases {
        let (class, name) = (escaped(class), escaped(name));
        let outcome = |kind: &str, why: &Option<String>| {
            why.as_ref().map(|why| format!("      <{kind} message=\"{}\"/>\n", escaped(why)))
        };
        let outcomes: Vec<_> =
            [outcome("failure", failure), outcome("error", error)].into_iter().flatten().collect();
        // Writing to a String cannot fail.
        let _ = match &outcomes[..] {
            [] => writeln!(xml, "    <testcase classname=\"{suite}.{class}\" name=\"{name}\"/>"),
            outcomes => writeln!(
                xml,
                "    <testcase classname=\"{suite}.{class}\" name=\"{name}\">\n{}    </testcase>",
                outcomes.concat()
            ),
        };
    }
    xml + "  </testsuite>\n</testsuites>\n"
}

/// A text for an attribute of XML; what XML 1.0 cannot have becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Values;
    use samp_model::experiment::Relation;
    use samp_model::metric::Metric;

    fn assertion(metric: Metric, statistic: Option<Statistic>, relation: Relation, limit: f64) -> Assertion {
        Assertion { text: "a < b".to_owned(), metric, statistic, relation, limit, levels: Vec::new() }
    }

    #[test]
    fn of_nothing_nothing_holds_but_that_there_is_nothing() {
        let figures = Values::Sample(vec![1.0, 2.0, 61.25]).figures();
        let told = |statistic, limit, figures| {
            let assertion = assertion(Metric::Srd, Some(statistic), Relation::Less, limit);
            let verdict = Verdict::on(&assertion, None, figures);
            (verdict.holds, verdict.failure)
        };
        assert_eq!(told(Statistic::Max, 50.0, Some(&figures)), (false, Some("it is 61.250ms".to_owned())));
        assert_eq!(told(Statistic::P50, 50.0, Some(&figures)), (true, None));
        assert_eq!(told(Statistic::P50, 50.0, None), (false, Some("nothing was measured".to_owned())));
        assert_eq!(told(Statistic::N, 1.0, None), (true, None));
        assert_eq!(told(Statistic::N, 3.0, Some(&figures)), (false, Some("it is 3".to_owned())));
        let share = Values::Share { of: 1, all: 2 }.figures();
        let ser = Verdict::on(&assertion(Metric::Ser, None, Relation::AtLeast, 99.0), None, Some(&share));
        assert_eq!((ser.holds, ser.failure.as_deref()), (false, Some("it is 50.0%")));
    }

    #[test]
    fn junit_files_are_xml_whatever_names_say() {
        let case = |name: &str, failure: Option<&str>| TestCase {
            class: "001-on".to_owned(),
            name: name.to_owned(),
            failure: failure.map(str::to_owned),
            error: None,
        };
        let xml = junit("x<y", &[case("a < \"b\"", Some("it is &\u{1b}")), case("c", None)]);
        let document = roxmltree::Document::parse(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert_eq!([suite.attribute("tests"), suite.attribute("failures")], [Some("2"), Some("1")]);
        let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
        assert_eq!(cases[0].attribute("classname"), Some("x<y.001-on"));
        assert_eq!(cases[0].attribute("name"), Some("a < \"b\""));
        assert_eq!(cases[0].first_element_child().unwrap().attribute("message"), Some("it is &\u{fffd}"));
        assert!(cases[1].first_element_child().is_none());
    }
}
