//! A test that cannot fail shows nothing: with each condition of a tier made weaker, some test of its own must fail.

use super::{TIERS, text, tier};
use strongroom_policy::{Outcome, test_bundle};

fn weaken(name: &str, part: &str, pairs: &[(&str, &str)]) {
    let sources = tier(name);
    let rules = &sources.files["release.rego"];
    let of_tier = text(&format!("tiers/{part}.rego"));
    for (from, to) in pairs {
        assert_eq!(of_tier.matches(from).count(), 1, "{part}: {from}");
        let mut files = sources.files.clone();
        files.insert("release.rego".to_owned(), rules.replace(from, to));
        let report = test_bundle(&files, &sources.tests).unwrap_or_else(|error| panic!("{from} -> {to}: {error}"));
        assert!(report.failures().any(|f| f.outcome == Outcome::Failed), "{name}: nothing noticed {from} -> {to}");
    }
}

#[test]
fn the_tests_of_tier_1_notice_each_condition_that_is_weakened() {
    weaken(
        "tier1",
        "tier1",
        &[
            ("count(explained_pcrs - shown) == 0", "count(shown) >= 0"),
            ("explained_pcrs := {0, 2, 4, 5, 7}", "explained_pcrs := {0, 2, 4, 5}"),
            ("\tinput.claims.boot.secure_boot.enabled == true\n", ""),
            ("\tinput.claims.boot.secure_boot.setup_mode == false\n", ""),
            ("dma_ok if input.claims.boot.secure_boot.dma_protection_disabled == false", "dma_ok if true"),
            ("\tinput.claims.boot.boot_path.exit_boot_services == true\n", ""),
            ("not name in tolerances_refused", "name != \"\""),
            ("\"exit_boot_services_missing\", ", ""),
            ("\"exit_boot_services_failure_missing\", ", ""),
            (", \"exit_boot_services_retry_missing\"}", "}"),
        ],
    );
}

#[test]
fn the_tests_of_tier_2_notice_each_condition_that_is_weakened() {
    weaken(
        "tier2",
        "tier2",
        &[
            ("\tcount(guests) == 1\n", ""),
            ("\tis_null(object.get(input.claims, \"tpm\", null))\n", ""),
            ("guest_ok if guest in {\"azure\", \"snp\", \"tdx\"}", "guest_ok if true"),
            ("clock_ok if guest_ok", "clock_ok if false"),
            ("selection_ok if guest in {\"snp\", \"tdx\"}", "selection_ok if guest in {\"azure\", \"snp\", \"tdx\"}"),
            ("\tinput.claims.azure.pcr_bank == data.settings.pcr_selection.bank\n", ""),
            (
                "quoted == {index | some index in data.settings.pcr_selection.pcrs}\n}\n\ncaller_measured_ok",
                "count(quoted) > 0\n}\n\ncaller_measured_ok",
            ),
            ("caller_measured_ok if guest in {\"snp\", \"tdx\"}", "caller_measured_ok if guest_ok"),
            (
                "\tguest == \"snp\"\n\treport.measurement in reference.snp\n",
                "\tguest == \"snp\"\n\tcount(reference.snp) > 0\n",
            ),
            ("\tinput.claims.tdx.guest.mrtd in reference.tdx\n", "\tcount(reference.tdx) > 0\n"),
            (
                "\tguest == \"azure\"\n\treport.measurement in reference.snp\n",
                "\tguest == \"azure\"\n\tcount(reference.snp) > 0\n",
            ),
            ("\treference.bank == input.claims.azure.pcr_bank\n", ""),
            (
                "\tcount(reference.pcrs) > 0\n\tobject.subset(input.claims.azure.pcrs",
                "\tobject.subset(input.claims.azure.pcrs",
            ),
            ("\tobject.subset(input.claims.azure.pcrs, reference.pcrs)\n", ""),
            ("key_kind_ok if report.signing_key == \"vcek\"", "key_kind_ok if is_string(report.signing_key)"),
            ("\tasked_of_snp.allow_vlek == true\n", ""),
            ("\tasked_of_snp.allow_missing_crl == true\n", ""),
            (
                "privilege_ok if report.vmpl == object.get(asked_of_snp, \"vmpl\", 0)",
                "privilege_ok if report.vmpl <= object.get(asked_of_snp, \"vmpl\", 0)",
            ),
            ("\tnot report.product in object.get(asked_of_snp, \"refused_products\", [])\n", ""),
            ("tcbs := [\"reported\", \"committed\", \"launch\"]", "tcbs := [\"reported\", \"committed\"]"),
            ("minimum[which][part] > 0", "minimum[which][part] >= 0"),
            ("some part in [\"fmc\", \"boot_loader\"", "some part in [\"boot_loader\""),
            ("version >= least", "version >= least - 1"),
            ("\tis_null(version)\n\tleast == 0\n", "\tis_null(version)\n"),
            ("\tminimum_ok\n\tcount(below) == 0\n", "\tminimum_ok\n"),
            ("report.platform[name] == true", "is_boolean(report.platform[name])"),
            ("platform_has(\"smt_off\") if report.platform.smt == false", "platform_has(\"smt_off\") if true"),
            ("default platform_asked := null", "default platform_asked := []"),
            (
                "input.claims.tdx.tcb.status in object.get(asked_of_tdx, \"tcb_statuses\", [\"UpToDate\"])",
                "is_string(input.claims.tdx.tcb.status)",
            ),
            ("\tinput.claims.tdx.guest.rtmr1 in asked_of_tdx.rtmrs[\"1\"].one_of\n", ""),
            ("\tinput.claims.tdx.guest.rtmr2 in asked_of_tdx.rtmrs[\"2\"].one_of\n", ""),
        ],
    );
}

#[test]
fn the_tests_of_tier_3_notice_each_condition_that_is_weakened() {
    weaken(
        "tier3",
        "tier3",
        &[
            ("; identity.kind == \"nvidia-gpu\"}", "}"),
            ("\tcount(gpus) > 0\n", ""),
            ("\tcount(gpus) == count(recorded_gpus)\n", ""),
            ("\t{gpu.device | some gpu in gpus} == recorded_gpus\n", ""),
            ("\tgpu.mode in gpu_modes\n", ""),
            ("\tclear_links_ok(gpu)\n", ""),
            ("clear_links_ok(gpu) if gpu.protected_pcie in {false, null}", "clear_links_ok(gpu) if true"),
            ("gpu.devtools_off in {\"guest\", \"measurements\"}", "gpu.devtools_off"),
            ("\tgpu.manifests.driver.compared > 0\n", ""),
            ("\tgpu.manifests.vbios.compared > 0\n", ""),
            (
                "gpu_revocation_ok(gpu) if gpu.revocation_checked == true",
                "gpu_revocation_ok(gpu) if is_boolean(gpu.revocation_checked)",
            ),
        ],
    );
}

/// Each rule that has to be proved is a reason to refuse where it is not.
#[test]
fn no_condition_of_a_tier_is_without_a_denial() {
    for part in TIERS {
        let rules = text(&format!("tiers/{part}.rego"));
        let proved =
            rules.lines().filter(|line| !line.starts_with('\t')).filter_map(|line| line.split(' ').next()).filter(
                |word| {
                    let name = word.split('(').next().unwrap_or_default();
                    name.ends_with("_ok")
                        && !["clear_links_ok", "clock_ok", "selection_ok", "caller_measured_ok"].contains(&name)
                },
            );
        for rule in proved {
            assert!(rules.contains(&format!("\tnot {rule}\n")), "{part}: nothing is denied where {rule} is not proved");
        }
    }
}
