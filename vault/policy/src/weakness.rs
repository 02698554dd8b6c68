//! What a bundle lets through that the bundles which ship do not: said to whoever writes, proposes or approves it.
//!
//! Nothing here refuses. A site may have its reasons; what must not be is that nobody was told. What cannot have been
//! meant at all is refused when the settings are read.

mod hardware;

use crate::{
    bundle::Bundle,
    settings::{LogSettings, Need, Settings, Violations},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, fmt};
use strongroom_protocol::obligations::Protection;

/// Seconds of a day: older evidence says little of what runs now.
const DAY: u64 = 86_400;

/// Protections that every bundle which ships asks of a holder.
const PROTECTIONS: [Protection; 4] =
    [Protection::NoSwap, Protection::NoCoreDump, Protection::NoInheritance, Protection::ZeroOnEnd];

/// PCRs without which a quote does not say what firmware, boot loader and Secure Boot were.
const BOOT_PCRS: [u8; 3] = [0, 4, 7];

/// Kinds of evidence, by the words that rules read their claims by.
const KINDS: [&str; 5] = ["tpm", "snp", "tdx", "azure", "gpus"];

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Something is released that the bundles which ship refuse.
    Weakens,
    /// Worth knowing, and in the bundles which ship as well.
    Notice,
}

/// One thing that a bundle lets through, or that its reader should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weakness {
    /// Its name, for programs: it does not change with the words.
    pub name: &'static str,
    /// What comes of it.
    pub effect: Effect,
    /// Where it stands: a setting, such as `settings.snp.allow_vlek`, or a rule.
    pub at: String,
    /// What it means, and what to do.
    pub says: String,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.at, self.name, self.says)
    }
}

/// Which kinds of evidence the rules of a bundle read.
#[derive(Debug)]
struct Read<'a>(&'a BTreeMap<String, String>);

impl Read<'_> {
    /// Whether a word stands in a rule.
    fn of(&self, wanted: &str) -> bool {
        self.code().any(|line| {
            let apart = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            line.split(apart).any(|word| word == wanted)
        })
    }

    /// Whether some rule may release.
    fn releases(&self) -> bool {
        let shut = |rest: &str| rest.trim_start().trim_start_matches([':', '=', ' ']).trim() == "false";
        self.code().any(|line| line.strip_prefix("allow").is_some_and(|rest| !shut(rest)))
    }

    /// The lines of all rules, without comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        let rules = self.0.iter().filter(|(path, _)| path.ends_with(crate::bundle::RULES_SUFFIX));
        rules.flat_map(|(_, text)| text.lines()).filter(|line| !line.trim_start().starts_with('#'))
    }
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Weakness>);

impl Found {
    fn weakens(&mut self, name: &'static str, at: &str, says: impl Into<String>) {
        self.0.push(Weakness { name, effect: Effect::Weakens, at: at.to_owned(), says: says.into() });
    }

    fn notice(&mut self, name: &'static str, at: &str, says: impl Into<String>) {
        self.0.push(Weakness { name, effect: Effect::Notice, at: at.to_owned(), says: says.into() });
    }
}

/// What a bundle lets through, in the order of its settings. Settings of a kind of hardware are looked at where a rule
/// reads claims of that kind, or the bundle has settings for it.
pub fn weaknesses(bundle: &Bundle) -> Vec<Weakness> {
    let read = Read(bundle.files());
    let given = |name: &str| bundle.data().pointer(&format!("/settings/{name}")).is_some();
    let mut found = Found::default();
    if !read.releases() {
        return found.0;
    }
    if !KINDS.iter().any(|kind| read.of(kind)) {
        let says = "no rule reads claims of any evidence: every node whose evidence verifies is released to, \
                    whatever it runs";
        found.weakens("no_evidence_read", "release.rego", says);
    }
    holding(bundle.settings(), &mut found);
    if read.of("tpm") || read.of("azure") {
        quotes(bundle.settings(), &mut found);
    }
    if read.of("snp") || read.of("azure") || given("snp") {
        hardware::snp(&bundle.settings().snp, read.of("azure"), &mut found);
    }
    if read.of("tdx") || given("tdx") {
        let rules_hold_registers = read.of("rtmr1") && read.of("rtmr2");
        hardware::tdx(&bundle.settings().tdx, rules_hold_registers, &mut found);
    }
    if read.of("gpus") || given("gpu") {
        hardware::gpu(&bundle.settings().gpu, &mut found);
    }
    // The tiers' own table, which their rules read beside the settings.
    for (product, asked) in bundle.data().get("platform").and_then(Value::as_object).into_iter().flatten() {
        if read.of("platform") && asked.as_array().is_some_and(Vec::is_empty) {
            let says = "nothing is asked of the platform's setup";
            found.weakens("platform_not_asked", &format!("platform.{product}"), says);
        }
    }
    found.0
}

/// What the holder of a key may do with it, and for how long.
fn holding(settings: &Settings, found: &mut Found) {
    if settings.reattest_after > DAY {
        let says = format!(
            "a lease lives {} seconds on one look at the machine: what was changed meanwhile is not seen",
            settings.reattest_after
        );
        found.weakens("evidence_may_be_old", "settings.reattest_after", says);
    }
    if !settings.version_scope_assets.is_empty() {
        let assets: Vec<&str> = settings.version_scope_assets.iter().map(String::as_str).collect();
        let says = format!("whoever may open one object of these gets the key of all: {}", assets.join(", "));
        found.weakens("whole_versions", "settings.version_scope_assets", says);
    }
    if settings.plaintext_to_disk {
        let says = "a holder may write plaintext to a disk, where no lease ends it";
        found.weakens("plaintext_to_disk", "settings.plaintext_to_disk", says);
    }
    let missing: Vec<String> = PROTECTIONS
        .iter()
        .filter(|protection| !settings.handling.contains(protection))
        .filter_map(|protection| serde_json::to_value(protection).ok()?.as_str().map(str::to_owned))
        .collect();
    if !missing.is_empty() {
        let says = format!("holders need not keep {}", missing.join(", "));
        found.weakens("handling_incomplete", "settings.handling", says);
    }
}

/// What a TPM's quote and the logs beside it have to show.
fn quotes(settings: &Settings, found: &mut Found) {
    let pcrs = &settings.pcr_selection.pcrs;
    let missing: Vec<String> = BOOT_PCRS.iter().filter(|pcr| !pcrs.contains(pcr)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        let says = format!(
            "PCRs {} are not quoted: nothing shows which firmware, boot loader or keys of Secure Boot there were",
            missing.join(", ")
        );
        found.weakens("boot_not_quoted", "settings.pcr_selection.pcrs", says);
    }
    let LogSettings { boot, ima, violations } = settings.logs;
    if boot == Need::Optional {
        let says = "a node need not show what its PCRs were extended by; claims of the boot are null then";
        found.weakens("boot_log_optional", "settings.logs.boot", says);
    }
    // IMA's log is looked at where its PCR is quoted.
    if pcrs.contains(&10) && ima == Need::Optional {
        let says = "a node need not show which programs it ran";
        found.weakens("ima_log_optional", "settings.logs.ima", says);
    }
    if pcrs.contains(&10) && violations == Violations::Allowed {
        let says = "programs that were written while they were measured pass, unless a rule counts them";
        found.weakens("ima_violations_allowed", "settings.logs.violations", says);
    }
}

#[cfg(test)]
mod tests;
