//! The page of rows, claims and tolerances, written from the code: every row has tests that are named after it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how a test speaks")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use strongroom_attest::{Tolerance, TpmClaims, rows};
use strongroom_protocol::claims::{
    AzureClaims, BootClaims, GpuClaims, ImaClaims, SnpClaims, TdxClaims, WorkloadClaims,
};
use strongroom_reference::{Key, cell, keep_part, keys, table};

const PAGE: &str = "docs/reference/evidence.md";

/// A test that is named after rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    name: String,
    file: String,
    accepts: bool,
    refuses: bool,
}

impl Test {
    /// `e1_e2_…` is of both rows, `q1_to_q8_…` of all between them.
    fn is_of(&self, row: &str) -> bool {
        let row = row.to_lowercase();
        let words: Vec<&str> = self.name.split('_').take_while(|word| *word == "to" || is_row(word)).collect();
        let between = |range: &[&str]| {
            let [first, "to", last] = range else { return false };
            let ends = number(first).zip(number(last)).zip(number(&row));
            first[..1] == row[..1] && ends.is_some_and(|((first, last), row)| (first..=last).contains(&row))
        };
        words.contains(&row.as_str()) || words.windows(3).any(between)
    }
}

/// The number of a row such as `q3` or `s13`.
fn number(word: &str) -> Option<u8> {
    let digits = word.strip_prefix(['e', 'q', 'l', 's', 't', 'g'])?;
    let written = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| written && *number > 0)
}

fn is_row(word: &str) -> bool {
    number(word).is_some()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every test in the tree whose name begins with a row.
fn tests() -> Vec<Test> {
    let mut found = BTreeSet::new();
    let mut directories: Vec<PathBuf> = ["attest", "tests", "vault"].map(|name| root().join(name)).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.extend(of_file(&fs::read_to_string(&path).unwrap(), &file));
            }
        }
    }
    found.into_iter().collect()
}

/// The tests of a source file. What a test accepts and refuses shows in how its body takes results.
fn of_file(source: &str, file: &str) -> Vec<Test> {
    let mut found = Vec::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = line.trim_start().trim_start_matches("async ").strip_prefix("fn ") else { continue };
        let name = name.split('(').next().unwrap_or_default();
        if !name.split('_').next().is_some_and(is_row) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let mut body = String::new();
        while let Some(line) = lines.next_if(|line| **line != end) {
            body.push_str(line);
        }
        let has = |marks: &[&str]| marks.iter().any(|mark| body.contains(mark));
        found.push(Test {
            name: name.to_owned(),
            file: file.to_owned(),
            accepts: has(&["unwrap()", "accepted(", "tolerated(", "Ok(", "Some(", ".released("]),
            refuses: has(&[
                "_err(",
                "Err(",
                "refused(",
                "misplaced(",
                "None)",
                "NotChecked",
                "denied(",
                "is_empty()",
                "Refused",
            ]),
        });
    }
    found
}

fn all_rows() -> Vec<(&'static str, &'static str)> {
    let machines = [&rows::ENROLMENT[..], &rows::QUOTE, &rows::BOOT_LOG, &rows::IMA_LOG, &rows::WORKLOAD].concat();
    let mut snp = [&rows::SEV_SNP[..], &rows::SNP_LAUNCH, &rows::AZURE].concat();
    snp.sort_by_key(|(row, _)| number(&row.to_lowercase()));
    [&machines[..], &snp, &rows::TDX, &rows::NVIDIA_GPU, &rows::COMPOSITE].concat()
}

#[test]
fn the_generated_table_of_rows_has_tests_that_accept_and_that_refuse() {
    let tests = tests();
    let mut out = String::from("| row | checks | tests |\n|---|---|---|\n");
    for (row, title) in all_rows() {
        let of_row: Vec<&Test> = tests.iter().filter(|test| test.is_of(row)).collect();
        assert!(of_row.iter().any(|test| test.accepts), "{row} has no test that accepts something");
        assert!(of_row.iter().any(|test| test.refuses), "{row} has no test that refuses something");
        let names: BTreeSet<String> = of_row.iter().map(|test| format!("`{}`", test.name)).collect();
        let names: Vec<String> = names.into_iter().collect();
        let _ = writeln!(out, "| {row} | {} | {} |", cell(title), names.join(", "));
    }
    keep_part(PAGE, "rows", &out).unwrap();
}

#[test]
fn rows_are_read_from_names() {
    let source = "#[test]\nfn e1_e2_one() {\n    x.unwrap();\n}\nfn q1_to_q3_two() {\n    x.unwrap_err();\n}\nfn every() {}\n\
         fn s9_to_s11_three() {\n}\nfn s384_is_none() {\n}\nfn t_is_none() {\n}\n";
    let found = of_file(source, "x.rs");
    assert_eq!(found.len(), 3);
    let of = |at: usize| -> Vec<&str> {
        let rows = ["E1", "E2", "E3", "Q1", "Q2", "Q3", "Q4", "S1", "S9", "S10", "S11", "S12", "G10"];
        rows.into_iter().filter(|row| found[at].is_of(row)).collect()
    };
    assert_eq!((of(0), of(1), of(2)), (vec!["E1", "E2"], vec!["Q1", "Q2", "Q3"], vec!["S9", "S10", "S11"]));
    assert_eq!((found[0].accepts, found[0].refuses, found[1].refuses), (true, false, true));
}

#[test]
fn the_generated_table_of_claims_has_one_name_for_each() {
    let of = |kind: &str, schema: schemars::Schema| -> Vec<Key> {
        let named = |key: Key| Key { path: format!("{kind}.{}", key.path), ..key };
        keys(&schema.to_value()).unwrap().into_iter().map(named).collect()
    };
    let all = [
        of("tpm", schemars::schema_for!(TpmClaims)),
        of("boot", schemars::schema_for!(BootClaims)),
        of("ima", schemars::schema_for!(ImaClaims)),
        of("workload", schemars::schema_for!(WorkloadClaims)),
        of("snp", schemars::schema_for!(SnpClaims)),
        of("azure", schemars::schema_for!(AzureClaims)),
        of("tdx", schemars::schema_for!(TdxClaims)),
        of("gpu", schemars::schema_for!(GpuClaims)),
    ]
    .concat();
    assert!(all.iter().any(|key| key.path == "boot.secure_boot.enabled"));
    keep_part(PAGE, "claims", &table(&all)).unwrap();
}

#[test]
fn the_generated_table_of_tolerances_has_their_meaning() {
    let schema = schemars::schema_for!(Tolerance).to_value();
    let mut out = String::from("| tolerance | what is accepted |\n|---|---|\n");
    for variant in schema["oneOf"].as_array().unwrap() {
        let name = variant["const"].as_str().unwrap();
        let meaning = variant["description"].as_str().unwrap_or_else(|| panic!("{name} has no meaning"));
        let _ = writeln!(out, "| `{name}` | {} |", cell(meaning));
    }
    keep_part(PAGE, "tolerances", &out).unwrap();
}
