//! The tutorials, word for word: what a page tells its reader to type is typed, and what it says will be
//! printed is compared with what is.
//!
//! ```text
//! docs/tutorials/vault.md ──┐                        Stage: a project with its programs and a wheel,
//! docs/tutorials/NAME.md  ──┴─> Page::steps() ──>    a home, nothing else
//!                               Step { commands, expected }
//!                                    │ one bash for all, as a user without rights
//!                                    v
//!                               what each step printed ──matching──> the first that differs: page, line
//! ```
//!
//! In a page, a `sh` block is typed; a `text` block behind it is what it prints, with `…` for what
//! differs from run to run: within a line for any characters, as a line for any lines. A `python` block
//! is a file, whose name ends the line before it: "Save this as `train.py`:". Every other block is refused.

mod matching;
mod page;
mod run;
mod stage;

use page::Page;
use run::run;
use stage::Stage;

/// A tutorial over the vault that all of them begin with, up to the heading where this one goes its own way.
fn follow(name: &str, vault_until: Option<&str>) {
    let vault = Page::read("docs/tutorials/vault.md");
    let vault = match vault_until {
        Some(heading) => vault.until(heading),
        None => vault,
    };
    let tutorial = Page::read(&format!("docs/tutorials/{name}.md"));
    let compared = tutorial.steps.iter().filter(|step| step.expected.is_some()).count();
    assert!(compared >= 10, "{name}: only {compared} outputs are compared");
    let mut steps = vault.steps;
    steps.extend(tutorial.steps);
    if let Err(difference) = run(&Stage::make().unwrap(), &steps).unwrap() {
        panic!("{difference}");
    }
}

#[test]
fn a_training_job() {
    follow("training", None);
}

/// It makes people, sites and rules itself.
#[test]
fn a_security_team() {
    follow("security", Some("## People, a place, rules"));
}

#[test]
fn an_auditor() {
    follow("audit", None);
}

/// What a page says wrongly is found, and told with page, line and difference.
#[test]
fn a_wrong_page_is_noticed() {
    let stage = Stage::bare().unwrap();
    let told = |text: &str| run(&stage, &Page::parse("here.md", text).steps).unwrap();
    let good = "```sh\nx=1\n```\n\n```sh\necho one $x\nfalse || echo \"exit code $?\" >&2\n```\n```text\none …\nexit code 1\n```\n";
    told(good).unwrap();

    let other = told(&good.replace("one …", "two …")).unwrap_err();
    assert!(other.contains("here.md, line 10") && other.contains("two …") && other.contains("one 1"), "{other}");
    let more = told(&good.replace("exit code 1\n", "")).unwrap_err();
    assert!(more.contains("here.md, line 11") && more.contains("exit code 1"), "{more}");
    let failed = told(&good.replace("false || echo \"exit code $?\" >&2", "false")).unwrap_err();
    assert!(failed.contains("here.md, line 5") && failed.contains("exit code 1"), "{failed}");
    let unset = told(&good.replace("$x", "$y")).unwrap_err();
    assert!(unset.contains("here.md, line 5") && unset.contains("unbound"), "{unset}");
    let file = "Save this as `a.py`:\n```python\nprint('it''s')\n```\n```sh\npython3 a.py\n```\n```text\nits\n```\n";
    told(file).unwrap();
    assert!(told(&file.replace("\nits", "\nit")).is_err());
}
