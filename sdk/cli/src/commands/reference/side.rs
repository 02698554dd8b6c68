//! One side of a comparison: a set, a node, values in a file, a boot log.

use super::values;
use crate::{
    context::{Context, read_capped},
    output::Failure,
};
use std::path::{Path, PathBuf};
use strongroom::protocol::{
    NodeId,
    admin::{ReferenceState, ReferenceValues, ReferenceView},
    evidence::PcrBank,
    limits,
};

/// What an argument names.
pub(super) enum Side {
    /// Values, with what they are called, and what was wrong with their file.
    Values(String, ReferenceValues, Option<String>),
    /// A boot log, of which a bank is still to be chosen.
    Log(PathBuf, Vec<u8>),
}

impl Side {
    pub(super) fn read(context: &Context, text: &str) -> Result<Self, Failure> {
        if let Some(id) = text.strip_prefix("node:") {
            let node: NodeId =
                id.parse().map_err(|e| Failure::usage(format!("`{}`: not a node's id: {e}", text.escape_debug())))?;
            let values = context.admin()?.get(&format!("/v1/nodes/{node}/measurements"))?;
            return Ok(Self::of_vault(text.to_owned(), values));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Self::of_file(Path::new(path));
        }
        let (set, forced) = text.strip_prefix("set:").map_or((text, false), |set| (set, true));
        let (name, version) = match set.split_once('@') {
            Some((name, version)) => (name, Some(version.parse::<u32>().ok())),
            None => (set, None),
        };
        let named = strongroom::protocol::statement::check_asset_name(name).is_ok() && version != Some(None);
        // A pipe that a shell opened (`<(…)`) has a path too.
        let there = || {
            Path::new(text).is_file() || (text.contains('/') && Path::new(text).exists() && !Path::new(text).is_dir())
        };
        if !forced && there() {
            // A set's name may have dots; a file's ending has no version after it.
            if !named || (text.contains('.') && version.is_none()) {
                return Self::of_file(Path::new(text));
            }
            let text = text.escape_debug();
            let problem = format!("`{text}` may be a set or the file of this name: write set:{text} or file:{text}");
            return Err(Failure::usage(problem));
        }
        let wrong = |problem: &str| {
            Failure::usage(format!(
                "`{}`: {problem}: give NAME or NAME@VERSION of a set, node:NODE_ID, or a file",
                text.escape_debug()
            ))
        };
        if !named {
            return Err(wrong("no such file, and no name of a set"));
        }
        let sets: Vec<ReferenceView> = context.admin()?.get("/v1/references")?;
        let of_name = || sets.iter().filter(|set| set.name == name);
        let chosen = match version.flatten() {
            Some(version) => of_name().find(|set| set.version == version),
            None => of_name().find(|set| set.state == ReferenceState::InForce),
        };
        let set = chosen.ok_or_else(|| {
            wrong(if of_name().next().is_some() {
                "the set has no such version, or none that is in force"
            } else {
                "there is neither a file nor a set of this name"
            })
        })?;
        Ok(Self::of_vault(format!("{}@{}", set.name, set.version), set.values.clone()))
    }

    /// Values that the vault holds: events are kept there as they were proposed, so they are looked at here.
    fn of_vault(name: String, mut values: ReferenceValues) -> Self {
        let warning = values::without_astray(&name, &mut values);
        Self::Values(name, values, warning)
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        let bytes = read_capped(path, 4 * limits::BODY as u64)?;
        if values::is_text(&bytes) {
            let (values, warning) = values::of_bytes(path, &bytes)?;
            return Ok(Self::Values(path.display().to_string(), values, warning));
        }
        Ok(Self::Log(path.to_owned(), bytes))
    }

    /// The bank, where it is given.
    pub(super) fn bank(&self) -> Option<PcrBank> {
        match self {
            Self::Values(_, values, _) => Some(values.bank),
            Self::Log(..) => None,
        }
    }

    /// Whether it is a boot log, which says nothing of files.
    pub(super) fn is_log(&self) -> bool {
        matches!(self, Self::Log(..))
    }

    /// What was wrong with it, though not so that it could not be read.
    pub(super) fn warning(&self) -> Option<String> {
        match self {
            Self::Values(_, _, warning) => warning.clone(),
            Self::Log(..) => None,
        }
    }

    /// The values in this bank.
    pub(super) fn values(self, bank: PcrBank) -> Result<(String, ReferenceValues), Failure> {
        match self {
            Self::Values(name, values, _) => Ok((name, values)),
            Self::Log(path, bytes) => {
                let values = values::of_boot_log(&path, &bytes, bank)?;
                Ok((path.display().to_string(), values))
            }
        }
    }
}
