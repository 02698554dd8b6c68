//! Which of the commands that documents show some test runs for real, with the same options.
//!
//! What runs the programs is read as a sequence of words: string literals of Rust and Python, words of
//! shell, those of the tutorials among it, which a test runs word for word. A command counts as run where its subcommand stands in that order and every option that the
//! document shows follows, in this place or another of the same subcommand. That a word stands in a test
//! does not prove that it is run; that it stands in none proves that it is not.

use super::{Page, commands::shown, root};
use std::{collections::BTreeSet, fs, path::PathBuf};

/// Tests that run the programs.
const PLACES: [&str; 7] = [
    "tests/demo",
    "tests/src",
    "tests/suite",
    "tests/tutorials",
    "docs/tutorials",
    "sdk/python/tests",
    "vault/server/tests",
];

/// Words that an option of a subcommand follows within.
const REACH: usize = 40;

/// Options that every command has, and that say nothing of what it does.
const GENERAL: [&str; 5] = ["--home", "--token-file", "--json", "--patience", "--agent"];

/// What the search finds in no test, with the reason that it may stand in a document.
const NOT_FOUND: [(&str, &str); 2] = [
    (
        "strongroomd accept-restore --config",
        "tests/suite/replicas/standing.rs runs it, and puts the configuration in for each command",
    ),
    (
        "strongroomd recover-admin --config",
        "vault/server/tests/it/processes.rs runs it, and puts the configuration in for each command",
    ),
];

/// What can be run, as the page of commands has it: the words after the program's name.
fn subcommands() -> BTreeSet<Vec<String>> {
    let text = Page::read("docs/reference/cli.md").text;
    let headings = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let commands = headings.filter(|words| words.starts_with("strongroom"));
    commands.map(|words| words.split_whitespace().skip(1).map(str::to_owned).collect()).collect()
}

/// The subcommand of a command line: one to three words of those that there are.
fn subcommand(known: &BTreeSet<Vec<String>>, arguments: &[String]) -> Vec<String> {
    let words: Vec<_> = arguments
        .iter()
        .enumerate()
        .filter(|(at, word)| {
            let value = at.checked_sub(1).and_then(|before| arguments.get(before));
            let follows = |before: &String| GENERAL.contains(&before.as_str()) && before != "--json";
            !word.starts_with('-') && !value.is_some_and(follows)
        })
        .map(|(_, word)| word.clone())
        .collect();
    let longest = [3, 2, 1].into_iter().filter_map(|count| words.get(..count)).find(|words| known.contains(*words));
    longest.map(<[String]>::to_vec).unwrap_or_default()
}

fn options(arguments: &[String]) -> BTreeSet<String> {
    let own = arguments.iter().take_while(|word| *word != "--").filter(|word| word.starts_with("--"));
    own.filter(|word| !GENERAL.contains(&word.as_str())).cloned().collect()
}

/// The words of string literals, in their order.
fn literals(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// The words of a script.
fn script(text: &str) -> Vec<String> {
    let plain = |word: &str| word.trim_matches(['"', '\'', '(', ')', '\\', '`']).to_owned();
    text.split_whitespace().map(plain).filter(|word| !word.is_empty()).collect()
}

/// The words of every place, one list a file.
fn corpus() -> Vec<Vec<String>> {
    let mut waiting: Vec<PathBuf> =
        PLACES.iter().map(|place| root().join(place)).filter(|path| path.exists()).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let inside = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            waiting.extend(inside.filter(|path| !path.ends_with("tests/suite/docs") && !path.ends_with("docs.rs")));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push(match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs" | "py") => literals(&text),
                Some("md") => script(&Page { path, text }.blocks(&["sh"]).concat()),
                _ => script(&text),
            });
        }
    }
    found
}

/// The options that follow a subcommand anywhere; `None` if it stands nowhere.
fn run_with(known: &BTreeSet<Vec<String>>, corpus: &[Vec<String>], subcommand: &[String]) -> Option<BTreeSet<String>> {
    let mut options = None;
    for words in corpus {
        for (at, window) in words.windows(subcommand.len()).enumerate() {
            if window == subcommand {
                let after = words.iter().skip(at + subcommand.len()).take(REACH);
                let own = after.take_while(|word| !known.iter().any(|other| other.first() == Some(*word)));
                let found = own.filter(|word| word.starts_with("--")).cloned();
                options.get_or_insert_with(BTreeSet::new).extend(found);
            }
        }
    }
    options
}

/// A command that no test runs as it is shown is in the list, and nothing else is.
#[test]
fn every_command_that_is_shown_is_run_by_a_test() {
    let (known, corpus) = (subcommands(), corpus());
    let mut missing = BTreeSet::new();
    for command in shown() {
        let subcommand = subcommand(&known, &command.arguments);
        let run = run_with(&known, &corpus, &subcommand);
        for option in options(&command.arguments) {
            if !run.as_ref().is_some_and(|run| run.contains(&option)) {
                missing.insert(format!("{} {} {option}", command.program, subcommand.join(" ")));
            }
        }
        if run.is_none() {
            missing.insert(format!("{} {}", command.program, subcommand.join(" ")));
        }
    }
    let known: BTreeSet<_> = NOT_FOUND.iter().map(|(line, _)| (*line).to_owned()).collect();
    let new: Vec<_> = missing.difference(&known).collect();
    let over: Vec<_> = known.difference(&missing).collect();
    assert!(new.is_empty() && over.is_empty(), "no test runs {new:#?}; some test runs {over:#?}");
    for (line, reason) in NOT_FOUND {
        println!("{line}: {reason}");
    }
}

#[test]
fn commands_are_found_in_tests() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let known = subcommands();
    let subcommand = |line| subcommand(&known, &words(line));
    let run_with = |corpus: &[_], line| run_with(&known, corpus, &words(line));
    assert_eq!(subcommand("--token-file a.token node approve X --site a"), ["node", "approve"]);
    assert_eq!(subcommand("--json seal x --asset a"), ["seal"]);
    assert_eq!(options(&words("node approve X --site a --json")), BTreeSet::from(["--site".to_owned()]));
    let corpus = [
        literals(r#"run(["node", "approve", &id, "--site", "fra-1"]); f("x y")"#),
        script("as olga site create 'a' --b"),
    ];
    assert_eq!(run_with(&corpus, "node approve"), Some(BTreeSet::from(["--site".to_owned()])));
    assert_eq!(run_with(&corpus, "site create"), Some(BTreeSet::from(["--b".to_owned()])));
    assert_eq!(run_with(&corpus, "node revoke"), None);
}
