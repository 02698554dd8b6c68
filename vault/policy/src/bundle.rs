//! A bundle: its files, checked and compiled, its settings and its digest.

use crate::{
    engine,
    error::PolicyError,
    references::check_together,
    settings::{BundleData, Settings},
    source::{Purpose, Source},
};
use serde_json::Value;
use std::collections::BTreeMap;
use strongroom_protocol::{evidence::PcrSelection, push_length_prefixed, sha256};

/// The settings file of a bundle.
pub const DATA_FILE: &str = "data.json";
/// What a file of rules ends with; as exact as the rest of a path.
pub(crate) const RULES_SUFFIX: &str = ".rego";
/// Files of a bundle.
pub const FILES: usize = 64;
/// One file, bytes.
pub const FILE_BYTES: usize = 256 << 10;
/// All files of a bundle, bytes.
pub const BUNDLE_BYTES: usize = 1 << 20;
/// A path, bytes.
const PATH_BYTES: usize = 128;
/// The tag that a bundle's digest starts with.
const DIGEST_TAG: &[u8] = b"strongroom/v1/policy\0";

/// Files of a directory: those that decide, and those that test them.
///
/// Tests (`*_test.rego`) lie beside the rules but are not part of the bundle: they do not travel to
/// the vault, do not change the digest, and can never be evaluated in a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The bundle's files by path: `*.rego` and `data.json`.
    pub files: BTreeMap<String, String>,
    /// The tests by path: `*_test.rego`.
    pub tests: BTreeMap<String, String>,
}

impl Sources {
    /// Sorts files into rules and tests by their names.
    pub fn split(files: BTreeMap<String, String>) -> Self {
        let (tests, files) = files.into_iter().partition(|(path, _)| is_test(path));
        Self { files, tests }
    }
}

/// A bundle that has been checked and compiled. It exists only if it can decide.
#[derive(Clone)]
pub struct Bundle {
    files: BTreeMap<String, String>,
    data: BundleData,
    raw_data: Value,
    digest: [u8; 32],
    pub(crate) engine: regorus::Engine,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Checks and compiles a bundle: `*.rego` files of Rego v1 in packages below `strongroom`, and `data.json`.
    ///
    /// Nothing of the bundle is evaluated here. Refused are: other files, tests, paths that leave
    /// the bundle, more than [`FILES`], [`FILE_BYTES`] or [`BUNDLE_BYTES`], builtins that are not
    /// deterministic or do I/O, recursion, settings that are wrong, and a bundle without the rules
    /// `allow`, `deny` and `obligations` of the package `strongroom.release`.
    pub fn from_files(files: BTreeMap<String, String>) -> Result<Self, PolicyError> {
        check_caps(&files)?;
        if let Some(path) = files.keys().find(|path| is_test(path)) {
            return Err(path_error(path, "tests are not part of a bundle; leave *_test.rego out"));
        }
        let text = files.get(DATA_FILE).ok_or_else(|| PolicyError::Data {
            problem: "the file is missing; copy the one of policies/baseline and adapt it".to_owned(),
        })?;
        let (data, raw_data) = BundleData::parse(text)?;
        let sources = read_sources(&files, Purpose::Rules)?;
        check_together(&sources)?;
        for rule in engine::RULES {
            let there =
                |s: &Source<'_>| s.package == engine::PACKAGE && s.rules.iter().any(|r| r.name == rule && !r.function);
            if !sources.iter().any(there) {
                return Err(PolicyError::MissingRule { rule: format!("{}.{rule}", engine::QUERY) });
            }
        }
        drop(sources);
        let engine = engine::compile(&files, &raw_data)?;
        let digest = digest(&files);
        Ok(Self { files, data, raw_data, digest, engine })
    }

    /// SHA-256 over `"strongroom/v1/policy" || 0x00`, then `LP(path) || LP(text)` of each file in
    /// ascending order of the paths' bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The files, as they are stored and shown to who approves.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// The whole of `data.json`.
    pub fn data(&self) -> &Value {
        &self.raw_data
    }

    /// The settings in `data.json`.
    pub fn settings(&self) -> &Settings {
        &self.data.settings
    }

    /// The PCRs that a quote must select, exactly (row Q6).
    pub fn pcr_selection(&self) -> PcrSelection {
        self.data.settings.pcr_selection.clone()
    }
}

/// Checks the shape of all files of one kind.
pub(crate) fn read_sources(files: &BTreeMap<String, String>, purpose: Purpose) -> Result<Vec<Source<'_>>, PolicyError> {
    files.iter().filter(|(path, _)| *path != DATA_FILE).map(|(path, text)| Source::read(path, text, purpose)).collect()
}

/// Checks number, size and names of files before anything is read from them.
pub(crate) fn check_caps(files: &BTreeMap<String, String>) -> Result<(), PolicyError> {
    check_cap("the number of files", files.len(), FILES)?;
    check_cap("the bundle's bytes", files.values().map(String::len).sum(), BUNDLE_BYTES)?;
    for (path, text) in files {
        check_path(path)?;
        check_cap(&format!("{path}, bytes"), text.len(), FILE_BYTES)?;
    }
    Ok(())
}

pub(crate) fn check_cap(what: &str, actual: usize, limit: usize) -> Result<(), PolicyError> {
    if actual > limit {
        return Err(PolicyError::TooLarge { what: what.to_owned(), actual, limit });
    }
    Ok(())
}

pub(crate) fn is_test(path: &str) -> bool {
    path.ends_with("_test.rego")
}

fn path_error(path: &str, problem: &'static str) -> PolicyError {
    PolicyError::Path { path: path.chars().take(PATH_BYTES).collect(), problem }
}

fn check_path(path: &str) -> Result<(), PolicyError> {
    if path.len() > PATH_BYTES {
        return Err(path_error(path, "longer than 128 bytes"));
    }
    if path == DATA_FILE {
        return Ok(());
    }
    let part_is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
    };
    if !path.split('/').all(part_is_plain) {
        return Err(path_error(path, "lower-case letters, digits, `_`, `-` and `.`, parted by `/`"));
    }
    if path.strip_suffix(RULES_SUFFIX).is_none_or(str::is_empty) {
        return Err(path_error(path, "a bundle has *.rego files and data.json, nothing else"));
    }
    Ok(())
}

fn digest(files: &BTreeMap<String, String>) -> [u8; 32] {
    let mut message = DIGEST_TAG.to_vec();
    for (path, text) in files {
        push_length_prefixed(&mut message, path.as_bytes());
        push_length_prefixed(&mut message, text.as_bytes());
    }
    sha256(&message)
}
