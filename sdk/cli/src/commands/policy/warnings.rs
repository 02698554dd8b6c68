//! What a bundle lets through, told to whoever writes, proposes or approves it.

use std::{fmt::Write as _, path::Path};
use strongroom_policy::{Bundle, Effect, Weakness, lacking, weaknesses};

/// What was found, by what comes of it.
pub(super) struct Warnings {
    /// The bundle lets something through that those which ship refuse.
    pub(super) warnings: Vec<Weakness>,
    /// Worth knowing, and no warning.
    pub(super) notices: Vec<Weakness>,
}

impl Warnings {
    /// Of a bundle; with the directory that it lies in, whose name may say a tier.
    pub(super) fn of(bundle: &Bundle, directory: Option<&Path>) -> Self {
        // `.` has no name of its own.
        let named = directory.and_then(|path| std::path::absolute(path).ok());
        let name = named.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        let tier = name.and_then(|name| lacking(name, bundle));
        let all = tier.into_iter().chain(weaknesses(bundle));
        let (warnings, notices) = all.partition(|found| found.effect == Effect::Weakens);
        Self { warnings, notices }
    }

    pub(super) fn any(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// A line for each.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (mark, found) in [("warning", &self.warnings), ("notice", &self.notices)] {
            for weakness in found {
                let _ = writeln!(text, "{mark}: {weakness}");
            }
        }
        text
    }
}
