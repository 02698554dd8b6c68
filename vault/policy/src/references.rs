//! Who refers to whom in a bundle: every call is one that policies may make, nothing refers to
//! itself, and the deepest chain of references fits the stack.
//!
//! The engine finds a rule that needs itself while it evaluates, but not a function that calls
//! itself, and neither kind of depth; so every reference must be readable from the text.

use crate::{
    builtins::{BUILTINS, FORBIDDEN},
    error::PolicyError,
    settings::RULES_ROOT,
    source::{KEYWORDS, Purpose, Source},
    tokens::Kind,
};
use std::collections::{BTreeMap, BTreeSet};

/// Rules and functions of a bundle, counted by name.
const DEFINITIONS: usize = 512;
/// Stack that the deepest evaluation may take, KiB, by the estimate of `Source::stack_cost`. A
/// worker thread has 2,048, and the estimate is above what was measured.
const STACK: u32 = 1024;

/// What the files of a bundle declare.
struct Declared<'a> {
    /// Packages, without `data`.
    packages: BTreeSet<&'a [&'a str]>,
    /// Rules and functions of any package.
    names: BTreeSet<&'a str>,
}

/// A rule or function, all its definitions taken together.
#[derive(Default)]
struct Rule<'a> {
    /// Names it refers to.
    refers: BTreeSet<&'a str>,
    /// Stack of its costliest definition, KiB.
    cost: u32,
}

/// Checks all files of a bundle together.
pub(crate) fn check_together(sources: &[Source<'_>]) -> Result<(), PolicyError> {
    let declared = Declared {
        packages: sources.iter().map(|s| s.package.as_slice()).collect(),
        names: sources.iter().flat_map(|s| s.rules.iter().map(|r| r.name)).collect(),
    };
    if declared.names.len() > DEFINITIONS {
        let what = "the number of rules and functions".to_owned();
        return Err(PolicyError::TooLarge { what, actual: declared.names.len(), limit: DEFINITIONS });
    }
    let mut rules: BTreeMap<&str, Rule<'_>> = BTreeMap::new();
    let mut places: BTreeMap<&str, (&Source<'_>, usize)> = BTreeMap::new();
    for source in sources {
        let ends = source.rules.iter().map(|r| r.head).skip(1).chain([source.tokens.len()]);
        for (definition, end) in source.rules.iter().zip(ends) {
            let rule = rules.entry(definition.name).or_default();
            rule.refers.extend(declared.references(source, definition.after_head, end)?);
            rule.cost = rule.cost.max(source.stack_cost(definition.after_head, end));
            places.entry(definition.name).or_insert((source, definition.head));
        }
    }
    check_order(&rules).map_err(|(name, problem)| match places.get(name) {
        Some((source, head)) => source.refuse(*head, problem),
        None => PolicyError::Compile { detail: problem },
    })
}

impl<'a> Declared<'a> {
    /// Every name that is referred to in the tokens from `start` to `end`, after checking each call.
    fn references(&self, source: &Source<'a>, start: usize, end: usize) -> Result<BTreeSet<&'a str>, PolicyError> {
        let mut found = BTreeSet::new();
        let mut at = start;
        while at < end {
            let called = source.kind(at + 1) == Some(Kind::Mark("("));
            match source.kind(at) {
                Some(Kind::Word("with")) if source.purpose == Purpose::Rules => {
                    let problem = "`with` replaces the input that is decided on; only tests may use it";
                    return Err(source.refuse(at, problem));
                }
                // `contains` is a keyword in a rule's head and a builtin when called.
                Some(Kind::Word(word)) if !KEYWORDS.contains(&word) || (word == "contains" && called) => {
                    if at.checked_sub(1).and_then(|before| source.kind(before)) != Some(Kind::Mark(".")) {
                        let (path, after) = source.path(at)?;
                        found.extend(self.reference(source, at, &path, after)?);
                        at = after;
                        continue;
                    }
                    if called {
                        let problem = format!("{word} is called on a value; write the function's whole name");
                        return Err(source.refuse(at, problem));
                    }
                }
                Some(Kind::Mark("]")) if called => {
                    return Err(source.refuse(at, "a function is called by a computed name; write the name"));
                }
                _ => {}
            }
            at += 1;
        }
        Ok(found)
    }

    /// The rules that one path, from `at` to `after`, may refer to.
    fn reference(
        &self,
        source: &Source<'a>,
        at: usize,
        path: &[&'a str],
        after: usize,
    ) -> Result<Vec<&'a str>, PolicyError> {
        let (full, in_data) = source.resolve(path);
        let call = source.kind(after) == Some(Kind::Mark("("));
        let name = path.join(".");
        let printing = source.purpose == Purpose::Tests && name == "print";
        if let Some((_, reason)) = FORBIDDEN.iter().find(|(forbidden, _)| *forbidden == name)
            && (call || path.len() > 1)
            && !printing
        {
            return Err(source.refuse(at, format!("{name} is refused: it {reason}")));
        }
        if in_data {
            return self.reference_in_data(source, at, &full);
        }
        let named: Vec<&str> = path.first().into_iter().chain(path.last().filter(|_| call)).copied().collect();
        let defined = named.iter().any(|part| self.names.contains(part));
        if call && !defined && !printing && !BUILTINS.contains(&name.as_str()) {
            let problem = format!("{name} is neither defined in the bundle nor a builtin that policies may use");
            return Err(source.refuse(at, problem));
        }
        Ok(named.into_iter().filter(|part| self.names.contains(part)).collect())
    }

    /// Rules live below `data.strongroom` and tables do not, so a table's keys are no rules' names.
    /// Into the rules a path must lead to one of them by its written name.
    fn reference_in_data(&self, source: &Source<'a>, at: usize, full: &[&'a str]) -> Result<Vec<&'a str>, PolicyError> {
        let below = full.get(1..).unwrap_or_default();
        if below.first().is_some_and(|root| *root != RULES_ROOT) {
            return Ok(Vec::new());
        }
        let rules: Vec<&str> = self
            .packages
            .iter()
            .filter_map(|package| below.strip_prefix(*package)?.first().copied())
            .filter(|part| self.names.contains(part))
            .collect();
        if rules.is_empty() {
            let problem = format!("{} is no rule of the bundle; write the whole name of one", full.join("."));
            return Err(source.refuse(at, problem));
        }
        // A function may have a name of several parts.
        Ok(below.iter().copied().filter(|part| self.names.contains(part)).collect())
    }
}

/// Takes away rules that refer to none that are left, layer by layer, adding up the stack that the
/// deepest chain needs; what cannot be taken away refers to itself. No recursion.
fn check_order<'a>(rules: &BTreeMap<&'a str, Rule<'a>>) -> Result<(), (&'a str, String)> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = rules.iter().map(|(name, r)| (*name, r.refers.clone())).collect();
    let mut stack: BTreeMap<&str, u32> = BTreeMap::new();
    while !left.is_empty() {
        let free: Vec<&str> = left.iter().filter(|(_, refers)| refers.is_empty()).map(|(name, _)| *name).collect();
        if free.is_empty() {
            return Err(a_circle(&left));
        }
        for name in free {
            left.remove(name);
            let Some(rule) = rules.get(name) else { continue };
            let below = rule.refers.iter().filter_map(|to| stack.get(to)).max().copied().unwrap_or(0);
            let needs = below.saturating_add(rule.cost);
            if needs > STACK {
                let problem = format!(
                    "{name} is nested too deep with all it refers to: {needs} KiB of stack, at most {STACK}; \
                     nest less, loop less, or refer less deep"
                );
                return Err((name, problem));
            }
            stack.insert(name, needs);
        }
        for refers in left.values_mut() {
            refers.retain(|name| !stack.contains_key(name));
        }
    }
    Ok(())
}

/// Follows references until one comes again; each of `left` refers to another of `left`.
fn a_circle<'a>(left: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> (&'a str, String) {
    let mut seen: Vec<&str> = Vec::new();
    let mut here = left.keys().next().copied().unwrap_or_default();
    while !seen.contains(&here) {
        seen.push(here);
        here = left.get(here).and_then(|refers| refers.first().copied()).unwrap_or(here);
    }
    let start = seen.iter().position(|name| *name == here).unwrap_or(0);
    let circle = seen.get(start..).unwrap_or_default().join(" -> ");
    (here, format!("{circle} -> {here} refers to itself, or a variable has a rule's name: rename it"))
}
