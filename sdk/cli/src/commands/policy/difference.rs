//! `strongroom policy diff`: what an approver asks first.

use super::{
    bundle, load,
    show::{believed, shown},
    warnings::Warnings,
};
use crate::{
    context::Context,
    output::{Answer, Failure},
    plain,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};
use strongroom::protocol::admin::{PolicyState, PolicyView};
use strongroom_policy::{Bundle, DATA_FILE};

/// Arguments of `policy diff`.
#[derive(clap::Args)]
pub(crate) struct Difference {
    /// A bundle's directory by a path with `/` or `.` in it, a policy's digest, or `enforced`: the one that decides
    #[arg(allow_hyphen_values = true)]
    first: String,
    /// The same
    #[arg(allow_hyphen_values = true)]
    second: String,
}

/// A value that differs; where one side has none, it is left out there.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Changed {
    /// Where, such as `settings.snp.vmpl`.
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<Value>,
}

impl Difference {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (first, second) = (side(context, &self.first)?, side(context, &self.second)?);
        let data = changed(first.data(), second.data());
        let rules = rules(&first, &second);
        let before: BTreeSet<&str> = Warnings::of(&first, None).warnings.iter().map(|found| found.name).collect();
        let mut new = Warnings::of(&second, None).warnings;
        new.retain(|found| !before.contains(found.name));
        let mut text = String::new();
        let word =
            |value: &Option<Value>| value.as_ref().map_or("(none)".to_owned(), |value| plain::line(&value.to_string()));
        for Changed { at, first, second } in &data {
            let _ = writeln!(text, "{}: {} -> {}", plain::line(at), word(first), word(second));
        }
        for (path, [first, second]) in &rules {
            let _ =
                writeln!(text, "{}: lines of the first that are gone: {first}; new ones: {second}", plain::line(path));
        }
        for weakness in &new {
            let _ = writeln!(text, "warning, in the second only: {weakness}");
        }
        let same = data.is_empty() && rules.is_empty();
        if same {
            text.push_str("the bundles are the same\n");
        }
        let rules: BTreeMap<&str, Value> =
            rules.iter().map(|(path, [gone, new])| (*path, json!({ "gone": gone, "new": new }))).collect();
        let mut answer = Answer::new(&json!({ "same": same, "data": data, "rules": rules, "warnings": new }), text)?;
        answer.holds = same;
        Ok(answer)
    }
}

/// The bundle that a word names.
fn side(context: &Context, text: &str) -> Result<Bundle, Failure> {
    if text.contains(['/', '.']) {
        return bundle(&load(Path::new(text))?);
    }
    let digest = if text == "enforced" {
        let policies: Vec<PolicyView> = context.admin()?.get("/v1/policies")?;
        let enforced = policies.iter().find(|policy| policy.state == PolicyState::Enforced);
        enforced.map(|policy| policy.digest).ok_or_else(|| Failure::refused("no policy is enforced yet"))?
    } else {
        text.parse().map_err(|_| {
            let text = text.escape_debug();
            Failure::usage(format!("`{text}` is no digest: give one, `enforced`, or a directory such as ./{text}"))
        })?
    };
    believed(&shown(context, digest)?.files, digest)
}

/// Every value of two documents that differs, by its place.
fn changed(first: &Value, second: &Value) -> Vec<Changed> {
    let (first, second) = (leaves(first), leaves(second));
    let places: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let differing = places.into_iter().filter(|at| first.get(*at) != second.get(*at));
    let of = |at: &String| Changed { at: at.clone(), first: first.get(at).cloned(), second: second.get(at).cloned() };
    differing.map(of).collect()
}

/// Each value of a document that is no object, and each empty one, by its place. Lists are values as a whole.
fn leaves(document: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    // A bundle's data is read with a cap on its depth.
    let mut waiting = vec![(String::new(), document)];
    while let Some((at, value)) = waiting.pop() {
        match value.as_object().filter(|members| !members.is_empty()) {
            Some(members) => waiting.extend(members.iter().map(|(name, value)| {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                (at, value)
            })),
            None => {
                found.insert(at, value.clone());
            }
        }
    }
    found
}

/// Of each file of rules that differs, how many of its lines the other does not have.
fn rules<'a>(first: &'a Bundle, second: &'a Bundle) -> BTreeMap<&'a str, [usize; 2]> {
    let paths: BTreeSet<&String> = first.files().keys().chain(second.files().keys()).collect();
    let text = |of: &'a Bundle, path: &String| of.files().get(path).map_or("", String::as_str);
    let differing = paths.into_iter().filter(|path| *path != DATA_FILE && text(first, path) != text(second, path));
    differing
        .map(|path| {
            let (one, other) = (text(first, path), text(second, path));
            (path.as_str(), [only_in(one, other), only_in(other, one)])
        })
        .collect()
}

/// How many lines of one text the other does not have, each counted as often as it stands.
fn only_in(one: &str, other: &str) -> usize {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for line in other.lines() {
        *left.entry(line).or_default() += 1;
    }
    let mut missing = 0;
    for line in one.lines() {
        match left.get_mut(line) {
            Some(left) if *left > 0 => *left -= 1,
            _ => missing += 1,
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_by_their_places() {
        let first = json!({ "settings": { "snp": { "vmpl": 0 }, "handling": ["a", "b"] }, "callers": {} });
        let second =
            json!({ "settings": { "snp": { "vmpl": 1, "allow_vlek": true }, "handling": ["a"] }, "callers": {} });
        let changed = |at: &str, first, second| Changed { at: at.to_owned(), first, second };
        assert_eq!(
            super::changed(&first, &second),
            [
                changed("settings.handling", Some(json!(["a", "b"])), Some(json!(["a"]))),
                changed("settings.snp.allow_vlek", None, Some(json!(true))),
                changed("settings.snp.vmpl", Some(json!(0)), Some(json!(1))),
            ]
        );
        assert_eq!(super::changed(&first, &first), []);
        // An empty table is not the same as none.
        assert_eq!(super::changed(&json!({}), &json!({ "callers": {} })).len(), 2);
    }

    #[test]
    fn lines_are_counted_as_often_as_they_stand() {
        assert_eq!((only_in("a\nb\na\n", "a\nc\n"), only_in("a\nc\n", "a\nb\na\n")), (2, 1));
        assert_eq!(only_in("a\n", "a\n"), 0);
    }
}
