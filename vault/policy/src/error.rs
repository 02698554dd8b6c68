//! Why a bundle was refused, or a policy could not answer.

/// An error of this crate. Each names what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A path that a bundle cannot have.
    #[error("{path:?} is not a path of a bundle: {problem}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Too much of something.
    #[error("{what} is {actual}, at most {limit}")]
    TooLarge {
        /// What was measured.
        what: String,
        /// What it was.
        actual: usize,
        /// What it may be.
        limit: usize,
    },
    /// `data.json` is missing or wrong.
    #[error("data.json: {problem}")]
    Data {
        /// What is wrong, with its position where there is one.
        problem: String,
    },
    /// A source file that was refused before it reached the engine.
    #[error("{path}:{line}: {problem}")]
    Source {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u32,
        /// What is refused, and what to do.
        problem: String,
    },
    /// The engine does not compile the bundle.
    #[error("the bundle does not compile: {detail}")]
    Compile {
        /// The engine's own words, with file, line and column.
        detail: String,
    },
    /// The bundle lacks a rule that a release needs.
    #[error("the bundle has no rule {rule}; without it nothing would be released")]
    MissingRule {
        /// The rule's path.
        rule: String,
    },
    /// The input cannot be given to policy.
    #[error("the input of the policy is refused: {problem}")]
    Input {
        /// What is wrong.
        problem: String,
    },
    /// A directory could not be read.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// The path.
        path: String,
        /// The system's words.
        problem: String,
    },
}
