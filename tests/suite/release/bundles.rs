//! A bundle whose own tests fail: what failed, where, and what it was.

use super::world;
use serde_json::{Value, json};
use std::{fs, path::Path};
use strongroom_protocol::admin::Role;
use strongroom_tests::{Cli, programs, vault::copy_files};

/// The baseline with two tests that cannot pass, and the lines on which they stand.
fn spoilt(dir: &Path) -> [usize; 2] {
    copy_files(&programs::project().join("policies/baseline"), dir).unwrap();
    let path = dir.join("release_test.rego");
    let mut text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().count();
    text += "\ntest_an_empty_request_is_released if release.allow with input as {}\n\ntest_numbers := 17\n";
    fs::write(path, text).unwrap();
    [lines + 2, lines + 4]
}

#[test]
fn tests_of_a_bundle_that_fail_are_told_with_their_place_and_value() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let [first, second] = spoilt(&bundle);
    let bundle = bundle.to_str().unwrap();
    let told = [
        format!("test_an_empty_request_is_released (release_test.rego:{first}) ... FAILED: it was undefined, not true"),
        format!("test_numbers (release_test.rego:{second}) ... FAILED: it was 17, not true"),
    ];

    // Offline, and joined to nothing.
    let cli = Cli::new(dir.path().join("home")).unwrap();
    let ran = cli.run(["policy", "test", bundle]).unwrap();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    assert!(told.iter().all(|line| ran.stdout.contains(line)), "{}", ran.stdout);
    assert!(ran.stdout.contains(" ... ok\n") && ran.stdout.contains(", 2 failed\n"), "{}", ran.stdout);
    let ran = cli.run(["--json", "policy", "test", bundle]).unwrap();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let failure = |name: &str, line: usize, got: &str| {
        let (name, at) = (format!("strongroom.release_test.{name}"), format!("release_test.rego:{line}"));
        json!({ "name": name, "at": at, "got": got, "error": null, "prints": [] })
    };
    let failures =
        [failure("test_an_empty_request_is_released", first, "undefined"), failure("test_numbers", second, "17")];
    assert_eq!((&document["failed"], &document["failures"]), (&json!(2), &json!(failures)));

    // It is sent nowhere, and only what failed is told.
    let author = world().vault.cli(Role::PolicyAuthor).unwrap();
    let ran = author.run(["policy", "propose", bundle]).unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.starts_with("strongroom: 2 of the bundle's ") && !ran.stderr.contains(" ... ok"),
        "{}",
        ran.stderr
    );
    assert!(told.iter().all(|line| ran.stderr.contains(line)) && ran.stderr.lines().count() == 3, "{}", ran.stderr);
    let ran = author.run(["--json", "policy", "propose", bundle]).unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let document: Value = serde_json::from_str(&ran.stderr).unwrap();
    let message = document["error"]["message"].as_str().unwrap();
    assert!(told.iter().all(|line| message.contains(line)), "{message}");
}

/// What a bundle lets through is told wherever somebody works on it, by a name for programs.
#[test]
fn what_is_weak_in_a_bundle_is_told_to_author_and_approver() {
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli::new(dir.path().join("home")).unwrap();
    let policies = programs::project().join("policies");
    let tier2 = policies.join("tier2");
    let bundle = dir.path().join("tier2");
    copy_files(&tier2, &bundle).unwrap();
    let data = fs::read_to_string(bundle.join("data.json")).unwrap();
    let weak = data.replace("\"alias_check_complete\": true", "\"allow_vlek\": true");
    assert_ne!(weak, data);
    fs::write(bundle.join("data.json"), weak).unwrap();
    let (bundle, tier2) = (bundle.to_str().unwrap(), tier2.to_str().unwrap());
    let names = |document: &Value| {
        let warnings = document["warnings"].as_array().unwrap().iter();
        warnings.map(|warning| warning["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = ["snp_vlek_allowed", "snp_alias_check_optional"];
    assert_eq!(cli.run(["policy", "check", tier2, "--deny-warnings"]).unwrap().code, Some(0));
    for command in ["check", "test"] {
        // The bundles that ship have none, and without the option a warning is one.
        assert_eq!(cli.run(["policy", command, tier2, "--deny-warnings"]).unwrap().code, Some(0));
        let ran = cli.run(["policy", command, bundle]).unwrap();
        assert!(ran.code == Some(0) && ran.stdout.contains("warning: settings.snp.allow_vlek"), "{}", ran.stdout);
        let ran = cli.run(["--json", "policy", command, bundle, "--deny-warnings"]).unwrap();
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, names(&document)), (Some(1), expected.map(str::to_owned).to_vec()), "{document:#}");
        assert_eq!(document["warnings"][0]["at"], "settings.snp.allow_vlek");
    }
    let ran = cli.run(["--json", "policy", "diff", tier2, bundle]).unwrap();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &document["same"]), (Some(1), &json!(false)));
    assert_eq!(names(&document), expected);
    let vlek = json!({ "at": "settings.snp.allow_vlek", "second": true });
    let alias = json!({ "at": "settings.snp.alias_check_complete", "first": true });
    assert_eq!((&document["data"], &document["rules"]), (&json!([alias, vlek]), &json!({})));
    assert_eq!(cli.run(["policy", "diff", bundle, bundle]).unwrap().code, Some(0));

    // Whoever proposes it and whoever has to approve it are told; of what is enforced it says what changes.
    let world = world();
    let author = world.vault.cli(Role::PolicyAuthor).unwrap();
    let ran = author.run(["--json", "policy", "propose", bundle]).unwrap().done().unwrap();
    assert!(ran.stderr.contains("snp_vlek_allowed"), "{}", ran.stderr);
    let digest = serde_json::from_str::<Value>(&ran.stdout).unwrap()["digest"].as_str().unwrap().to_owned();
    let approver = world.vault.cli(Role::PolicyApprover).unwrap();
    let ran = approver.run(["policy", "show", &digest]).unwrap().done().unwrap();
    assert!(ran.stderr.contains("snp_vlek_allowed") && !ran.stderr.contains("azure_without"), "{}", ran.stderr);
    let ran = approver.run(["policy", "diff", "enforced", &digest]).unwrap();
    assert!(ran.code == Some(1) && ran.stdout.contains("settings.snp.allow_vlek: (none) -> true"), "{}", ran.stdout);
    assert!(ran.stdout.contains("warning, in the second only: settings.snp.allow_vlek"), "{}", ran.stdout);
}
