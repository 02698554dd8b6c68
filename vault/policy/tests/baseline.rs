//! The shipped baseline: its own tests, its schemas, and one release from end to end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests speak by failing")]

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use strongroom_policy::{
    Bundle, Outcome, Policy, PolicyInput, Sources, Verdict, explain, input::input_schema, load_dir,
    settings::data_schema, test_bundle,
};
use strongroom_protocol::claims::{BootClaims, Tolerance};
use strongroom_reference::{keep_file, keep_part, keys, table};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn baseline() -> Sources {
    load_dir(&policies().join("baseline")).unwrap()
}

fn good() -> PolicyInput {
    let text = std::fs::read_to_string(policies().join("input.example.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_baselines_own_tests_pass() {
    let sources = baseline();
    let report = test_bundle(&sources.files, &sources.tests).unwrap();
    let failures: Vec<_> = report.failures().collect();
    assert!(report.passed(), "{failures:#?}");
    assert!(report.results.len() >= 30, "{}", report.results.len());
}

/// Settings are there to be edited: the tests that ship are about the rules and go on passing.
#[test]
fn the_baselines_own_tests_pass_with_other_settings() {
    let sources = baseline();
    for (setting, value) in [
        ("plaintext_to_disk", json!(true)),
        ("version_scope_assets", json!(["minilm", "corpus"])),
        ("pcr_selection", json!({ "bank": "sha256", "pcrs": [0, 4, 7] })),
        ("pcr_selection", json!({ "bank": "sha384", "pcrs": [0, 1, 2, 3, 4, 5, 6, 7] })),
        ("pcr_selection", json!({ "bank": "sha256", "pcrs": [0, 4, 7, 10] })),
        ("logs", json!({ "boot": "optional", "ima": "optional", "violations": "allowed" })),
        ("lease_seconds", json!(1800)),
        ("renew_after", json!(900)),
        ("reattest_after", json!(3600)),
        ("max_leases_per_node", json!(1)),
        ("max_leases_per_asset", json!(1)),
        ("max_objects_per_key", json!(1)),
        (
            "handling",
            json!(["secret_key_pages", "no_swap", "no_core_dump", "no_inheritance", "no_trace", "zero_on_end"]),
        ),
    ] {
        let mut files = sources.files.clone();
        let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
        assert!(data["settings"].get(setting).is_some(), "{setting}");
        data["settings"][setting] = value.clone();
        files.insert("data.json".to_owned(), data.to_string());
        let report = test_bundle(&files, &sources.tests).unwrap();
        let failures: Vec<_> = report.failures().map(|f| &f.name).collect();
        assert!(report.passed(), "{setting} = {value}: {failures:?}");
    }
}

/// So is the table of callers, which docs and README show with the asset that the tests are about.
#[test]
fn the_baselines_own_tests_pass_with_callers_listed() {
    let sources = baseline();
    for callers in [
        json!({ "minilm": { "exe_sha256": ["00".repeat(32)], "uids": [1000] } }),
        json!({ "minilm": {}, "corpus": { "slurm_jobs": [77], "units": ["job.service"], "pods": [] } }),
    ] {
        let mut files = sources.files.clone();
        let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
        data["callers"] = callers.clone();
        files.insert("data.json".to_owned(), data.to_string());
        let report = test_bundle(&files, &sources.tests).unwrap();
        let failures: Vec<_> = report.failures().map(|f| &f.name).collect();
        assert!(report.passed(), "{callers}: {failures:?}");
    }
}

#[test]
fn each_deny_rule_of_the_baseline_is_tested() {
    let sources = baseline();
    for line in sources.files["release.rego"].lines() {
        let Some(code) = line.trim().strip_prefix("\"code\": \"") else { continue };
        let code = code.trim_end_matches("\",");
        let alone = sources
            .tests
            .values()
            .any(|t| t.lines().any(|l| l.contains("refused_only_by(") && l.contains(&format!("\"{code}\""))));
        assert!(alone, "no test shows that {code} refuses alone");
    }
}

/// A test that cannot fail shows nothing: with each condition of the baseline made true, some test must fail.
#[test]
fn the_baselines_tests_notice_each_condition_that_is_weakened() {
    let sources = baseline();
    let text = &sources.files["release.rego"];
    let weaken = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let mut files = sources.files.clone();
        files.insert("release.rego".to_owned(), text.replace(from, to));
        let report = test_bundle(&files, &sources.tests).unwrap();
        assert!(report.failures().any(|f| f.outcome == Outcome::Failed), "nothing noticed {from} -> {to}");
    };
    weaken("act_ok if input.act in {\"release\", \"renew\"}", "act_ok if true");
    weaken("node_ok if input.node.state == \"approved\"", "node_ok if input.node.state != \"revoked\"");
    weaken("caller_ok if input.node.single_job == true", "caller_ok if true");
    weaken("caller_ok if is_object(input.caller)", "caller_ok if not is_null(input.caller)");
    weaken("is_object(data.callers)", "true");
    weaken("\tinput.node.single_job == false\n", "");
    weaken("caller_fact(name) in accepted", "true");
    weaken("caller_fact(\"exe_sha256\") := input.caller.exe.sha256", "caller_fact(\"exe_sha256\") := \"b2\"");
    weaken(
        "jurisdiction_ok(key) if input.node.jurisdiction in key.jurisdictions",
        "jurisdiction_ok(key) if count(key.jurisdictions) > 0",
    );
    weaken("caller_measured_ok if not 10 in data.settings.pcr_selection.pcrs", "caller_measured_ok if true");
    weaken("input.claims.workload.caller_measured == true", "input.claims.workload.caller_measured in {true, null}");
    weaken("lists_kept(name) if input.references[name].files == false", "lists_kept(name) if true");
    weaken("\tlisted.forbidden == 0\n", "");
    weaken("\tlisted.unlisted == 0\n", "");
    weaken("\tcount(listed.missing) == 0\n", "");
    weaken("file.forbidden == forbidden", "true");
    weaken("clock_ok if input.claims.tpm.safe == true", "clock_ok if input.claims.tpm.safe in {true, false}");
    weaken("quoted == {index | some index in data.settings.pcr_selection.pcrs}", "count(quoted) > 0");
    weaken("count(reference.pcrs) > 0", "true");
    weaken("object.subset(input.claims.tpm.pcrs, reference.pcrs)", "true");
    weaken("reference.bank == input.claims.tpm.bank", "true");
    weaken("key.access == \"read\"", "true");
    weaken("scope_ok(key) if key.labels.version_scope == \"allowed\"", "scope_ok(key) if key.labels.version_scope");
    weaken("key.objects <= data.settings.max_objects_per_key", "key.objects >= 0");
    weaken("input.leases.node_live < data.settings.max_leases_per_node", "input.leases.node_live >= 0");
    weaken("< most_leases(key)", "<= most_leases(key)");
    weaken("data.settings.plaintext_to_disk == true", "true");
    weaken("== \"allowed\"\n\t}", "!= \"\"\n\t}");
}

#[test]
fn the_example_is_released_with_obligations_and_refused_with_reasons() {
    let policy = Policy::prepare(Bundle::from_files(baseline().files).unwrap());
    let released = policy.evaluate(&good()).unwrap();
    assert_eq!(released.denials(), []);
    assert_eq!(released.verdict(), Verdict::Released);
    let obligations = released.obligations().unwrap();
    assert_eq!(obligations.lease_seconds, policy.bundle().settings().lease_seconds);

    let mut changed = good();
    changed.claims.tpm.as_mut().unwrap().pcrs.insert("9".to_owned(), "00".repeat(32));
    changed.node.jurisdiction = Some("US".to_owned());
    let denied = policy.evaluate(&changed).unwrap();
    assert_eq!(denied.verdict(), Verdict::Denied);
    assert_eq!(denied.obligations(), None);
    assert_eq!(denied.reason_codes(), ["jurisdiction_not_allowed", "reference_mismatch"]);
    let text = explain(denied.denials());
    assert!(text.contains("tpm.pcrs.9") && text.contains(&"00".repeat(32)) && text.contains("version 3"), "{text}");
    // The same input gives the same answer when it is replayed from what was stored.
    let stored = serde_json::to_value(&changed).unwrap();
    assert_eq!(policy.replay(&stored).unwrap(), denied);
}

/// The files of a bundle with what docs/security.md shows to be added to the baseline, word for word: rules and tests.
fn with_the_pages_files() -> Sources {
    let page = std::fs::read_to_string(policies().join("../docs/security.md")).unwrap();
    let mut blocks = page.split("```rego\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let mut sources = baseline();
    sources.files.insert("secure_boot.rego".to_owned(), blocks.next().unwrap());
    sources.tests.insert("secure_boot_test.rego".to_owned(), blocks.next().unwrap());
    sources
}

#[test]
fn the_rules_that_docs_show_refuse_what_they_say() {
    let sources = with_the_pages_files();
    let policy = Policy::prepare(Bundle::from_files(sources.files.clone()).unwrap());
    let codes = |change: &dyn Fn(&mut BootClaims)| {
        let mut input = good();
        change(input.claims.boot.as_mut().unwrap());
        let outcome = policy.evaluate(&input).unwrap();
        assert_eq!(outcome.verdict() == Verdict::Released, outcome.reason_codes().is_empty());
        outcome.reason_codes()
    };
    assert_eq!(codes(&|_| {}), [""; 0]);
    assert_eq!(codes(&|boot| boot.secure_boot.as_mut().unwrap().enabled = false), ["secure_boot_off"]);
    assert_eq!(codes(&|boot| boot.tolerances.push(Tolerance::ExitBootServicesMissing)), ["firmware_tolerated"]);
    let mut nothing = good();
    nothing.claims.boot = None;
    assert_eq!(policy.evaluate(&nothing).unwrap().reason_codes(), ["firmware_tolerated", "secure_boot_off"]);
    // PCRs that nobody quoted prove nothing: the claim is null, and what rests on it is not proved.
    let unquoted = |pcr: u8| {
        let mut input = good();
        let boot = input.claims.boot.as_mut().unwrap();
        boot.explained.retain(|&explained| explained != pcr);
        match pcr {
            7 => boot.secure_boot = None,
            _ => boot.boot_path = None,
        }
        policy.evaluate(&input).unwrap().reason_codes()
    };
    assert_eq!((unquoted(7), unquoted(5)), (vec!["secure_boot_off".to_owned()], vec!["firmware_tolerated".to_owned()]));
}

/// The page's steps: its files beside the baseline's, whose own tests go on passing.
#[test]
fn the_bundle_that_docs_show_passes_its_tests() {
    let sources = with_the_pages_files();
    let shipped = test_bundle(&baseline().files, &baseline().tests).unwrap().results.len();
    let report = test_bundle(&sources.files, &sources.tests).unwrap();
    let failures: Vec<_> = report.failures().collect();
    assert!(report.passed(), "{failures:#?}");
    assert!(report.results.len() > shipped, "the page's own tests were not run");
    // They notice a rule that asks for nothing.
    let mut weak = sources.files.clone();
    let rules = weak.get_mut("secure_boot.rego").unwrap();
    *rules = rules.replace("input.claims.boot.secure_boot.enabled == true", "true");
    assert!(!test_bundle(&weak, &sources.tests).unwrap().passed());
}

#[test]
fn the_schemas_are_generated() {
    for (name, schema) in [("input.schema.json", input_schema()), ("data.schema.json", data_schema())] {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        keep_file(&format!("policies/{name}"), &text).unwrap();
    }
}

#[test]
fn the_page_of_policy_is_generated() {
    let settings = data_schema()["$defs"]["Settings"].clone();
    let mut schema = settings.as_object().unwrap().clone();
    schema.insert("$defs".to_owned(), data_schema()["$defs"].clone());
    for (part, schema) in [("input", input_schema()), ("settings", Value::Object(schema))] {
        keep_part("docs/reference/policy.md", part, &table(&keys(&schema).unwrap())).unwrap();
    }
}

#[test]
fn an_input_with_an_unknown_field_or_another_version_is_no_input() {
    let policy = Policy::prepare(Bundle::from_files(baseline().files).unwrap());
    let mut value = serde_json::to_value(good()).unwrap();
    assert!(policy.replay(&value).is_ok());
    value["node"]["requested_labels"] = json!({"tier": "gold"});
    assert!(policy.replay(&value).is_err());
    value["node"].as_object_mut().unwrap().remove("requested_labels");
    value["version"] = Value::from(2);
    assert!(policy.replay(&value).is_err());
}
