//! What a Rego file must keep to before the engine sees it.
//!
//! The engine (regorus 0.14) stops a policy that runs too long, but it recurses on the machine's
//! stack: a function that calls itself, an expression of ten thousand operators or a deep nest of
//! brackets ends the whole process, and one builtin can fill the memory between two looks at the
//! clock. So the shape of a bundle is bounded here, from its tokens alone, without recursion.
//!
//! To let policies use another builtin, add it to `BUILTINS`: it must give the same answer
//! tomorrow, do no I/O, and make no more than a small multiple of what it was given.

use crate::{
    error::PolicyError,
    settings::RULES_ROOT,
    tokens::{Kind, Token, tokens},
};
use std::collections::{BTreeMap, BTreeSet};

/// Brackets in brackets; the engine's parser takes exponential time in it.
const NESTING: usize = 10;
/// Operators in one expression, without brackets.
const OPERATORS: u32 = 32;
/// Parts of one reference, such as `input.node.labels`.
const REFERENCE: usize = 24;
/// Rules and functions of a bundle, counted by name.
const DEFINITIONS: usize = 512;
/// Rules that refer to rules that refer to rules.
const CHAIN: usize = 48;

/// Builtins that policies may call.
const BUILTINS: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "set",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.reverse",
    "substring",
    "sum",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "walk",
];

/// Builtins of Rego that answer differently tomorrow, reach outside, or print; each refused by name
/// and with its reason, and fenced in the engine as well.
pub(crate) const FORBIDDEN: &[(&str, &str)] = &[
    ("http.send", "reaches the network"),
    ("net.lookup_ip_addr", "reaches the network"),
    ("numbers.range", "can fill the memory in one call"),
    ("numbers.range_step", "can fill the memory in one call"),
    ("bits.lsh", "can fill the memory in one call"),
    ("opa.runtime", "reads the vault's environment"),
    ("print", "writes to the vault's log; say it in a denial instead"),
    ("trace", "writes to the vault's log; say it in a denial instead"),
    ("rand.intn", "answers differently in a replay"),
    ("time.now_ns", "answers differently in a replay; read input.time"),
    ("uuid.rfc4122", "answers differently in a replay"),
];

const KEYWORDS: &[&str] = &[
    "as", "contains", "default", "else", "every", "false", "if", "import", "in", "not", "null", "package", "some",
    "true", "with",
];

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Decides.
    Rules,
    /// Tests the rules: may replace input by `with`, and print.
    Tests,
}

/// One file with its tokens, and what it declares.
pub(crate) struct Source<'a> {
    path: &'a str,
    purpose: Purpose,
    tokens: Vec<Token<'a>>,
    /// The package's path, without `data`.
    pub(crate) package: Vec<&'a str>,
    /// What each imported name stands for.
    imports: BTreeMap<&'a str, Vec<&'a str>>,
    /// Where each rule starts and what it is called, in the file's order.
    pub(crate) rules: Vec<Definition<'a>>,
}

/// The start of a rule or function.
pub(crate) struct Definition<'a> {
    pub(crate) name: &'a str,
    pub(crate) function: bool,
    /// Tokens of its head's name, then its end.
    head: usize,
    after_head: usize,
}

impl<'a> Source<'a> {
    /// Reads a file and checks its shape.
    pub(crate) fn read(path: &'a str, text: &'a str, purpose: Purpose) -> Result<Self, PolicyError> {
        let tokens = tokens(path, text)?;
        let mut source =
            Self { path, purpose, tokens, package: Vec::new(), imports: BTreeMap::new(), rules: Vec::new() };
        source.check_shape()?;
        source.declare()?;
        Ok(source)
    }

    fn kind(&self, at: usize) -> Option<Kind<'a>> {
        self.tokens.get(at).map(|t| t.kind)
    }

    fn refuse(&self, at: usize, problem: impl Into<String>) -> PolicyError {
        let line = self.tokens.get(at).or(self.tokens.last()).map_or(1, |t| t.line);
        PolicyError::Source { path: self.path.to_owned(), line, problem: problem.into() }
    }

    /// True where one operand has ended and another begins: a new statement.
    fn begins_statement(&self, at: usize) -> bool {
        let ends = |kind| match kind {
            Kind::Word(w) => !KEYWORDS.contains(&w) || ["true", "false", "null"].contains(&w),
            Kind::Text(_) | Kind::Number => true,
            Kind::Mark(m) => [")", "]", "}"].contains(&m),
        };
        at.checked_sub(1).and_then(|before| self.kind(before)).is_none_or(ends)
    }

    /// Nesting of brackets, length of expressions.
    fn check_shape(&self) -> Result<(), PolicyError> {
        let mut operators = vec![0_u32];
        for (at, token) in self.tokens.iter().enumerate() {
            let begins = self.begins_statement(at);
            let Some(count) = operators.last_mut() else {
                return Err(self.refuse(at, "a bracket is closed that was not opened"));
            };
            match token.kind {
                Kind::Mark("(" | "[" | "{") => operators.push(0),
                Kind::Mark(")" | "]" | "}") => {
                    operators.pop();
                }
                Kind::Mark("," | ";" | ":=" | ":")
                | Kind::Word("if" | "some" | "every" | "not" | "else" | "with" | "as") => *count = 0,
                Kind::Mark(".") => {}
                Kind::Mark(_) | Kind::Word("in") => *count += 1,
                _ if begins => *count = 0,
                _ => {}
            }
            if operators.len() > NESTING + 1 {
                return Err(
                    self.refuse(at, format!("brackets nest deeper than {NESTING}; name a part of it as a rule"))
                );
            }
            if operators.last().is_some_and(|count| *count > OPERATORS) {
                return Err(self.refuse(at, format!("more than {OPERATORS} operators in one expression; split it")));
            }
        }
        Ok(())
    }

    /// Finds the package, the imports and the starts of rules.
    fn declare(&mut self) -> Result<(), PolicyError> {
        let mut depth = 0_usize;
        let mut at = 0;
        while let Some(kind) = self.kind(at) {
            match kind {
                Kind::Mark("(" | "[" | "{") => depth += 1,
                Kind::Mark(")" | "]" | "}") => depth = depth.saturating_sub(1),
                Kind::Word(word) if depth == 0 && self.begins_statement(at) => {
                    match word {
                        "package" => {
                            let (package, after) = self.path(at + 1)?;
                            if package.first() != Some(&RULES_ROOT) {
                                return Err(self.refuse(at, "packages of a bundle begin with `strongroom`, such as `package strongroom.release`"));
                            }
                            self.package = package;
                            at = after;
                            continue;
                        }
                        "import" => {
                            at = self.import(at + 1)?;
                            continue;
                        }
                        "default" => {
                            at = self.define(at + 1)?;
                            continue;
                        }
                        word if KEYWORDS.contains(&word) => {}
                        _ => {
                            at = self.define(at)?;
                            continue;
                        }
                    }
                }
                _ => {}
            }
            at += 1;
        }
        if self.package.is_empty() {
            return Err(self.refuse(0, "there is no package"));
        }
        Ok(())
    }

    fn import(&mut self, at: usize) -> Result<usize, PolicyError> {
        let (path, mut after) = self.path(at)?;
        let mut name = path.last().copied();
        if self.kind(after) == Some(Kind::Word("as")) {
            name = match self.kind(after + 1) {
                Some(Kind::Word(name)) => Some(name),
                _ => None,
            };
            after += 2;
        }
        if path.first() == Some(&"data")
            && let Some(name) = name
        {
            if BUILTINS.iter().chain(FORBIDDEN.iter().map(|(name, _)| name)).any(|b| b.split('.').next() == Some(name))
            {
                return Err(
                    self.refuse(at, format!("an import is called {name}, as builtins are; give it another name"))
                );
            }
            self.imports.insert(name, path);
        }
        Ok(after)
    }

    fn define(&mut self, head: usize) -> Result<usize, PolicyError> {
        let (path, after_head) = self.path(head)?;
        let function = self.kind(after_head) == Some(Kind::Mark("("));
        let name = if function { path.last() } else { path.first() };
        let name = name.copied().ok_or_else(|| self.refuse(head, "a rule has no name"))?;
        self.rules.push(Definition { name, function, head, after_head });
        Ok(after_head)
    }

    /// The static path that starts at `at` (`a.b["c"]`), and where it ends.
    fn path(&self, at: usize) -> Result<(Vec<&'a str>, usize), PolicyError> {
        let Some(Kind::Word(root)) = self.kind(at) else {
            return Err(self.refuse(at, "a name is missing"));
        };
        let mut path = vec![root];
        let mut next = at + 1;
        loop {
            match (self.kind(next), self.kind(next + 1), self.kind(next + 2)) {
                (Some(Kind::Mark(".")), Some(Kind::Word(part)), _) => {
                    path.push(part);
                    next += 2;
                }
                (Some(Kind::Mark("[")), Some(Kind::Text(part)), Some(Kind::Mark("]"))) => {
                    path.push(part);
                    next += 3;
                }
                _ => break,
            }
            if path.len() > REFERENCE {
                return Err(self.refuse(at, format!("a reference has more than {REFERENCE} parts")));
            }
        }
        Ok((path, next))
    }

    /// What an asked path stands for once imports are replaced; true when it leads into `data`.
    fn resolve(&self, path: &[&'a str]) -> (Vec<&'a str>, bool) {
        match path.split_first() {
            Some((root, rest)) if self.imports.contains_key(root) => {
                let mut full = self.imports.get(root).cloned().unwrap_or_default();
                full.extend(rest);
                (full, true)
            }
            Some((&"data", _)) => (path.to_vec(), true),
            _ => (path.to_vec(), false),
        }
    }

    /// Every name that is referred to in the tokens from `start` to `end`, after checking each call.
    fn references(
        &self,
        start: usize,
        end: usize,
        known: &BTreeSet<&'a str>,
    ) -> Result<BTreeSet<&'a str>, PolicyError> {
        let mut found = BTreeSet::new();
        let mut at = start;
        while at < end {
            let called = self.kind(at + 1) == Some(Kind::Mark("("));
            match self.kind(at) {
                Some(Kind::Word("with")) if self.purpose == Purpose::Rules => {
                    return Err(self.refuse(at, "`with` replaces the input that is decided on; only tests may use it"));
                }
                // `contains` is a keyword in a rule's head and a builtin when called.
                Some(Kind::Word(word)) if !KEYWORDS.contains(&word) || (word == "contains" && called) => {
                    if at.checked_sub(1).and_then(|b| self.kind(b)) == Some(Kind::Mark(".")) {
                        if called {
                            return Err(self
                                .refuse(at, format!("{word} is called on a value; write the function's whole name")));
                        }
                        at += 1;
                        continue;
                    }
                    let (path, after) = self.path(at)?;
                    let (full, in_data) = self.resolve(&path);
                    let call = self.kind(after) == Some(Kind::Mark("("));
                    self.check_names(at, &path, call, in_data, known)?;
                    // Rules live below `data.strongroom` and tables do not, so a table's keys are no rules' names.
                    let named = match (in_data, full.get(1)) {
                        (true, Some(root)) if *root != RULES_ROOT => Vec::new(),
                        (true, _) => full,
                        (false, _) => path.first().into_iter().chain(path.last().filter(|_| call)).copied().collect(),
                    };
                    found.extend(named.into_iter().filter(|part| known.contains(part)));
                    at = after;
                    continue;
                }
                Some(Kind::Mark("]")) if called => {
                    return Err(self.refuse(at, "a function is called by a computed name; write the name"));
                }
                _ => {}
            }
            at += 1;
        }
        Ok(found)
    }

    fn check_names(
        &self,
        at: usize,
        path: &[&'a str],
        call: bool,
        in_data: bool,
        known: &BTreeSet<&'a str>,
    ) -> Result<(), PolicyError> {
        let name = path.join(".");
        let printing = self.purpose == Purpose::Tests && name == "print";
        if let Some((_, reason)) = FORBIDDEN.iter().find(|(f, _)| *f == name)
            && (call || name.contains('.'))
            && !printing
        {
            return Err(self.refuse(at, format!("{name} is refused: it {reason}")));
        }
        let defined = path.last().is_some_and(|last| known.contains(last)) && (path.len() == 1 || in_data);
        let defined = defined || (path.len() > 1 && path.first().is_some_and(|root| known.contains(root)));
        if call && !in_data && !defined && !printing && !BUILTINS.contains(&name.as_str()) {
            return Err(
                self.refuse(at, format!("{name} is neither defined in the bundle nor a builtin that policies may use"))
            );
        }
        Ok(())
    }
}

/// Checks all files of a bundle together: who refers to whom, how deep, and never in a circle.
pub(crate) fn check_together(sources: &[Source<'_>]) -> Result<(), PolicyError> {
    let known: BTreeSet<&str> = sources.iter().flat_map(|s| s.rules.iter().map(|r| r.name)).collect();
    if known.len() > DEFINITIONS {
        let what = "the number of rules and functions".to_owned();
        return Err(PolicyError::TooLarge { what, actual: known.len(), limit: DEFINITIONS });
    }
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut place: BTreeMap<&str, (&Source<'_>, usize)> = BTreeMap::new();
    for source in sources {
        let starts = source.rules.iter().map(|r| r.head).skip(1).chain([source.tokens.len()]);
        for (rule, end) in source.rules.iter().zip(starts) {
            // A head may compute its keys, so all after its static name counts.
            graph.entry(rule.name).or_default().extend(source.references(rule.after_head, end, &known)?);
            place.entry(rule.name).or_insert((source, rule.head));
        }
    }
    check_order(&graph).map_err(|(rule, problem)| {
        place.get(rule).map_or(PolicyError::Compile { detail: problem.clone() }, |(s, at)| s.refuse(*at, problem))
    })
}

/// Removes rules that refer to nothing left, layer by layer: the layers are the depth, and what
/// cannot be removed refers to itself. No recursion.
fn check_order<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Result<(), (&'a str, String)> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = graph.clone();
    let mut layers = 0;
    while let Some(first) = left.keys().next().copied() {
        let free: BTreeSet<&str> = left.iter().filter(|(_, to)| to.is_empty()).map(|(name, _)| *name).collect();
        if free.is_empty() {
            // Follow references until one repeats; that one is on a circle.
            let mut seen = vec![first];
            let mut here = first;
            while let Some(next) = left.get(here).and_then(|to| to.iter().next().copied()) {
                if let Some(start) = seen.iter().position(|name| *name == next) {
                    let circle = seen.get(start..).unwrap_or_default().join(" -> ");
                    return Err((
                        next,
                        format!("{circle} -> {next} refers to itself, or a variable has a rule's name: rename it"),
                    ));
                }
                seen.push(next);
                here = next;
            }
            return Ok(());
        }
        layers += 1;
        if layers > CHAIN {
            return Err((first, format!("rules refer to rules more than {CHAIN} deep")));
        }
        left.retain(|name, _| !free.contains(name));
        for to in left.values_mut() {
            to.retain(|name| !free.contains(name));
        }
    }
    Ok(())
}
