//! `data.json`: the settings that every bundle has, beside the author's own tables.

use crate::error::PolicyError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use strongroom_protocol::{
    evidence::PcrSelection,
    obligations::{LONGEST_LEASE, Protection},
    requirements::{GpuRequirements, Registers, SnpRequirements, TdxRequirements},
    unambiguous,
};

/// Top-level key of `data.json` that rules live under; a bundle's data may not reach into it.
pub(crate) const RULES_ROOT: &str = "strongroom";

/// `data.json`. Other top-level keys are the author's own tables, read in Rego as `data.<key>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BundleData {
    /// What the vault itself and the baseline read.
    pub settings: Settings,
    /// The author's own tables.
    #[serde(flatten)]
    pub tables: Map<String, Value>,
}

/// Settings of a policy. Unknown fields are refused: a misspelt limit must not be a missing limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The PCRs that a quote must select, exactly; the vault tells clients and checks quotes by it.
    pub pcr_selection: PcrSelection,
    /// Seconds that a lease lives, 1 to 604,800.
    #[schemars(range(min = 1, max = 604_800))]
    pub lease_seconds: u64,
    /// Seconds after which the holder proves possession.
    pub renew_after: u64,
    /// Seconds after which only fresh evidence prolongs the lease.
    pub reattest_after: u64,
    /// Live leases that one node may hold.
    pub max_leases_per_node: u32,
    /// Live leases of one asset, where the asset has no number of its own.
    pub max_leases_per_asset: u32,
    /// Objects that one request may name for one asset.
    pub max_objects_per_key: u32,
    /// Assets whose whole key version may be read, beside those labelled `version_scope: allowed`.
    pub version_scope_assets: BTreeSet<String>,
    /// Whether a holder may write plaintext to a disk on the user's explicit wish.
    pub plaintext_to_disk: bool,
    /// Protections that every holder must have.
    pub handling: BTreeSet<Protection>,
    /// Which logs have to come with a quote; the vault itself keeps to it, before any rule is asked.
    #[serde(default)]
    pub logs: LogSettings,
    /// What is asked of every report of SEV-SNP, Azure's with it; the verifier keeps to it, before any rule is asked.
    #[serde(default)]
    pub snp: SnpRequirements,
    /// What is asked of every quote of TDX, likewise.
    #[serde(default)]
    pub tdx: TdxRequirements,
    /// What is asked of every report of an NVIDIA GPU, likewise.
    #[serde(default)]
    pub gpu: GpuRequirements,
}

/// What the vault asks of the logs beside a quote. What is left out is as strict as can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The firmware's boot log. Where it is `optional` and missing, `input.claims.boot` is null.
    pub boot: Need,
    /// The kernel's IMA log, which is read only if PCR 10 is selected. Where it is `optional` and missing,
    /// `input.claims.ima` is null.
    pub ima: Need,
    /// Files that were written while IMA measured them: what ran is not known.
    pub violations: Violations,
}

/// Whether something has to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Without it nothing is released.
    #[default]
    Required,
    /// It may be missing. If it is there, it has to be right.
    Optional,
}

/// What becomes of an IMA log that shows violations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Violations {
    /// The log is refused (row L8).
    #[default]
    Refused,
    /// They are counted in `input.claims.ima.violations`, for rules to judge.
    Allowed,
}

impl BundleData {
    /// Reads and checks the text of `data.json`. Keys that are given twice are refused.
    pub(crate) fn parse(text: &str) -> Result<(Self, Value), PolicyError> {
        let wrong = |problem: String| PolicyError::Data { problem };
        let value = unambiguous::from_slice(text.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        let data: Self = Self::deserialize(&value).map_err(|e| wrong(e.to_string()))?;
        if data.tables.contains_key(RULES_ROOT) {
            return Err(wrong(format!("the key {RULES_ROOT:?} belongs to rules; name the table otherwise")));
        }
        data.settings.check().map_err(wrong)?;
        Ok((data, value))
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        if self.pcr_selection.bitmap().is_none() {
            return Err("settings.pcr_selection.pcrs: indices 0 to 23, ascending, at least one".to_owned());
        }
        self.check_hardware()?;
        let ordered = 1 <= self.renew_after
            && self.renew_after <= self.reattest_after
            && self.reattest_after <= self.lease_seconds
            && self.lease_seconds <= LONGEST_LEASE;
        if !ordered {
            return Err(format!(
                "settings: 1 <= renew_after <= reattest_after <= lease_seconds <= {LONGEST_LEASE} does not hold"
            ));
        }
        Ok(())
    }

    /// Requirements that no machine could meet, and so nobody can have meant.
    fn check_hardware(&self) -> Result<(), String> {
        if let Some(bit) = self.snp.mitigations.iter().find(|bit| **bit > 63) {
            return Err(format!("settings.snp.mitigations: {bit} is no bit of a vector of 64"));
        }
        if let Some(register) = self.tdx.rtmrs.keys().find(|register| **register > 3) {
            return Err(format!("settings.tdx.rtmrs: there is no RTMR{register}, they are 0 to 3"));
        }
        // What was not measured is zeros: they name no software.
        let zeros = [0; 48];
        if self.snp.paravisors.iter().any(|measured| measured.0 == zeros) {
            return Err("settings.snp.paravisors: zeros are the measurement of nothing; leave them out".to_owned());
        }
        if self.tdx.mrtd != Registers::Any && self.tdx.mrtd.accept(&zeros) {
            return Err("settings.tdx.mrtd: zeros are the measurement of nothing; leave them out".to_owned());
        }
        let listed = |empty: bool, name: &str, remedy: &str| {
            if empty { Err(format!("settings.{name} is empty, so that nothing is accepted; {remedy}")) } else { Ok(()) }
        };
        listed(self.tdx.tcb_statuses.is_empty(), "tdx.tcb_statuses", "leave it out to accept UpToDate")?;
        listed(self.gpu.modes.is_empty(), "gpu.modes", "leave it out to accept encrypted links")
    }
}

/// JSON schema (2020-12) of `data.json`, as `policies/data.schema.json` holds it.
pub fn data_schema() -> Value {
    crate::sorted(schemars::schema_for!(BundleData).to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../policies/baseline/data.json");

    fn refused(from: &str, to: &str) -> String {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        BundleData::parse(&text).unwrap_err().to_string()
    }

    #[test]
    fn the_baselines_settings_are_read() {
        let (data, value) = BundleData::parse(GOOD).unwrap();
        assert_eq!(value["settings"]["lease_seconds"], data.settings.lease_seconds);
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let text = refused("\"plaintext_to_disk\": false", "\"plaintext_to_disk\": false, \"plaintext_to_disk\": true");
        assert!(text.contains("\"plaintext_to_disk\" is given twice"), "{text}");
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        assert!(refused("\"renew_after\"", "\"renew_affter\"").contains("renew_affter"));
    }

    #[test]
    fn data_may_not_define_what_rules_define() {
        let text = refused("\"settings\"", "\"strongroom\": {\"release\": {\"allow\": true}}, \"settings\"");
        assert!(text.contains("belongs to rules"), "{text}");
    }

    #[test]
    fn logs_that_are_not_spoken_of_are_required() {
        let with = |logs: &str| {
            let (before, from) = GOOD.split_once(",\n    \"logs\": {").unwrap();
            let (_, after) = from.split_once('}').unwrap();
            BundleData::parse(&format!("{before}{logs}{after}")).map(|(data, _)| data.settings.logs)
        };
        let strict = LogSettings { boot: Need::Required, ima: Need::Required, violations: Violations::Refused };
        assert_eq!(with("").unwrap(), strict);
        assert_eq!(with(", \"logs\": {}").unwrap(), strict);
        assert_eq!(with(", \"logs\": {\"ima\": \"optional\"}").unwrap(), LogSettings { ima: Need::Optional, ..strict });
        let lax = ", \"logs\": {\"boot\": \"optional\", \"violations\": \"allowed\"}";
        let (boot, violations) = (Need::Optional, Violations::Allowed);
        assert_eq!(with(lax).unwrap(), LogSettings { boot, violations, ..strict });
        assert!(with(", \"logs\": {\"boot\": \"optionel\"}").is_err());
        assert!(with(", \"logs\": {\"bot\": \"optional\"}").is_err());
    }

    fn with(settings: &str) -> Result<Settings, String> {
        let text = GOOD.replacen("\"lease_seconds\"", &format!("{settings}, \"lease_seconds\""), 1);
        assert_ne!(text, GOOD);
        BundleData::parse(&text).map(|(data, _)| data.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn hardware_that_is_not_spoken_of_is_held_to_the_strictest() {
        let (data, _) = BundleData::parse(GOOD).unwrap();
        let Settings { snp, tdx, gpu, .. } = data.settings;
        assert_eq!(snp, SnpRequirements::default());
        assert_eq!(tdx, TdxRequirements::default());
        assert_eq!(gpu, GpuRequirements::default());
        let all = r#""snp": {"minimum_tcb": {"genoa": {"reported": {"snp": 28}}}, "refused_products": ["milan"]},
            "tdx": {"rtmrs": {"1": "any"}}, "gpu": {"not_devtools": "measurements"}"#;
        let Settings { snp, tdx, gpu, .. } = with(all).unwrap();
        assert_eq!(snp.minimum_tcb.values().map(|minimum| minimum.reported.snp).collect::<Vec<_>>(), [28]);
        assert!(!snp.refused_products.is_empty() && tdx.rtmrs.contains_key(&1) && gpu.manifests);
    }

    #[test]
    fn requirements_that_nothing_can_meet_are_refused() {
        let zeros = "00".repeat(48);
        for (settings, problem) in [
            (r#""snp": {"mitigations": [64]}"#, "64 is no bit"),
            (r#""snp": {"minimum_tbc": {}}"#, "minimum_tbc"),
            (r#""snp": {"refused_products": ["Milan"]}"#, "Milan"),
            (r#""snp": {"minimum_tcb": {"genoa": {"reported": {"snp": 256}}}}"#, "256"),
            (r#""tdx": {"rtmrs": {"4": "zero"}}"#, "no RTMR4"),
            (r#""tdx": {"rtmrs": {"1": {"one_of": ["AB"]}}}"#, "96 lower-case"),
            (r#""tdx": {"tcb_statuses": []}"#, "nothing is accepted"),
            (r#""gpu": {"modes": []}"#, "nothing is accepted"),
            (&format!(r#""snp": {{"paravisors": ["{zeros}"]}}"#), "measurement of nothing"),
            (r#""tdx": {"mrtd": "zero"}"#, "measurement of nothing"),
            (&format!(r#""tdx": {{"mrtd": {{"one_of": ["{zeros}"]}}}}"#), "measurement of nothing"),
        ] {
            let refused = with(settings).unwrap_err();
            assert!(refused.contains(problem), "{settings}: {refused}");
        }
        for settings in [r#""snp": {"mitigations": [0, 63]}"#, r#""tdx": {"rtmrs": {"0": "zero", "3": "any"}}"#] {
            with(settings).unwrap();
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(refused("\"renew_after\": 60", "\"renew_after\": 0").contains("does not hold"));
        assert!(refused("\"lease_seconds\": 3600", "\"lease_seconds\": 604801").contains("does not hold"));
        assert!(refused("\"pcrs\": [0,", "\"pcrs\": [0, 0,").contains("ascending"));
    }
}
