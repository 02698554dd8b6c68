//! Documents that are written from this crate's definitions: commands, configuration, OpenAPI.

use crate::{command::Arguments, config::Config, openapi};
use clap::CommandFactory as _;
use schemars::schema_for;
use std::fmt::Write as _;
use strongroom_protocol::join::JoinFile;
use strongroom_reference::{Key, cell, commands, keep_file, keep_part, keys, table};

/// What stands at the head of the default configuration.
const HEAD: &str = "\
# Strongroom's configuration, with its defaults. A line that is missing means what stands here; a
# line that is unknown is an error. Relative paths are relative to this file's directory. There are
# no secrets in this file, and none are read from the environment or from arguments.
";

/// Columns of a comment.
const WIDTH: usize = 100;

/// A table of the configuration file.
struct Section {
    name: String,
    meaning: String,
    /// Keys, with their defaults as TOML.
    keys: Vec<(Key, String)>,
}

/// The tables in their order.
fn sections() -> Vec<Section> {
    let described = keys(&schema_for!(Config).to_value()).unwrap();
    let named = |path: &str| described.iter().find(|key| key.path == path).cloned().unwrap();
    let mut sections: Vec<Section> = Vec::new();
    for line in toml::to_string(&Config::default()).unwrap().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), meaning: named(name).meaning, keys: Vec::new() });
        } else if let Some((name, value)) = line.split_once(" = ") {
            let section = sections.last_mut().unwrap();
            let mut key = named(&format!("{}.{name}", section.name));
            name.clone_into(&mut key.path);
            section.keys.push((key, value.to_owned()));
        }
    }
    let known = described.iter().filter(|key| key.kind != "object").count();
    assert_eq!(sections.iter().map(|section| section.keys.len()).sum::<usize>(), known, "a key has no default");
    sections
}

/// A text as lines of comment.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().unwrap().chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(String::from("#"));
        }
        let line = lines.last_mut().unwrap();
        line.push(' ');
        line.push_str(word);
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_default_configuration_is_generated() {
    let mut text = String::from(HEAD);
    for section in sections() {
        let _ = write!(text, "\n{}[{}]\n", comment(&section.meaning), section.name);
        for (key, value) in section.keys {
            let _ = writeln!(text, "{}{} = {value}", comment(&key.meaning), key.path);
        }
    }
    keep_file("vault/server/config.default.toml", &text).unwrap();
}

#[test]
fn the_page_of_configuration_is_generated() {
    let mut text = String::new();
    for section in sections() {
        let head = "| key | holds | default | meaning |\n|---|---|---|---|\n";
        let _ = write!(text, "## `[{}]`\n{}\n\n{head}", section.name, section.meaning);
        for (key, value) in section.keys {
            let _ = writeln!(text, "| `{}` | {} | `{value}` | {} |", key.path, cell(&key.kind), cell(&key.meaning));
        }
        text.push('\n');
    }
    keep_part("docs/reference/configuration.md", "strongroomd.toml", &text).unwrap();
    let join = keys(&schema_for!(JoinFile).to_value()).unwrap();
    keep_part("docs/reference/configuration.md", "join.json", &table(&join)).unwrap();
}

#[test]
fn the_page_of_commands_is_generated() {
    keep_part("docs/reference/cli.md", "strongroomd", &commands(Arguments::command())).unwrap();
}

#[test]
fn the_openapi_document_is_generated() {
    keep_file("docs/openapi.json", &openapi::document_text().unwrap()).unwrap();
}

#[test]
fn comments_are_wrapped() {
    let text = comment(&"word ".repeat(50));
    assert!(text.lines().all(|line| line.starts_with("# word") && line.len() <= WIDTH), "{text}");
    assert_eq!(text.matches("word").count(), 50);
}
