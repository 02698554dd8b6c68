//! Where each attack of the threat model that evidence must stand is carried out: the tests exist, under these names.

use std::{fs, path::Path};

/// What is attempted, and the test that attempts it; in which file of this package.
const ATTACKS: [(&str, &str, &str); 31] = [
    (
        "evidence of two machines put together",
        "tests/attacks/spliced.rs",
        "e7_evidence_of_two_honest_machines_is_that_of_neither",
    ),
    (
        "fewer, more, or doubled GPUs",
        "tests/attacks/spliced.rs",
        "e7_another_number_of_gpus_than_the_record_lists_is_refused",
    ),
    (
        "GPUs of a request, by their own claims",
        "tests/nvidia/state.rs",
        "g4_exactly_the_devices_of_the_record_each_once_for_one_request",
    ),
    ("a masked chip id", "tests/attacks/spliced.rs", "e7_a_processor_that_hides_its_id_is_no_machine_of_a_record"),
    ("a masked chip id, field by field", "src/snp/tests/endorsement.rs", "s5_a_masked_chip_id_goes_with_a_vlek_only"),
    (
        "an envelope of Azure with another machine's quote",
        "tests/attacks/spliced.rs",
        "s12_q1_an_envelope_of_one_machine_with_the_quote_of_another_is_refused",
    ),
    (
        "a report relayed for another statement or caller, or without the agent's tag",
        "tests/attacks/relayed.rs",
        "s9_a_report_that_binds_another_request_is_refused",
    ),
    (
        "what SEV-SNP binds passed off as what TDX binds",
        "tests/attacks/relayed.rs",
        "t1_a_quote_that_binds_another_request_or_what_a_report_of_sev_snp_binds_is_refused",
    ),
    (
        "a GPU's report for another node's request",
        "tests/attacks/relayed.rs",
        "g1_a_gpus_report_for_the_request_of_another_node_is_refused",
    ),
    (
        "a quote of Azure's vTPM for another request",
        "tests/attacks/relayed.rs",
        "s12_q3_a_quote_of_azures_vtpm_for_another_request_is_refused",
    ),
    (
        "rolled-back reported, committed and launch TCB",
        "src/snp/tests/policy.rs",
        "s6_minima_hold_for_reported_committed_and_launch_part_by_part",
    ),
    (
        "a reported TCB above the committed, or that above the current",
        "src/snp/tests/policy.rs",
        "s6_reported_is_not_above_committed_nor_committed_above_current",
    ),
    (
        "a certificate of another TCB than the reported",
        "src/snp/tests/endorsement.rs",
        "s5_the_certificate_is_for_the_reported_tcb",
    ),
    ("rolled-back firmware of TDX", "tests/tdx/collateral.rs", "t1_the_tcb_status_is_one_that_is_accepted"),
    (
        "old data of Intel's, by which old firmware is new",
        "tests/tdx/collateral.rs",
        "t1_intels_data_are_as_new_as_required",
    ),
    (
        "a VCEK passed as a VLEK and back",
        "tests/attacks/swapped.rs",
        "s3_s5_a_vcek_is_not_taken_for_a_vlek_nor_back_however_it_is_dressed",
    ),
    (
        "a forged root of the same names",
        "tests/attacks/swapped.rs",
        "s3_a_forgers_chain_in_which_every_name_is_right_is_refused",
    ),
    (
        "a chain of another product",
        "tests/attacks/swapped.rs",
        "s2_s3_s5_a_chain_of_one_product_vouches_for_no_report_of_another",
    ),
    (
        "a forged chain of a GPU",
        "tests/attacks/swapped.rs",
        "g2_a_chain_of_a_forger_with_nvidias_names_and_serial_numbers_is_refused",
    ),
    ("a forged root of Intel's", "tests/tdx/signatures.rs", "t1_a_root_that_is_not_pinned_is_refused"),
    (
        "debugging and migration of an SEV-SNP guest",
        "src/snp/tests/policy.rs",
        "s7_debugging_and_migration_are_refused_whatever_policy_says",
    ),
    ("debugging and profiling of a TDX guest", "tests/tdx/guest.rs", "t1_a_guest_under_debug_or_profiling_is_refused"),
    (
        "migration of a TDX guest, by a service domain",
        "tests/tdx/guest.rs",
        "t1_a_guest_bound_to_a_service_domain_is_refused",
    ),
    ("a GPU in DEVTOOLS mode", "tests/nvidia/state.rs", "g5_devtools_is_never_off_by_assumption"),
    (
        "a report asked for at another level",
        "src/snp/tests/policy.rs",
        "s8_the_level_is_exactly_the_one_that_policy_names",
    ),
    (
        "a chain that was verified before, kept after its root was taken out of the pins",
        "src/snp/tests.rs",
        "s4_what_a_chain_is_kept_by_changes_with_all_that_it_was_made_from",
    ),
    (
        "an XML signature that was wrapped, moved or doubled",
        "tests/nvidia/manifests.rs",
        "g3_signatures_that_were_wrapped_moved_or_doubled_are_refused",
    ),
    ("XML bombs", "tests/nvidia/manifests.rs", "g3_bombs_are_refused_before_they_are_parsed"),
    (
        "certificate, JSON, list, log and report bombs",
        "tests/attacks/expensive.rs",
        "bombs_are_refused_by_their_rows_or_read_whole",
    ),
    (
        "one bit of a real report flipped",
        "tests/bit_flips.rs",
        "s1_s11_s12_t1_g1_g2_one_bit_flipped_in_each_signed_byte_is_refused",
    ),
    ("a revoked device", "tests/nvidia/state.rs", "g5_revoked_certificates_are_refused"),
];

#[test]
fn every_attack_has_the_test_that_carries_it_out() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (attack, file, test) in ATTACKS {
        let source = fs::read_to_string(package.join(file)).unwrap_or_default();
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "{attack}: {file} has no test {test}");
        println!("{attack}: {file}, {test}");
    }
}
