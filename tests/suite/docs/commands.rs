//! Commands that documents show.

use super::{Page, fixtures::Fixtures, program, root};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// What stands for a shell variable in a document, or for an id in an example.
const VARIABLES: [(&str, &str); 11] = [
    ("SHA256", "0011223344556677889900aabbccddeeff00112233445566778899aabbccddee"),
    ("$BIND", "00"),
    ("$NODE", "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVU"),
    ("NODE_ID", "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVU"),
    ("$DIGEST", "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVU"),
    ("DIGEST", "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVU"),
    ("$LEASE", "VVVVVVVVVVVVVVVVVVVVVQ"),
    ("LEASE_ID", "VVVVVVVVVVVVVVVVVVVVVQ"),
    ("$DECISION", "01K3ZQ8Y6E6M1D0Q9V1S1C1X7A"),
    ("$TOKEN", "01K3ZQ8Y6E6M1D0Q9V1S1C1X7A"),
    ("TOKEN_ID", "01K3ZQ8Y6E6M1D0Q9V1S1C1X7A"),
];

/// Commands that need no vault: they are run for real, with the fixtures, and must succeed.
const OFFLINE: [&[&str]; 8] = [
    &["policy", "check"],
    &["policy", "test"],
    &["inspect"],
    &["audit", "verify"],
    &["audit", "check-proof"],
    &["completions"],
    &["openapi"],
    &["init"],
];

/// One command line of a document.
pub(super) struct Shown {
    page: String,
    pub(super) program: &'static str,
    pub(super) arguments: Vec<String>,
}

/// Splits a line of shell into words; quotes are taken off, comments and what follows a pipe too.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '<' | ';' | '&') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {line}");
    words.extend(word);
    words
}

/// The commands of one block; lines that end in a backslash go on.
fn in_block(block: &str, console: bool) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| if console { line.strip_prefix("$ ") } else { Some(line) })
        .map(words)
        .filter(|words| !words.is_empty())
        .collect()
}

fn all_words() -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    // What tutorials show is run as it stands, by a shell: see `suite/tutorials.rs`.
    for page in Page::all().into_iter().filter(|page| !page.path.starts_with("docs/tutorials")) {
        for (language, console) in [("sh", false), ("console", true)] {
            for block in page.blocks(&[language]) {
                let name = page.path.display().to_string();
                out.extend(in_block(&block, console).into_iter().map(|words| (name.clone(), words)));
            }
        }
    }
    out
}

/// Every command of the two programs, wherever in a line it begins. Tutorials are run word for word elsewhere.
pub(super) fn shown() -> Vec<Shown> {
    let mut out = Vec::new();
    for (page, words) in all_words().into_iter().filter(|(page, _)| !page.starts_with("docs/tutorials/")) {
        for program in ["strongroom", "strongroomd"] {
            if let Some(at) = words.iter().position(|w| w == program) {
                // These name the user, the unit or the file, and do not run the program.
                if ["install", "systemctl", "useradd"].contains(&words[0].as_str()) {
                    continue;
                }
                out.push(Shown { page: page.clone(), program, arguments: words[at + 1..].to_vec() });
            }
        }
    }
    assert!(out.len() > 40, "only {} commands were found", out.len());
    out
}

impl Shown {
    fn line(&self) -> String {
        format!("{}: {} {}", self.page, self.program, self.arguments.join(" "))
    }

    /// Words that are neither options nor their values cannot be told apart here; subcommands come in order.
    fn is(&self, path: &[&str]) -> bool {
        let mut rest = self.arguments.iter();
        path.iter().all(|part| rest.any(|word| word == part))
    }

    /// Runs it in `directory`: absolute paths become paths below it, variables their samples.
    fn run(&self, directory: &Path) -> Output {
        let arguments = self.arguments.iter().map(|word| {
            let sample = VARIABLES.iter().find(|(name, _)| word == name).map(|(_, value)| (*value).to_owned());
            assert!(sample.is_some() || !word.contains('$'), "{}: what is {word}?", self.line());
            sample.unwrap_or_else(|| match word.strip_prefix('/') {
                Some(below) => directory.join(below).to_str().unwrap().to_owned(),
                None => word.clone(),
            })
        });
        Command::new(program(self.program))
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("HOME", directory)
            .env("STRONGROOM_HOME", directory.join("home"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// A program that reads its arguments, and then misses what it needs, says so by its own name; what
/// clap refuses begins with `error:`.
#[test]
fn every_command_that_is_shown_is_accepted() {
    let mut wrong = Vec::new();
    for command in shown() {
        let fixtures = Fixtures::make();
        let run = command.run(fixtures.path());
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        let offline = OFFLINE.iter().any(|path| command.is(path));
        if stderr.starts_with("error:") || (offline && !run.status.success()) || run.status.code().is_none() {
            wrong.push(format!("{}\n{}", command.line(), stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The check above can fail: an option that there is not, a value of the wrong kind, a fixture that is forged.
#[test]
fn a_wrong_command_is_noticed() {
    let run = |line: &str, fixtures: &Fixtures| {
        let words = words(line);
        let command = Shown { page: "here".into(), program: "strongroom", arguments: words[1..].to_vec() };
        command.run(fixtures.path())
    };
    for wrong in [
        "strongroom open x.sealed --asset minilm --no-such-option",
        "strongroom lease revoke not-an-id --reason x",
        "strongroom token create --person a --role king --out x",
        "strongroom seal",
    ] {
        let run = run(wrong, &Fixtures::make());
        assert!(String::from_utf8_lossy(&run.stderr).starts_with("error:"), "{wrong}");
    }
    let fixtures = Fixtures::make();
    fixtures.forge_ledger();
    assert!(!run("strongroom audit verify ledger.jsonl", &fixtures).status.success());
}

/// Targets of make, and scripts, that documents name.
#[test]
fn other_commands_are_there() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let mut targets = 0;
    for (page, words) in all_words() {
        if words[0] == "make" {
            targets += 1;
            assert!(makefile.contains(&format!("\n{}:", words[1])), "{page}: there is no `make {}`", words[1]);
        }
    }
    assert!(targets >= 3);
}

#[test]
fn lines_are_split_as_a_shell_does() {
    let split = |line: &str| words(line).join("|");
    assert_eq!(split("a 'b c' \"$D\"x # d"), "a|b c|$Dx");
    assert_eq!(split("a b > c"), "a|b");
    assert_eq!(split("# only a comment"), "");
    assert_eq!(split("a ''"), "a|");
    assert_eq!(in_block("a \\\n  b\n\nc\n", false).len(), 2);
    assert_eq!(in_block("$ a\nout\n", true), [["a"]]);
}

/// Another page's `strongroom` blocks do not escape the check by their fence.
#[test]
fn commands_stand_in_blocks_that_are_checked() {
    // What tutorials show as text is compared with what was printed.
    for page in Page::all().into_iter().filter(|page| !page.path.starts_with("docs/tutorials")) {
        for block in page.blocks(&["", "bash", "shell", "text"]) {
            let command = |l: &&str| l.trim_start_matches("$ ").starts_with("strongroom ");
            let found = block.lines().find(command);
            assert!(found.is_none(), "{}: fence this with sh: {found:?}", page.path.display());
        }
    }
}
