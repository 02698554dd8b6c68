//! The threat model names the tests that show what it says.

use super::{Page, root};
use std::path::Path;

/// What stands between backticks and names a file of Rust, with the function where there is one.
fn named(text: &str) -> Vec<(&str, Option<&str>)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let files = quoted.map(|name| name.split_once("::").map_or((name, None), |(file, name)| (file, Some(name))));
    let is_file = |file: &str| file.contains('/') && Path::new(file).extension().is_some_and(|e| e == "rs");
    files.filter(|(file, _)| is_file(file)).collect()
}

/// The functions of this source that are tests, by its attributes, or that the conformance suite runs.
fn tests(path: &str) -> Vec<String> {
    let source = std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let suite = path.starts_with("vault/store/tests/conformance/").then(|| {
        let module = Path::new(path).file_stem().unwrap().to_str().unwrap().to_owned() + "::";
        let main = std::fs::read_to_string(root().join("vault/store/tests/conformance/main.rs")).unwrap();
        let run = main.lines().filter_map(|line| line.trim().strip_prefix(&module)?.strip_suffix(','));
        run.map(str::to_owned).collect::<Vec<_>>()
    });
    let mut found = suite.unwrap_or_default();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if let Some((_, rest)) = line.split_once("fn ").filter(|(before, _)| is_test && !before.contains("//")) {
            found.push(rest.split(['(', '<']).next().unwrap().to_owned());
            is_test = false;
        }
    }
    found
}

#[test]
fn each_threat_names_tests_that_there_are() {
    let page = Page::read("docs/threat-model.md");
    let table = page.text.split("## Threats").nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 25, "{}", rows.len());
    for row in rows {
        let tested = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(!named(tested).is_empty(), "no test is named: {row}");
        for word in tested.split('`').skip(1).step_by(2) {
            let is_command = word.starts_with("make ");
            assert!(is_command || named(&format!("`{word}`")).len() == 1, "{word} is a directory, not a test: {row}");
        }
    }
    for (file, function) in named(&page.text) {
        let tests = tests(file);
        let modules = Path::new(file).with_extension("");
        assert!(!tests.is_empty() || root().join(modules).is_dir(), "{file} holds no test");
        if let Some(function) = function {
            assert!(tests.iter().any(|test| test == function), "{file} has no test {function}");
        }
    }
}

#[test]
fn a_name_is_a_file_and_perhaps_a_function() {
    assert_eq!(named("`a/b.rs`, `a/c.rs::d`; `make demo`, `x`"), [("a/b.rs", None), ("a/c.rs", Some("d"))]);
    assert!(tests("tests/suite/docs/threats.rs").contains(&"a_name_is_a_file_and_perhaps_a_function".to_owned()));
    assert!(!tests("tests/suite/docs/threats.rs").contains(&"named".to_owned()));
    assert!(tests("vault/store/tests/conformance/nonces.rs").contains(&"a_nonce_is_burnt_once".to_owned()));
}
