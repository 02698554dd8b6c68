//! The tiers that ship: what their bundles are written from, their own tests, what they refuse, and which claims
//! they read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests speak by failing")]

#[path = "tiers/inputs.rs"]
mod inputs;
#[path = "tiers/read.rs"]
mod read;
#[path = "tiers/weakened.rs"]
mod weakened;

use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};
use strongroom_policy::{Bundle, Policy, PolicyInput, Sources, Verdict, load_dir, test_bundle};
use strongroom_reference::keep_file;

const TIERS: [&str; 3] = ["tier1", "tier2", "tier3"];

/// The files of a tier that are written, and the parts that each is made of.
const WRITTEN: [(&str, &[&str]); 6] = [
    ("tier1/release.rego", &["baseline/release.rego", "tiers/tier1.rego"]),
    ("tier2/release.rego", &["baseline/release.rego", "tiers/tier2.rego"]),
    ("tier3/release.rego", &["baseline/release.rego", "tiers/tier2.rego", "tiers/tier3.rego"]),
    ("tier1/release_test.rego", &["baseline/release_test.rego", "tiers/tier1_test.rego"]),
    ("tier2/release_test.rego", &["tiers/tier2_test.rego"]),
    ("tier3/release_test.rego", &["tiers/tier2_test.rego", "tiers/tier3_test.rego"]),
];

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(policies().join(file)).unwrap()
}

fn tier(name: &str) -> Sources {
    load_dir(&policies().join(name)).unwrap()
}

/// The parts of a file, one after the other, as one file of one package.
fn written_from(file: &str, parts: &[&str]) -> String {
    let names: Vec<_> = parts.iter().map(|part| format!("`{part}`")).collect();
    let mut out = format!("# Written by a test from {}: change those, not this file.\n", names.join(", "));
    out.push_str("# Each part stands whole, between lines of `=`: who has read one needs to read only the others.\n");
    let package = format!("package strongroom.{}\n", file.split('/').nth(1).unwrap().trim_end_matches(".rego"));
    for (at, part) in parts.iter().enumerate() {
        let text = text(part);
        assert_eq!(text.matches(&package).count(), 1, "{part}: {package}");
        let rule = "=".repeat(98);
        let _ = write!(out, "\n# {rule}\n# {part}\n# {rule}\n\n");
        if at == 0 {
            out.push_str(&text);
        } else {
            out.push_str(text.replace(&format!("{package}\n"), "").trim_start_matches('\n'));
        }
    }
    out
}

/// One source for what bundles share: a bundle is whole by itself, and the engine wants a package in one file.
#[test]
fn the_tiers_are_generated_from_the_baseline_and_their_parts() {
    for (file, parts) in WRITTEN {
        keep_file(&format!("policies/{file}"), &written_from(file, parts)).unwrap();
    }
    for name in TIERS {
        let Sources { files, tests } = tier(name);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["data.json", "release.rego"], "{name}");
        assert_eq!(tests.keys().collect::<Vec<_>>(), ["release_test.rego"], "{name}");
    }
}

#[test]
fn the_tiers_own_tests_pass() {
    for (name, least) in [("tier1", 55), ("tier2", 27), ("tier3", 35)] {
        let sources = tier(name);
        let report = test_bundle(&sources.files, &sources.tests).unwrap();
        let failures: Vec<_> = report.failures().collect();
        assert!(report.passed(), "{name}: {failures:#?}");
        assert!(report.results.len() >= least, "{name}: {}", report.results.len());
    }
}

/// Settings are there to be edited: the tests that ship are about the rules and go on passing.
#[test]
fn the_tiers_own_tests_pass_with_other_settings() {
    let tdx = json!({ "rtmrs": { "1": { "one_of": ["11".repeat(48)] } }, "min_evaluation_data_number": 17 });
    let snp = json!({ "vmpl": 1, "allow_vlek": true, "minimum_tcb": { "milan": {} }, "refused_products": ["turin"] });
    let pcrs = json!({ "bank": "sha256", "pcrs": [0, 2, 4, 5, 7] });
    for name in TIERS {
        let sources = tier(name);
        for (place, value) in [
            ("/settings/tdx", &tdx),
            ("/settings/snp", &snp),
            ("/settings/gpu", &json!({ "modes": ["protected-pcie"] })),
            ("/settings/pcr_selection", &pcrs),
            ("/settings/version_scope_assets", &json!(["minilm"])),
            ("/platform", &json!({ "milan": ["ecc"] })),
        ] {
            let mut files = sources.files.clone();
            let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
            let Some(at) = data.pointer_mut(place) else { continue };
            *at = value.clone();
            files.insert("data.json".to_owned(), data.to_string());
            let report = test_bundle(&files, &sources.tests).unwrap();
            let failures: Vec<_> = report.failures().map(|f| &f.name).collect();
            assert!(report.passed(), "{name}, {place} = {value}: {failures:?}");
        }
    }
}

#[test]
fn each_deny_rule_of_the_tiers_is_tested() {
    for part in TIERS {
        let tests = text(&format!("tiers/{part}_test.rego"));
        for rest in text(&format!("tiers/{part}.rego")).split("\"code\": \"").skip(1) {
            let code = rest.split('"').next().unwrap();
            let alone = tests.lines().any(|l| l.contains("refused_only_by") && l.contains(&format!("\"{code}\"")));
            assert!(alone, "no test shows that {code} of {part} refuses alone");
        }
    }
}

/// The page says in words what each code of a tier refuses, beside the tables that code writes.
#[test]
fn the_page_of_tiers_has_every_code() {
    let page = std::fs::read_to_string(policies().join("../docs/tiers.md")).unwrap();
    let words = page.split("<!-- generated:").next().unwrap();
    for part in TIERS {
        for rest in text(&format!("tiers/{part}.rego")).split("\"code\": \"").skip(1) {
            let code = rest.split('"').next().unwrap();
            assert!(words.contains(&format!("`{code}`")), "docs/tiers.md says nothing of {code}");
        }
    }
}

/// What ships must refuse what it is there to refuse, with its own settings.
#[test]
fn the_settings_that_ship_are_strict() {
    let released = |name: &str, input: &Value| {
        let policy = Policy::prepare(Bundle::from_files(tier(name).files).unwrap());
        let outcome = policy.replay(input).unwrap();
        assert_eq!(outcome.verdict() == Verdict::Released, outcome.reason_codes().is_empty());
        outcome.reason_codes()
    };
    for name in ["tier2", "tier3"] {
        let snp = |changes: &[(&str, Value)]| {
            let mut input = inputs::snp();
            for (place, value) in changes {
                *input.pointer_mut(&format!("/claims/snp{place}")).unwrap() = value.clone();
            }
            released(name, &input)
        };
        assert_eq!(snp(&[]), [""; 0]);
        assert!(snp(&[("/product", json!("milan"))]).contains(&"product_refused".to_owned()));
        assert_eq!(snp(&[("/vmpl", json!(1))]), ["privilege_level"]);
        assert_eq!(snp(&[("/signing_key", json!("vlek"))]), ["signing_key_not_accepted"]);
        assert_eq!(snp(&[("/crl_made_at", Value::Null)]), ["revocation_not_checked"]);
        assert_eq!(snp(&[("/platform/alias_check_complete", json!(false))]), ["platform_setup"]);
        for which in ["reported", "committed", "launch"] {
            for (part, below) in [("snp", 27), ("microcode", 85)] {
                assert_eq!(snp(&[(&format!("/tcb/{which}/{part}"), json!(below))]), ["tcb_below_minimum"]);
            }
        }
        // What a guest of TDX booted is in registers that a site has to name first.
        assert_eq!(released(name, &inputs::tdx()), ["registers_not_accepted"]);
        assert_eq!(released(name, &inputs::azure()), [""; 0]);
    }
    let turin = |name: &str, hiding: bool| {
        let mut input = inputs::snp();
        let claims = &mut input["claims"]["snp"];
        claims["product"] = json!("turin");
        claims["platform"]["ciphertext_hiding"] = json!(hiding);
        released(name, &input)
    };
    assert_eq!((turin("tier2", false), turin("tier3", true)), (vec![], vec![]));
    assert_eq!(turin("tier3", false), ["platform_setup"]);
}

/// A machine is let in by the tiers that it reaches, and by no other.
#[test]
fn a_machine_reaches_its_tier_and_no_higher_one() {
    let without_gpus = {
        let mut input = inputs::snp();
        input["claims"]["gpus"] = json!([]);
        input["node"]["identities"].as_array_mut().unwrap().truncate(1);
        input
    };
    for (input, reached) in [
        (inputs::tpm(), &["baseline", "tier1"][..]),
        (without_gpus, &["tier2"]),
        (inputs::snp(), &["tier2", "tier3"]),
        (inputs::azure(), &["tier2", "tier3"]),
    ] {
        for name in ["baseline", "tier1", "tier2", "tier3"] {
            let policy = Policy::prepare(Bundle::from_files(tier(name).files).unwrap());
            let outcome = policy.replay(&input).unwrap();
            let expected = if reached.contains(&name) { Verdict::Released } else { Verdict::Denied };
            assert_eq!(outcome.verdict(), expected, "{name}: {:?}", outcome.reason_codes());
        }
    }
}

#[test]
fn the_inputs_of_these_tests_are_inputs() {
    for input in [inputs::tpm(), inputs::snp(), inputs::tdx(), inputs::azure()] {
        let read: PolicyInput = serde_json::from_value(input.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), input, "whole, with every field that there is");
    }
}
