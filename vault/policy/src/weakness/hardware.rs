//! Weak settings of confidential hardware: what the verifiers let pass because a policy does not ask for it.

use super::Found;
use strongroom_protocol::{
    claims::{GpuMode, SnpProduct, TdxAttribute, TdxTcbStatus},
    requirements::{
        DevtoolsWord, GpuRequirements, MinimumTcb, MinimumTcbs, Registers, SnpRequirements, TdxRequirements,
    },
};

/// Seconds after which a list says little about revocation.
const MONTH: u64 = 31 * 86_400;

/// Row S2 to S12.
pub(super) fn snp(settings: &SnpRequirements, azure: bool, found: &mut Found) {
    if settings.minimum_tcb.is_empty() {
        let says = "firmware of any age passes, with every hole that was ever mended: name a minimum for each line of \
                    processors that you have";
        found.weakens("snp_minimum_missing", "settings.snp.minimum_tcb", says);
    }
    for (product, minimum) in &settings.minimum_tcb {
        let MinimumTcbs { reported, committed, launch } = minimum;
        let open: Vec<&str> = [("reported", reported), ("committed", committed), ("launch", launch)]
            .into_iter()
            .filter(|(_, minimum)| **minimum == MinimumTcb::default())
            .map(|(which, _)| which)
            .collect();
        if !open.is_empty() {
            let at = format!("settings.snp.minimum_tcb.{}", product.to_string().to_lowercase());
            let says = format!("the minimum of the {} TCB is zero, which every firmware reaches", open.join(" and "));
            found.weakens("snp_minimum_zero", &at, says);
        }
    }
    let accepts_milan = settings.minimum_tcb.is_empty() || settings.minimum_tcb.contains_key(&SnpProduct::Milan);
    if accepts_milan && !settings.refused_products.contains(&SnpProduct::Milan) {
        let says = "Milan is accepted, whose signing keys' seed is reported to be extractable: a report proves little";
        found.weakens("snp_milan_accepted", "settings.snp.refused_products", says);
    }
    if settings.allow_missing_crl {
        let says = "a report counts without a revocation list: keys that AMD took back pass";
        found.weakens("snp_revocation_optional", "settings.snp.allow_missing_crl", says);
    }
    if settings.allow_vlek {
        let says = "keys of a cloud provider count (VLEK): they do not say which chip signed";
        found.weakens("snp_vlek_allowed", "settings.snp.allow_vlek", says);
    }
    if settings.vmpl != 0 {
        let says = format!(
            "reports of privilege level {} count: whatever runs below it can change what asked for them",
            settings.vmpl
        );
        found.weakens("snp_privilege_level", "settings.snp.vmpl", says);
    }
    if !settings.alias_check_complete {
        let says = "the platform need not have looked for aliased memory (CVE-2024-21944): whoever has the machine may \
                    change memory modules and write to a guest";
        found.weakens("snp_alias_check_optional", "settings.snp.alias_check_complete", says);
    }
    if azure && settings.paravisors.is_empty() {
        let says =
            "rules accept Azure's machines, and no paravisor is named: the vault refuses every one of them (row S12)";
        found.notice("azure_without_paravisors", "settings.snp.paravisors", says);
    }
}

/// Row T1. `rules_hold_registers`: rules read what the guest booted, and are there to refuse where nothing is named.
pub(super) fn tdx(settings: &TdxRequirements, rules_hold_registers: bool, found: &mut Found) {
    let statuses: Vec<&str> = settings
        .tcb_statuses
        .iter()
        .filter(|status| **status != TdxTcbStatus::UpToDate)
        .map(|status| status.as_str())
        .collect();
    if !statuses.is_empty() {
        let says = format!("platforms pass that Intel calls {}", statuses.join(", "));
        found.weakens("tdx_tcb_status", "settings.tdx.tcb_statuses", says);
    }
    let watched = [TdxAttribute::Perfmon, TdxAttribute::Tpa];
    if settings.permitted_attributes.iter().any(|attribute| watched.contains(attribute)) {
        let says = "guests pass whose performance can be monitored, or that provision others";
        found.weakens("tdx_attributes", "settings.tdx.permitted_attributes", says);
    }
    if settings.permitted_xfam.0 & !TdxRequirements::default().permitted_xfam.0 != 0 {
        let says = "guests pass with more state than is usual, such as tracing";
        found.weakens("tdx_xfam", "settings.tdx.permitted_xfam", says);
    }
    let any: Vec<&str> = [
        ("mr_config_id", &settings.mr_config_id),
        ("mr_owner", &settings.mr_owner),
        ("mr_owner_config", &settings.mr_owner_config),
    ]
    .into_iter()
    .filter(|(_, registers)| **registers == Registers::Any)
    .map(|(name, _)| name)
    .collect();
    if !any.is_empty() {
        let says = format!("whoever starts a guest may put anything into {}, unless a rule reads it", any.join(", "));
        found.weakens("tdx_configuration_any", "settings.tdx", says);
    }
    let named = |register: u8| settings.rtmrs.get(&register).is_some_and(|registers| *registers != Registers::Any);
    if !(named(1) && named(2)) {
        let at = "settings.tdx.rtmrs";
        if rules_hold_registers {
            let says =
                "no boot loaders and kernels are named (RTMR1, RTMR2): the tiers' rules refuse every guest of TDX";
            found.notice("tdx_registers_unnamed", at, says);
        } else {
            let says = "no boot loader and kernel is named (RTMR1, RTMR2): MRTD is of the firmware only, so that guests \
                        pass that run anything";
            found.weakens("tdx_registers_unnamed", at, says);
        }
    }
}

/// Rows G3 and G5.
pub(super) fn gpu(settings: &GpuRequirements, found: &mut Found) {
    if settings.modes.contains(&GpuMode::ProtectedPcie) {
        let says = "GPUs pass whose links are in the clear: whoever has the machine may read them";
        found.weakens("gpu_links_in_the_clear", "settings.gpu.modes", says);
    }
    if !settings.manifests {
        let says = "a GPU's measurements need not be compared with NVIDIA's: any firmware passes";
        found.weakens("gpu_manifests_optional", "settings.gpu.manifests", says);
    }
    match settings.revocation_max_age {
        None => {
            let says = "a report counts without a word on revocation: keys that NVIDIA took back pass";
            found.weakens("gpu_revocation_optional", "settings.gpu.revocation_max_age", says);
        }
        Some(age) if age > MONTH => {
            let says = format!("lists of {} days count: what was revoked since passes", age / 86_400);
            found.weakens("gpu_revocation_old", "settings.gpu.revocation_max_age", says);
        }
        Some(_) => {}
    }
    if settings.not_devtools == DevtoolsWord::Measurements {
        let says = "that a GPU cannot be debugged is concluded from its measurements; NVIDIA does not promise it";
        found.notice("gpu_devtools_by_measurements", "settings.gpu.not_devtools", says);
    }
    if settings.manifests && settings.manifest_ids.is_none() {
        let says = "every driver and VBIOS that NVIDIA ever signed a manifest for passes: name those that you run";
        found.notice("gpu_manifests_any", "settings.gpu.manifest_ids", says);
    }
}
