//! What a Rego file must keep to before the engine sees it.
//!
//! The engine (regorus 0.14) stops a policy that runs too long, but it recurses on the machine's
//! stack: a function that calls itself, an expression of ten thousand operators or a deep nest of
//! brackets ends the whole process, and one builtin can fill the memory between two looks at the
//! clock. So the shape of a bundle is bounded here, from its tokens alone, without recursion.

use crate::{
    builtins::{BUILTINS, FORBIDDEN},
    error::PolicyError,
    settings::RULES_ROOT,
    tokens::{Kind, Token, tokens},
};
use std::collections::BTreeMap;

/// Brackets in brackets; the engine's parser takes exponential time in it.
const NESTING: usize = 10;
/// Operators in one expression, without brackets.
const OPERATORS: u32 = 32;
/// Parts of one reference, such as `input.node.labels`.
const REFERENCE: usize = 24;
pub(crate) const KEYWORDS: &[&str] = &[
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

/// Operators of the expression that goes on, or begins, with this token.
fn operators_after(kind: Kind<'_>, begins_statement: bool, before: u32) -> u32 {
    match kind {
        Kind::Mark("," | ";" | ":=" | ":") | Kind::Word("if" | "some" | "every" | "not" | "else" | "with" | "as") => 0,
        Kind::Mark(".") => before,
        Kind::Mark(_) | Kind::Word("in") => before + 1,
        _ if begins_statement => 0,
        _ => before,
    }
}

/// One file with its tokens, and what it declares.
pub(crate) struct Source<'a> {
    path: &'a str,
    pub(crate) purpose: Purpose,
    pub(crate) tokens: Vec<Token<'a>>,
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
    pub(crate) head: usize,
    pub(crate) after_head: usize,
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

    pub(crate) fn kind(&self, at: usize) -> Option<Kind<'a>> {
        self.tokens.get(at).map(|t| t.kind)
    }

    /// Where a token stands: `path:line`.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.tokens.get(at).map_or(1, |t| t.line))
    }

    pub(crate) fn refuse(&self, at: usize, problem: impl Into<String>) -> PolicyError {
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
                kind => *count = operators_after(kind, begins, *count),
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

    /// KiB of stack that evaluating the tokens from `start` to `end` takes at the most, without what
    /// they refer to. Measured with regorus 0.14.1 (optimised): a rule 4.6, a comprehension 3.1, a
    /// call 2.1, a loop 1.3, an array 0.6, an operator 0.6.
    pub(crate) fn stack_cost(&self, start: usize, end: usize) -> u32 {
        let mut most = vec![0_u32];
        let mut depth = 0_usize;
        let mut loops = 0_u32;
        let mut count = vec![0_u32];
        for at in start..end {
            match self.kind(at) {
                Some(Kind::Mark(open @ ("(" | "[" | "{"))) => {
                    // `xs[i]` may loop over all of `xs`.
                    loops += u32::from(open == "[" && self.begins_statement(at));
                    depth += 1;
                    count.push(0);
                    if most.len() <= depth {
                        most.push(0);
                    }
                }
                Some(Kind::Mark(")" | "]" | "}")) => {
                    depth = depth.saturating_sub(1);
                    count.pop();
                }
                Some(Kind::Word("some" | "every")) => loops += 1,
                Some(kind) => {
                    if let (Some(count), Some(most)) = (count.last_mut(), most.get_mut(depth)) {
                        *count = operators_after(kind, self.begins_statement(at), *count);
                        *most = (*most).max(*count);
                    }
                }
                None => {}
            }
        }
        let brackets = u32::try_from(most.len()).unwrap_or(u32::MAX).saturating_sub(1);
        5 + most.iter().sum::<u32>() + 4 * brackets + 2 * loops
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
            if ["data", "input"].contains(&name) {
                return Err(
                    self.refuse(at, format!("an import is called {name}, as the document is; give it another name"))
                );
            }
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
    pub(crate) fn path(&self, at: usize) -> Result<(Vec<&'a str>, usize), PolicyError> {
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
    pub(crate) fn resolve(&self, path: &[&'a str]) -> (Vec<&'a str>, bool) {
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
}
