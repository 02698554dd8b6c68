//! Links, paths, decisions, the compiled example.

use super::{Page, root};
use std::{collections::BTreeSet, path::Path, process::Command};

/// Relative targets of links, with their fragments.
fn links(prose: &str) -> Vec<String> {
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(str::to_owned)
        .collect()
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

fn anchors(page: &Page) -> BTreeSet<String> {
    page.prose().lines().filter(|l| l.starts_with('#')).map(|l| anchor(l.trim_start_matches('#'))).collect()
}

#[test]
fn relative_links_resolve() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in Page::all() {
        let directory = page.path.parent().unwrap_or(Path::new(""));
        for link in links(&page.prose()) {
            seen += 1;
            let (file, fragment) = link.split_once('#').map_or((link.as_str(), None), |(f, a)| (f, Some(a)));
            let target = if file.is_empty() { page.path.clone() } else { directory.join(file) };
            if !root().join(&target).exists() {
                broken.push(format!("{}: {link}", page.path.display()));
                continue;
            }
            let Some(fragment) = fragment else { continue };
            if !anchors(&Page::read(target.to_str().unwrap())).contains(fragment) {
                broken.push(format!("{}: {link}: there is no such heading", page.path.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn anchors_are_made_as_forges_make_them() {
    assert_eq!(anchor(" Files under --home"), "files-under---home");
    assert_eq!(anchor("`ledger_unavailable`"), "ledger_unavailable");
    assert_eq!(links("[a](b.md#c) and [d](https://e) (f)"), ["b.md#c"]);
}

/// Comments that say where something is run or compiled name what is there.
#[test]
fn what_comments_name_is_there() {
    let mut seen = 0;
    for page in Page::all() {
        for comment in page.text.split("<!-- ").skip(1).filter_map(|rest| rest.split(" -->").next()) {
            let places = ["tests/", "docs/", "sdk/", "vault/"];
            for word in comment.split([' ', ',', ';']).filter(|word| places.iter().any(|place| word.starts_with(place)))
            {
                seen += 1;
                let there = root().join(word).exists() || root().join(format!("{word}.rs")).exists();
                assert!(there, "{}: {comment}", page.path.display());
            }
        }
    }
    assert!(seen > 5, "only {seen} places were named");
}

/// Documents are read on other machines than the one that they were written on.
#[test]
fn no_document_names_a_path_of_this_machine() {
    let home = format!("{}/", root().parent().unwrap().display());
    let mut files: Vec<_> = Page::all().into_iter().map(|p| (p.path, p.text)).collect();
    for path in ["deploy/strongroomd.toml", "deploy/systemd/strongroomd.service"] {
        files.push((path.into(), std::fs::read_to_string(root().join(path)).unwrap()));
    }
    for (path, text) in files {
        for wrong in [home.as_str(), "/root/", "/home/", "file://"] {
            // `node-1/home/join.json` is nobody's home.
            let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.…".contains(c));
            let found = text.match_indices(wrong).any(|(at, _)| begins(at));
            assert!(!found, "{}: {wrong}", path.display());
        }
    }
}

#[test]
fn each_decision_is_listed_once_with_its_title() {
    let list = Page::read("docs/adr/README.md").text;
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("docs/adr")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        count += 1;
        let number: usize = name[..4].parse().unwrap();
        let text = Page::read(&format!("docs/adr/{name}")).text;
        let title =
            text.lines().next().unwrap().strip_prefix(&format!("# {number}. ")).unwrap_or_else(|| panic!("{name}"));
        assert!(list.contains(&format!("| {number} | [{title}]({name}) |\n")), "{name} is not listed as `{title}`");
        for heading in ["## Context", "## Decision", "## Consequences"] {
            assert!(text.contains(heading), "{name}: {heading}");
        }
    }
    assert_eq!(list.matches(".md) |").count(), count, "the list has rows of decisions that there are not");
}

/// The book has every page once, and its chapters are called what the pages are called.
#[test]
fn the_book_has_every_page() {
    let summary = Page::read("docs/SUMMARY.md");
    let mut shown: Vec<_> =
        links(&summary.prose()).into_iter().map(|link| normal(&Path::new("docs").join(link))).collect();
    let mut there: Vec<_> = Page::all().into_iter().map(|page| page.path).filter(|p| *p != summary.path).collect();
    shown.sort();
    there.sort();
    let missing: Vec<_> = there.iter().filter(|page| !shown.contains(page)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md has no chapter for {missing:?}");
    assert_eq!(shown, there, "docs/SUMMARY.md names a page twice, or one that there is not");
    let list = Page::read("docs/adr/README.md").text;
    for line in summary.text.lines().filter(|line| line.contains("](adr/0")) {
        let (title, _) = line.trim().trim_start_matches("- [").split_once("](").unwrap();
        let (number, title) = title.split_once(". ").unwrap();
        assert!(list.contains(&format!("| {number} | [{title}](")), "docs/SUMMARY.md: {line}");
    }
}

/// A path without `..`.
fn normal(path: &Path) -> std::path::PathBuf {
    let mut out = std::path::PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}

#[test]
fn the_rust_that_is_shown_is_the_rust_that_was_compiled() {
    let blocks = Page::read("docs/jobs.md").blocks(&["rust"]);
    assert_eq!(blocks, [include_str!("open_in_rust.rs")]);
    for page in Page::all() {
        let other = page.blocks(&["rust"]).len();
        assert!(other == 0 || page.path.ends_with("docs/jobs.md"), "{}: compile it", page.path.display());
    }
}

/// systemd reads the unit, where there is a systemd.
#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = std::fs::read_to_string(root().join("deploy/systemd/strongroomd.service")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    // The program is not installed here, and `verify` looks for it.
    let installed = unit.replace("/usr/local/bin/strongroomd", "/bin/true");
    assert_ne!(unit, installed);
    let verify = |text: &str| {
        let path = directory.path().join("strongroomd.service");
        std::fs::write(&path, text).unwrap();
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output()
    };
    let Ok(run) = verify(&installed) else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && !said.contains("strongroomd.service:"), "{said}");
    let wrong = verify(&installed.replace("NoNewPrivileges=yes", "NoNewPriviliges=yes")).unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("NoNewPriviliges"), "a misspelt line went unnoticed");
}

/// The agent's units, which belong together: systemd loads the service with its socket.
#[test]
fn the_agents_units_are_ones_that_systemd_takes() {
    let directory = tempfile::tempdir().unwrap();
    let write = |change: fn(String) -> String| {
        for name in ["strongroom-agent.service", "strongroom-agent.socket"] {
            let unit = std::fs::read_to_string(root().join("deploy/systemd").join(name)).unwrap();
            std::fs::write(directory.path().join(name), change(unit)).unwrap();
        }
        let units = ["strongroom-agent.service", "strongroom-agent.socket"].map(|name| directory.path().join(name));
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output()
    };
    let installed = |unit: String| unit.replace("/usr/local/bin/strongroom", "/bin/true");
    let Ok(run) = write(installed) else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && !said.contains("strongroom-agent"), "{said}");
    let wrong =
        write(|unit| unit.replace("SocketMode=", "SocketMoode=").replace("/usr/local/bin/strongroom", "/bin/true"));
    assert!(String::from_utf8_lossy(&wrong.unwrap().stderr).contains("SocketMoode"), "a misspelt line went unnoticed");
}
