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
