use super::*;
use crate::load_dir;
use serde_json::{Value, json};
use std::path::Path;

/// A bundle that ships, with settings put in at these places.
fn bundle(name: &str, changes: &[(&str, Value)]) -> Bundle {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = load_dir(&policies.join(name)).unwrap().files;
    let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
    for (place, value) in changes {
        let (parent, member) = place.rsplit_once('/').unwrap();
        data.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(member.to_owned(), value.clone());
    }
    files.insert("data.json".to_owned(), data.to_string());
    Bundle::from_files(files).unwrap()
}

fn weakened(name: &str, changes: &[(&str, Value)]) -> Vec<&'static str> {
    let found = weaknesses(&bundle(name, changes));
    found.into_iter().filter(|found| found.effect == Effect::Weakens).map(|found| found.name).collect()
}

#[test]
fn what_ships_is_not_weak_and_says_what_is_worth_knowing() {
    for (name, notices) in [
        ("closed", &[][..]),
        ("baseline", &[]),
        ("tier1", &[]),
        ("tier2", &["azure_without_paravisors", "tdx_registers_unnamed"]),
        (
            "tier3",
            &["azure_without_paravisors", "tdx_registers_unnamed", "gpu_devtools_by_measurements", "gpu_manifests_any"],
        ),
    ] {
        let found = weaknesses(&bundle(name, &[]));
        let named: Vec<&str> = found.iter().map(|found| found.name).collect();
        assert_eq!(named, notices, "{name}");
        assert!(found.iter().all(|found| found.effect == Effect::Notice), "{name}");
    }
}

/// Each change alone is told by its name, and by no other.
#[test]
fn each_setting_that_is_weakened_is_named() {
    let zero = json!({ "genoa": { "reported": { "snp": 28 }, "committed": { "snp": 28 } } });
    let milan = json!({ "milan": { "reported": { "snp": 1 }, "committed": { "snp": 1 }, "launch": { "snp": 1 } } });
    for (name, place, value, expected) in [
        ("baseline", "/settings/lease_seconds", json!(604_800), &[][..]),
        ("baseline", "/settings/version_scope_assets", json!(["minilm"]), &["whole_versions"]),
        ("baseline", "/settings/plaintext_to_disk", json!(true), &["plaintext_to_disk"]),
        (
            "baseline",
            "/settings/handling",
            json!(["no_swap", "no_core_dump", "no_inheritance"]),
            &["handling_incomplete"],
        ),
        ("baseline", "/settings/pcr_selection/pcrs", json!([0, 2, 4, 5]), &["boot_not_quoted"]),
        ("baseline", "/settings/logs/boot", json!("optional"), &["boot_log_optional"]),
        // PCR 10 is not quoted here: IMA's log is not looked at.
        ("baseline", "/settings/logs/ima", json!("optional"), &[]),
        ("tier2", "/settings/snp/minimum_tcb", json!({}), &["snp_minimum_missing"]),
        ("tier2", "/settings/snp/minimum_tcb", json!({ "genoa": {} }), &["snp_minimum_zero"]),
        ("tier2", "/settings/snp/minimum_tcb", zero, &["snp_minimum_zero"]),
        ("tier2", "/settings/snp/refused_products", json!([]), &[]),
        ("tier2", "/settings/snp/allow_missing_crl", json!(true), &["snp_revocation_optional"]),
        ("tier2", "/settings/snp/allow_vlek", json!(true), &["snp_vlek_allowed"]),
        ("tier2", "/settings/snp/vmpl", json!(1), &["snp_privilege_level"]),
        ("tier2", "/settings/snp/alias_check_complete", json!(false), &["snp_alias_check_optional"]),
        ("tier2", "/settings/tdx/tcb_statuses", json!(["UpToDate", "OutOfDate"]), &["tdx_tcb_status"]),
        ("tier2", "/settings/tdx/permitted_attributes", json!(["perfmon"]), &["tdx_attributes"]),
        ("tier2", "/settings/tdx/permitted_attributes", json!(["lass"]), &[]),
        ("tier2", "/settings/tdx/permitted_xfam", json!("ffffffffffffffff"), &["tdx_xfam"]),
        ("tier2", "/settings/tdx/mr_owner", json!("any"), &["tdx_configuration_any"]),
        ("tier2", "/platform/genoa", json!([]), &["platform_not_asked"]),
        ("tier3", "/settings/gpu/modes", json!(["single", "protected-pcie"]), &["gpu_links_in_the_clear"]),
        ("tier3", "/settings/gpu/manifests", json!(false), &["gpu_manifests_optional"]),
        ("tier3", "/settings/gpu/revocation_max_age", Value::Null, &["gpu_revocation_optional"]),
        ("tier3", "/settings/gpu/revocation_max_age", json!(8_640_000), &["gpu_revocation_old"]),
    ] {
        assert_eq!(weakened(name, &[(place, value.clone())]), expected, "{name}, {place} = {value}");
    }
    let milan = [("/settings/snp/minimum_tcb", milan), ("/settings/snp/refused_products", json!([]))];
    assert_eq!(weakened("tier2", &milan), ["snp_milan_accepted"]);
    let days = [("/settings/lease_seconds", json!(604_800)), ("/settings/reattest_after", json!(172_800))];
    assert_eq!(weakened("baseline", &days), ["evidence_may_be_old"]);
    let ima = [
        ("/settings/pcr_selection/pcrs", json!([0, 4, 7, 10])),
        ("/settings/logs", json!({ "ima": "optional", "violations": "allowed" })),
    ];
    assert_eq!(weakened("baseline", &ima), ["ima_log_optional", "ima_violations_allowed"]);
    // Of settings that no rule of the bundle is about, nothing is said; of such that it has, it is.
    assert_eq!(weakened("tier1", &[("/settings/snp", json!({ "allow_vlek": true }))]).len(), 4);
}

#[test]
fn rules_that_look_at_no_evidence_are_named() {
    let whole = |rules: &str| {
        let mut files = bundle("baseline", &[]).files().clone();
        files.insert("release.rego".to_owned(), format!("package strongroom.release\n\n{rules}"));
        Bundle::from_files(files)
            .map(|bundle| weaknesses(&bundle).into_iter().map(|found| found.name).collect::<Vec<_>>())
    };
    let rest = "deny := set()\n\nobligations := {}\n";
    assert_eq!(whole(&format!("# Reads input.claims.tpm.\nallow := true\n\n{rest}")).unwrap(), ["no_evidence_read"]);
    assert_eq!(whole(&format!("allow if input.claims.tpm.safe\n\n{rest}")).unwrap(), [""; 0]);
    assert_eq!(whole(&format!("allow := false\n\n{rest}")).unwrap(), [""; 0]);
    // A guest of TDX whose registers no rule reads may have booted anything.
    let tdx = format!("allow if input.claims.tdx.tcb.status == \"UpToDate\"\n\n{rest}");
    assert_eq!(whole(&tdx).unwrap(), ["tdx_registers_unnamed"]);
}
