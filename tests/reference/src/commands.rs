//! Commands, from `clap`'s own definition: what `--help` says, as sections of a page.

use crate::cell;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

/// Every command of a program that does something, with its usage, arguments, options and examples;
/// first the options that all have, and the exit codes.
pub fn commands(mut program: Command) -> String {
    program.build();
    let mut out = format!("### Options of every `{}` command\n\n", program.get_name());
    let general: Vec<_> = program.get_arguments().filter(|arg| arg.is_global_set()).collect();
    out.push_str(&options(&general));
    out.push_str(&after(&program, "### Exit codes"));
    walk(&mut program, &mut out);
    out
}

fn walk(command: &mut Command, out: &mut String) {
    let mut leaf = true;
    for child in command.get_subcommands_mut().filter(|child| child.get_name() != "help" && !child.is_hide_set()) {
        leaf = false;
        walk(child, out);
    }
    if leaf {
        out.push_str(&section(command));
    }
}

fn section(command: &mut Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let about = about.trim().trim_end_matches('.');
    let own: Vec<_> = command.get_arguments().filter(|arg| !arg.is_global_set()).collect();
    let mut out = format!("### `{name}`\n\n{}.\n\n`{usage}`\n\n", cell(about));
    out.push_str(&options(&own));
    out.push_str(&after(command, ""));
    out
}

/// A table of arguments and options; nothing if there are none.
fn options(arguments: &[&Arg]) -> String {
    let shown: Vec<_> = arguments
        .iter()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    let mut out = String::from("| argument | default | meaning |\n|---|---|---|\n");
    for arg in shown {
        let _ = writeln!(out, "| {} | {} | {} |", name(arg), default(arg), meaning(arg));
    }
    out + "\n"
}

/// `-o`, `--output FILE`; `FILE` of what is told by its place.
fn name(arg: &Arg) -> String {
    let values: Vec<String> = match arg.get_value_names() {
        _ if !arg.get_action().takes_values() => Vec::new(),
        Some(names) => names.iter().map(ToString::to_string).collect(),
        None => vec![arg.get_id().as_str().to_uppercase()],
    };
    let shorts = arg.get_short().map(|short| format!("-{short}")).into_iter();
    let mut names: Vec<_> = shorts.chain(arg.get_long().map(|long| format!("--{long}"))).collect();
    match names.last_mut() {
        Some(last) => values.iter().for_each(|value| last.extend([" ", value])),
        None => names = values,
    }
    names.iter().map(|name| format!("`{}`", cell(name))).collect::<Vec<_>>().join(", ")
}

fn default(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match (arg.is_required_set(), values.is_empty() || !arg.get_action().takes_values()) {
        (true, _) => "required".to_owned(),
        (_, true) => String::new(),
        _ => format!("`{}`", cell(&values.join(" "))),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut out = help.trim().trim_end_matches('.').to_owned();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        let _ = write!(out, "; one of {}", values.join(", "));
    }
    if matches!(arg.get_action(), ArgAction::Append) && !arg.is_positional() && !out.contains("repeat") {
        out.push_str(" (repeat)");
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(out, "; also from `{}`", variable.to_string_lossy());
    }
    cell(&out)
}

/// What stands below the help: `Example:` with commands, `Exit codes:` with their meanings, and words.
fn after(command: &Command, codes: &str) -> String {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut out = String::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        if let Some(examples) = paragraph.strip_prefix("Example:") {
            let lines: Vec<_> = examples.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let _ = write!(out, "```sh\n{}\n```\n\n", lines.join("\n"));
        } else if let Some(lines) = paragraph.strip_prefix("Exit codes:") {
            let _ = write!(out, "{codes}\n\n| code | meaning |\n|---|---|\n");
            for (code, meaning) in lines.lines().filter_map(|line| line.trim().split_once(' ')) {
                let _ = writeln!(out, "| {code} | {} |", cell(meaning));
            }
            out.push('\n');
        } else {
            let _ = write!(out, "{}\n\n", paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let site = Arg::new("site").long("site").value_name("NAME").required(true).help("The site");
        let label = Arg::new("label").long("label").value_name("A=B").action(ArgAction::Append).help("A label");
        let kind = Arg::new("kind").short('k').value_parser(["x", "y"]).default_value("x").help("Which | what");
        let node = Command::new("approve")
            .about("Place a node")
            .args([Arg::new("node").value_name("NODE").required(true).help("The node"), site, label, kind])
            .after_help("Example:\n  room node approve ID --site a\n\nIt is recorded.");
        let json = Arg::new("json").long("json").global(true).action(ArgAction::SetTrue).help("Print JSON");
        let home = Arg::new("home").long("home").value_name("DIR").global(true).help("Where").env("ROOM_HOME");
        Command::new("room")
            .args([json, home])
            .subcommand(Command::new("node").subcommand(node))
            .after_help("Exit codes:\n  0    done\n  1    refused")
    }

    #[test]
    fn what_help_says_is_on_the_page() {
        let text = commands(program());
        for line in [
            "### Options of every `room` command",
            "| `--json` |  | Print JSON |",
            "| `--home DIR` |  | Where; also from `ROOM_HOME` |",
            "### Exit codes\n",
            "| 1 | refused |",
            "### `room node approve`",
            "Place a node.",
            "`room node approve [OPTIONS] --site <NAME> <NODE>`",
            "| `NODE` | required | The node |",
            "| `--site NAME` | required | The site |",
            "| `--label A=B` |  | A label (repeat) |",
            "| `-k KIND` | `x` | Which \\| what; one of `x`, `y` |",
            "```sh\nroom node approve ID --site a\n```",
            "It is recorded.",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(text.matches("--json").count(), 1, "options of every command stand once: {text}");
        assert!(!text.contains("--help") && !text.contains("### `room node`\n"), "{text}");
    }
}
