//! Tables of the reference pages, compared with what they describe.

use super::{Page, program, root};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};
use strongroom_protocol::Code;

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

/// The first cells of rows, without backquotes.
fn first_cells(text: &str) -> BTreeSet<String> {
    rows(text).into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
}

/// Subcommands and long options, as help names them.
fn walk(name: &str, path: &[&str], found: &mut BTreeMap<String, BTreeSet<String>>) {
    let help = output(name, &[path, &["--help"]].concat());
    let mut children = Vec::new();
    let mut section = "";
    let mut options = BTreeSet::new();
    for line in help.lines() {
        if !line.starts_with(' ') && line.ends_with(':') {
            section = line;
        } else if section == "Commands:" && line.starts_with("  ") && !line.starts_with("   ") {
            children.extend(line.split_whitespace().next().filter(|word| *word != "help"));
        } else if section == "Options:" && line.trim_start().starts_with('-') {
            let long = line.split_whitespace().find(|word| word.starts_with("--"));
            options.extend(long.map(|word| word.trim_end_matches(['.', ',']).to_owned()));
        }
    }
    if children.is_empty() {
        found.insert([&[name], path].concat().join(" "), options);
    }
    let children: Vec<String> = children.into_iter().map(str::to_owned).collect();
    for child in &children {
        walk(name, &[path, &[child.as_str()]].concat(), found);
    }
}

#[test]
fn the_page_of_commands_has_every_command_and_option() {
    let page = Page::read("docs/reference/cli.md").text;
    let table = rows(&page);
    let mut found = BTreeMap::new();
    walk("strongroom", &[], &mut found);
    walk("strongroomd", &[], &mut found);
    assert!(found.len() > 35, "{found:?}");
    let mut missing = Vec::new();
    for (command, options) in &found {
        let row = table.iter().find(|row| {
            let cell = row[0].trim_matches('`');
            cell == command || cell.starts_with(&format!("{command} "))
        });
        let Some(row) = row else {
            missing.push(command.clone());
            continue;
        };
        let row = row.join(" ");
        let filter = row.contains("the filter below");
        for option in options.iter().filter(|o| !["--help", "--version"].contains(&o.as_str())) {
            let general =
                ["--home", "--token-file", "--agent", "--patience", "--json", "--verbose"].contains(&option.as_str());
            let elsewhere = general || filter || row.contains("see below");
            if !(row.contains(option.as_str()) || elsewhere && page.contains(option.as_str())) {
                missing.push(format!("{command} {option}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/reference/cli.md does not mention {missing:#?}");
    for row in &table {
        let cell = row[0].trim_matches('`');
        let Some(first) = cell.split(' ').next().filter(|p| *p == "strongroom" || *p == "strongroomd") else {
            continue;
        };
        let known = found.keys().any(|command| cell == command || cell.starts_with(&format!("{command} ")));
        assert!(known, "{first} has no such command: {cell}");
    }
}

#[test]
fn the_page_of_configuration_has_every_key_with_its_default() {
    let page = Page::read("docs/reference/configuration.md").text;
    let default = std::fs::read_to_string(root().join("vault/server/config.default.toml")).unwrap();
    let table = |text: &str, header: fn(&str) -> Option<&str>, row: fn(&str) -> Option<(String, String)>| {
        let mut section = String::new();
        let mut keys = BTreeSet::new();
        for line in text.lines() {
            if let Some(name) = header(line) {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = row(line) {
                keys.insert(format!("{section} {key} = {value}"));
            }
        }
        keys
    };
    let real = table(
        &default,
        |line| line.strip_prefix('[')?.strip_suffix(']'),
        |line| {
            line.split_once(" = ").filter(|(key, _)| !key.starts_with('#')).map(|(k, v)| (k.to_owned(), v.to_owned()))
        },
    );
    let shown = table(
        &page,
        |line| line.strip_prefix("## `[")?.strip_suffix("]`"),
        |line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`'));
            Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
        },
    );
    assert!(real.len() > 25);
    assert_eq!(shown, real);
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
