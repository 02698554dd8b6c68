//! A bundle's own tests: rules named `test_...` in `*_test.rego`, as `opa test` runs them.

use crate::{
    bundle::{BUNDLE_BYTES, Bundle, check_cap, check_caps, is_test, read_sources},
    engine,
    error::PolicyError,
    references::check_together,
    source::Purpose,
};
use std::collections::BTreeMap;

/// Bytes of a value that are shown.
const SHOWN: usize = 512;
/// Tests of one bundle.
const TESTS: usize = 1024;

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The rule was true.
    Passed,
    /// The rule was false or undefined.
    Failed,
    /// The rule ended in an error: the engine's words.
    Error(String),
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// `package.rule`, such as `strongroom.release_test.test_a_pending_node_is_refused`.
    pub name: String,
    /// Where it stands: `path:line` in the bundle's directory.
    pub at: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What a rule that failed was instead of true: `undefined`, or its value as JSON, shortened.
    pub got: Option<String>,
    /// What it printed.
    pub prints: Vec<String>,
}

/// All tests of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    /// Each test, ordered by name.
    pub results: Vec<TestResult>,
}

impl TestReport {
    /// Whether there are tests and all passed: a bundle without tests has not been tested.
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|r| r.outcome == Outcome::Passed)
    }

    /// Those that did not pass.
    pub fn failures(&self) -> impl Iterator<Item = &TestResult> {
        self.results.iter().filter(|r| r.outcome != Outcome::Passed)
    }
}

/// Runs the tests of a bundle beside it. Each test starts anew and takes at most about 250 ms.
///
/// `files` is the bundle as [`Bundle::from_files`] takes it, and must load without its tests;
/// `tests` are files called `*_test.rego`, which alone may use `with` and `print`. Tests run what
/// one person wrote: run them where that person works, or in a process that may fail.
pub fn test_bundle(
    files: &BTreeMap<String, String>,
    tests: &BTreeMap<String, String>,
) -> Result<TestReport, PolicyError> {
    let bundle = Bundle::from_files(files.clone())?;
    check_caps(tests)?;
    if let Some(path) = tests.keys().find(|path| !is_test(path)) {
        return Err(PolicyError::Path { path: path.clone(), problem: "tests are called *_test.rego" });
    }
    let mut all = files.clone();
    all.extend(tests.clone());
    check_cap("the bytes of bundle and tests", all.values().map(String::len).sum(), 2 * BUNDLE_BYTES)?;

    let mut sources = read_sources(files, Purpose::Rules)?;
    let test_sources = read_sources(tests, Purpose::Tests)?;
    let names: BTreeMap<String, String> = test_sources
        .iter()
        .flat_map(|s| s.rules.iter().map(move |r| (s, r)))
        .filter(|(_, rule)| rule.name.starts_with("test_") && !rule.function)
        .map(|(source, rule)| (format!("{}.{}", source.package.join("."), rule.name), source.place(rule.head)))
        .collect();
    check_cap("the number of tests", names.len(), TESTS)?;
    sources.extend(test_sources);
    check_together(&sources)?;

    let prepared = engine::compile(&all, bundle.data())?;
    let results = names.into_iter().map(|(name, at)| {
        let mut engine = prepared.clone();
        let (outcome, got) = match engine.eval_rule(format!("data.{name}")) {
            Ok(regorus::Value::Bool(true)) => (Outcome::Passed, None),
            Ok(value) => (Outcome::Failed, Some(shortened(&value))),
            Err(error) => (Outcome::Error(error.to_string().trim().to_owned()), None),
        };
        TestResult { name, at, outcome, got, prints: engine.take_prints().unwrap_or_default() }
    });
    Ok(TestReport { results: results.collect() })
}

/// A value as JSON, to so many bytes.
fn shortened(value: &regorus::Value) -> String {
    if *value == regorus::Value::Undefined {
        return "undefined".to_owned();
    }
    let mut text = value.to_json_str().unwrap_or_else(|_| "a value that is no JSON".to_owned());
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push_str(" ...");
    }
    text
}
