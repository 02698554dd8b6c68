//! Which fields of an input a bundle reads: those that, changed, make it refuse. Written into `docs/tiers.md`, so
//! that the page says what the rules do and not what somebody thought they did.

use super::{inputs, tier};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use strongroom_policy::{Bundle, Policy, PolicyInput, Verdict};
use strongroom_reference::keep_part;

/// Objects whose keys are names or numbers, and what stands for them on the page.
const NAMED: [(&str, &str); 7] = [
    ("pcrs", "N"),
    ("references", "SET"),
    ("labels", "LABEL"),
    ("asset_live", "ASSET"),
    ("listed", "SET"),
    ("uki", "SECTION"),
    ("measurements", "N"),
];

/// What is tried in the place of a value: those that make no input are passed over.
fn others(value: &Value) -> Vec<Value> {
    let mut tried = vec![Value::Null];
    match value {
        Value::Null => tried.extend([json!({}), json!([]), json!("x"), json!(1), json!(true)]),
        Value::Bool(on) => tried.push(json!(!on)),
        Value::Number(_) => tried.extend([0, 1, 200, 1_000_000].map(Value::from)),
        Value::Array(_) => tried.push(json!([])),
        Value::Object(_) => tried.push(json!({})),
        Value::String(text) => {
            let mut flipped = text.clone();
            flipped.replace_range(..1.min(flipped.len()), if text.starts_with('0') { "1" } else { "0" });
            tried.push(json!(flipped));
            if text.len() < 20 {
                let words = [
                    "",
                    "identify",
                    "renew",
                    "revoked",
                    "US",
                    "write",
                    "writer",
                    "version",
                    "decrypt-only",
                    "destroyed",
                    "sha384",
                    "milan",
                    "turin",
                    "vlek",
                    "OutOfDate",
                    "single",
                    "protected-pcie",
                    "guest",
                    "exit_boot_services_missing",
                    "tdx-ppid",
                ];
                tried.extend(words.map(Value::from));
            }
        }
    }
    tried
}

/// Every place of a document: its pointer, and its name on the page.
fn places(value: &Value, pointer: &str, name: &str, last: &str, out: &mut Vec<(String, String)>) {
    if !pointer.is_empty() {
        out.push((pointer.to_owned(), name.to_owned()));
    }
    let dotted = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let named = NAMED.iter().find(|(of, _)| *of == last).map_or(key.as_str(), |(_, stands)| stands);
                places(field, &format!("{pointer}/{key}"), &dotted(named), key, out);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, &format!("{pointer}/{at}"), &format!("{name}[]"), "", out);
            }
        }
        _ => {}
    }
}

/// The codes with which a bundle refuses an input once a field is another, by field.
fn read_by(policy: &Policy, input: &Value, read: &mut BTreeMap<String, BTreeSet<String>>) {
    assert_eq!(policy.replay(input).unwrap().verdict(), Verdict::Released);
    let mut all = Vec::new();
    places(input, "", "", "", &mut all);
    for (pointer, name) in all {
        for other in others(input.pointer(&pointer).unwrap()) {
            let mut changed = input.clone();
            *changed.pointer_mut(&pointer).unwrap() = other;
            let Ok(changed) = serde_json::from_value::<PolicyInput>(changed) else { continue };
            if let Ok(outcome) = policy.evaluate(&changed) {
                let codes = outcome.reason_codes();
                if !codes.is_empty() {
                    read.entry(name.clone()).or_default().extend(codes);
                }
            }
        }
    }
}

/// The bundle as it ships, but that settings name what guests of TDX boot.
fn policy_of(name: &str) -> Policy {
    let mut files = tier(name).files;
    let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
    if let Some(tdx) = data.pointer_mut("/settings/tdx") {
        tdx["rtmrs"] = json!({ "1": { "one_of": ["11".repeat(48)] }, "2": { "one_of": ["22".repeat(48)] } });
    }
    files.insert("data.json".to_owned(), data.to_string());
    Policy::prepare(Bundle::from_files(files).unwrap())
}

/// Settings and tables that a bundle's rules name.
fn settings_of(name: &str) -> BTreeSet<String> {
    let rules = tier(name).files["release.rego"].clone();
    let code: Vec<_> = rules.lines().filter(|line| !line.starts_with('#')).collect();
    let code = code.join("\n");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut found: BTreeSet<_> = code
        .match_indices("data.")
        .map(|(at, _)| code[at + 5..].split(|c| !word(c)).next().unwrap().to_owned())
        .collect();
    for (start, of) in
        [("object.get(data.settings, \"", ""), ("asked_of_snp, \"", "snp."), ("asked_of_tdx, \"", "tdx.")]
    {
        let named = code.match_indices(start).map(|(at, _)| code[at + start.len()..].split('"').next().unwrap());
        found.extend(named.map(|name| format!("settings.{of}{name}")));
    }
    for (start, of) in [("asked_of_snp.", "snp."), ("asked_of_tdx.", "tdx.")] {
        let named =
            code.match_indices(start).map(|(at, _)| code[at + start.len()..].split(|c| !word(c)).next().unwrap());
        found.extend(named.map(|name| format!("settings.{of}{name}")));
    }
    if code.contains("object.get(data.settings, [\"gpu\", \"modes\"]") {
        found.insert("settings.gpu.modes".to_owned());
    }
    found.remove("settings");
    // The name of the file, in what a rule says.
    found.remove("json");
    found
}

#[test]
fn the_claims_that_each_tier_reads_are_generated() {
    for (name, machines) in [
        ("tier1", vec![inputs::tpm()]),
        ("tier2", vec![inputs::snp(), inputs::tdx(), inputs::azure()]),
        ("tier3", vec![inputs::snp(), inputs::tdx(), inputs::azure()]),
    ] {
        let policy = policy_of(name);
        let mut read = BTreeMap::new();
        for input in &machines {
            read_by(&policy, input, &mut read);
        }
        assert!(read.len() > 25, "{name}: {read:?}");
        let mut page = String::from("| `input.` | refused with |\n|---|---|\n");
        for (field, codes) in &read {
            let codes: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
            writeln!(page, "| `{field}` | {} |", codes.join(", ")).unwrap();
        }
        let settings: Vec<_> = settings_of(name).iter().map(|setting| format!("`{setting}`")).collect();
        write!(page, "\nOf `data.json` its rules read {}.\n", settings.join(", ")).unwrap();
        keep_part("docs/tiers.md", name, &page).unwrap();
    }
}
