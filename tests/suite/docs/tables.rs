//! Tables of the reference pages, compared with what they describe.

use super::{Page, program, root};
use serde_json::Value;
use std::{collections::BTreeSet, process::Command};
use strongroom_protocol::{Code, admin::Role};

fn output(name: &str, arguments: &[&str]) -> String {
    let run = Command::new(program(name)).args(arguments).output().unwrap();
    assert!(run.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Rows of tables: cells, trimmed.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The first cells of rows, without backquotes; of a link its text.
fn first_cells(text: &str) -> BTreeSet<String> {
    let text_of =
        |cell: &str| cell.strip_prefix('[').and_then(|link| link.split(']').next()).unwrap_or(cell).to_owned();
    rows(text).into_iter().map(|row| text_of(&row[0]).trim_matches('`').to_owned()).collect()
}

/// Commands that do something, as help names them.
fn walk(name: &str, path: &[&str], found: &mut BTreeSet<String>) {
    let help = output(name, &[path, &["--help"]].concat());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let children: Vec<_> = named.filter_map(|line| line.split_whitespace().next()).filter(|c| *c != "help").collect();
    if children.is_empty() {
        found.insert([&[name], path].concat().join(" "));
    }
    for child in children {
        walk(name, &[path, &[child]].concat(), found);
    }
}

/// Who may run what is said of every command, and of none that there is not.
#[test]
fn the_page_of_commands_says_who_may_run_each() {
    let page = Page::read("docs/reference/cli.md").text;
    let mut found = BTreeSet::new();
    walk("strongroom", &[], &mut found);
    walk("strongroomd", &[], &mut found);
    assert!(found.len() > 35, "{found:?}");
    let part = page.split("### Who may run what").nth(1).unwrap().split("\n## ").next().unwrap();
    let shown: BTreeSet<_> = first_cells(part).into_iter().filter(|cell| cell.starts_with("strongroom")).collect();
    assert_eq!(shown, found);
}

/// Commands with a role, and the endpoint that each asks.
const ASKS: [(&str, &str, &str); 40] = [
    ("node status", "get", "/v1/nodes/{id}"),
    ("site create", "post", "/v1/sites"),
    ("site list", "get", "/v1/sites"),
    ("node approve", "post", "/v1/nodes/{id}/approve"),
    ("node revoke", "post", "/v1/nodes/{id}/revoke"),
    ("node list", "get", "/v1/nodes"),
    ("node show", "get", "/v1/nodes/{id}"),
    ("node import", "post", "/v1/nodes/import"),
    ("node identity add", "post", "/v1/nodes/{id}/identities"),
    ("node identity remove", "post", "/v1/nodes/{id}/identities"),
    ("reference from-node", "get", "/v1/nodes/{id}/measurements"),
    ("reference approve", "post", "/v1/references/{name}/{version}/approve"),
    ("reference list", "get", "/v1/references"),
    ("endorsement import", "post", "/v1/endorsements"),
    ("endorsement list", "get", "/v1/endorsements"),
    ("endorsement check", "get", "/v1/endorsements"),
    ("endorsement remove", "delete", "/v1/endorsements/{name}"),
    ("endorsement pin propose", "post", "/v1/pins"),
    ("endorsement pin approve", "post", "/v1/pins/{kind}/{sha256}/approve"),
    ("endorsement pin withdraw", "delete", "/v1/pins/{kind}/{sha256}"),
    ("endorsement pin list", "get", "/v1/pins"),
    ("asset create", "post", "/v1/assets"),
    ("asset update", "post", "/v1/assets/{name}"),
    ("asset list", "get", "/v1/assets"),
    ("key rotate", "post", "/v1/assets/{name}/keys"),
    ("key destroy", "delete", "/v1/assets/{name}/keys/{version}"),
    ("lease list", "get", "/v1/leases"),
    ("lease revoke", "post", "/v1/leases/revoke"),
    ("policy propose", "post", "/v1/policies"),
    ("policy enforce", "post", "/v1/policies/{digest}/enforce"),
    ("policy list", "get", "/v1/policies"),
    ("policy show", "get", "/v1/policies/{digest}"),
    ("token create", "post", "/v1/tokens"),
    ("token revoke", "delete", "/v1/tokens/{id}"),
    ("token list", "get", "/v1/tokens"),
    ("decision list", "get", "/v1/decisions"),
    ("explain", "get", "/v1/decisions/{id}"),
    ("audit query", "get", "/v1/audit/records"),
    ("audit show", "get", "/v1/audit/records/{id}"),
    ("audit export", "get", "/v1/audit/export"),
];

/// The roles that the page names are those that the vault lets in; an auditor reads all.
#[test]
fn the_page_of_commands_names_the_roles_that_the_vault_allows() {
    let document: Value = serde_json::from_str(&output("strongroomd", &["openapi"])).unwrap();
    let page = Page::read("docs/reference/cli.md").text;
    for (command, method, path) in ASKS {
        let allowed = document["paths"][path][method]["x-strongroom-roles"].as_array().unwrap();
        let allowed: BTreeSet<_> = allowed.iter().map(|role| role.as_str().unwrap()).collect();
        let begins = format!("| [`strongroom {command}`]");
        let row = page.lines().find(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("no row of {command}"));
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let words = cell.split([' ', ',', ';']);
        let mut named: BTreeSet<_> = words.filter(|word| Role::ALL.iter().any(|role| role.as_str() == *word)).collect();
        if method == "get" {
            named.insert(Role::Auditor.as_str());
        }
        assert_eq!(named, allowed, "docs/reference/cli.md: {command}");
    }
}

/// Every variable that the programs read, and no other.
#[test]
fn the_page_of_configuration_has_every_variable() {
    let mut read = BTreeSet::new();
    let mut waiting: Vec<_> = ["attest", "sdk", "vault"].map(|place| root().join(place)).into();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split('"').filter_map(|part| part.strip_prefix("STRONGROOM_"));
            let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            read.extend(
                names.filter(is_name).filter(|name| !name.starts_with("TEST")).map(|n| format!("STRONGROOM_{n}")),
            );
        }
    }
    assert!(read.len() >= 3, "{read:?}");
    let page = Page::read("docs/reference/configuration.md").text;
    let shown: BTreeSet<_> = first_cells(&page).into_iter().filter(|cell| cell.starts_with("STRONGROOM_")).collect();
    assert_eq!(shown, read);
}

/// Every reason code of the baseline, and every protection.
#[test]
fn the_pages_of_policy_have_every_code_and_protection() {
    let rules = std::fs::read_to_string(root().join("policies/baseline/release.rego")).unwrap();
    let codes: BTreeSet<_> = rules.split("\"code\": \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() > 12, "{codes:?}");
    let page = Page::read("policies/README.md").text;
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "policies/README.md says nothing of {code}");
    }
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("policies/data.schema.json")).unwrap()).unwrap();
    let page = Page::read("docs/reference/policy.md").text;
    let part = page.split("## Obligations").nth(1).unwrap();
    for protection in schema["$defs"]["Protection"]["oneOf"].as_array().unwrap() {
        let name = format!("`{}`", protection["const"].as_str().unwrap());
        assert!(part.contains(&name), "docs/reference/policy.md: obligations: {name}");
    }
}

#[test]
fn the_page_of_the_api_has_every_endpoint_and_code() {
    let page = Page::read("docs/reference/api.md").text;
    let cells = first_cells(&page);
    let document: Value = serde_json::from_str(&output("strongroomd", &["openapi"])).unwrap();
    let mut endpoints = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            endpoints.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert!(endpoints.len() > 30);
    let plain = |endpoint: &str| endpoint.replace("{*", "{");
    let shown: BTreeSet<_> = cells.iter().filter(|c| c.contains(" /")).map(|c| plain(c)).collect();
    assert_eq!(shown, endpoints.iter().map(|e| plain(e)).collect());
    for code in Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.as_str(), code.status(), code.title());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn the_page_of_dependencies_is_that_of_the_manifest() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let named = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let named: BTreeSet<_> = named
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .filter(|name| !name.starts_with("strongroom") && !name.starts_with('#'))
        .collect();
    let page = Page::read("docs/dependencies.md").text;
    let shown: BTreeSet<_> = first_cells(&page).into_iter().filter(|name| name != "crate" && name != "---").collect();
    assert_eq!(shown, named);
    let reasons = rows(&page).into_iter().filter(|row| row.len() != 3 || row[2].is_empty()).collect::<Vec<_>>();
    assert!(reasons.is_empty(), "without a reason: {reasons:?}");
}

#[test]
fn the_example_configuration_loads() {
    let example = root().join("deploy/strongroomd.toml");
    let doctor = |path: &std::path::Path| {
        Command::new(program("strongroomd")).args(["doctor", "--config"]).arg(path).output().unwrap()
    };
    // Nothing that it names is here: each finding of the doctor is about that, none about the file.
    let run = doctor(&example);
    let (said, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("file modes") && !errors.contains("configuration"), "{said}{errors}");
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong.toml");
    let text = std::fs::read_to_string(example).unwrap().replace("listen =", "listens =");
    std::fs::write(&wrong, text).unwrap();
    assert!(String::from_utf8_lossy(&doctor(&wrong).stderr).contains("configuration"));
}
