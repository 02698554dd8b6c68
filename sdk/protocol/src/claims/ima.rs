//! What an IMA log shows (row L8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node's IMA log showed from its boot on, as far as the quote covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImaClaims {
    /// Entries that the quote covers, from the boot on.
    pub entries: u64,
    /// Files that were written while they were measured: what ran is not known.
    pub violations: u64,
    /// Whether `boot_aggregate` was compared with quoted PCRs.
    pub boot_aggregate_checked: bool,
    /// Different files that were measured, by digest.
    pub files: u64,
    /// How the files stand to the lists of each reference set that an asked asset names.
    pub listed: BTreeMap<String, Listed>,
}

/// How the files that a node measured stand to the lists of one reference set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Files that are not among the accepted ones, or are known by another hash than a file that the set forbids, so that
    /// they could be that one: how many. 0 where the set accepts any file and forbids none.
    pub unlisted: u64,
    /// Files that the set forbids: how many.
    pub forbidden: u64,
    /// Digests that the set requires and that were not measured, `sha256:` and lower-case hexadecimal.
    pub missing: Vec<String>,
    /// The first of the unlisted and forbidden files, at most sixteen, for people.
    pub examples: Vec<ListedFile>,
}

/// A file that stands against a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// `sha256:` (or another algorithm) and the digest, lower-case hexadecimal.
    pub digest: String,
    /// A path under which it was measured. A hint: whoever may mount chooses it.
    pub path: String,
    /// Whether the set forbids it; it is merely not accepted otherwise.
    pub forbidden: bool,
}
