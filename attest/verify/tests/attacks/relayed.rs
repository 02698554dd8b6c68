//! Evidence of one request, shown for another: other keys, another caller, another way of collection, another kind.

use super::*;
use std::collections::BTreeSet;
use strongroom_hardware::snp::{Leaf, Product};
use strongroom_protocol::binding::{
    TAG_ENROL, TAG_NVIDIA, TAG_NVIDIA_AGENT, TAG_SNP, TAG_SNP_AGENT, TAG_TDX, TAG_TDX_AGENT, TAG_TPM, TAG_TPM_AGENT,
    gpu_nonce, report_data, tpm_extra_data,
};

const STATEMENT: &[u8] = br#"{"public_key":"the job's"}"#;
const CALLER: &[u8] = br#"{"executable":"the job's"}"#;

/// Tag, statement, caller.
type Request<'a> = (&'a str, &'a [u8], Option<&'a [u8]>);

/// A request as an attacker would rather have it: with his key, without a caller, for another, under another tag.
fn others<'a>(tag: &'a str, tags: &[&'a str]) -> Vec<Request<'a>> {
    let mut others: Vec<Request<'a>> = vec![
        (tag, br#"{"public_key":"another"}"#, Some(CALLER)),
        (tag, STATEMENT, Some(br#"{"executable":"another"}"#)),
        (tag, STATEMENT, Some(b"")),
        (tag, STATEMENT, None),
    ];
    others.extend(tags.iter().filter(|other| **other != tag).map(|other| (*other, STATEMENT, Some(CALLER))));
    others
}

const TAGS: [&str; 9] =
    [TAG_TPM, TAG_TPM_AGENT, TAG_SNP, TAG_SNP_AGENT, TAG_TDX, TAG_TDX_AGENT, TAG_NVIDIA, TAG_NVIDIA_AGENT, TAG_ENROL];

#[test]
fn s9_a_report_that_binds_another_request_is_refused() {
    for tag in [TAG_SNP, TAG_SNP_AGENT] {
        let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
        snp.report.report_data = report_data(tag, STATEMENT, Some(CALLER));
        let strict = SnpRequirements::default();
        judge_snp(&snp, report_data(tag, STATEMENT, Some(CALLER)), &strict).unwrap();
        for (tag, statement, caller) in others(tag, &TAGS) {
            let refused = judge_snp(&snp, report_data(tag, statement, caller), &strict).unwrap_err();
            assert!(matches!(refused, SnpRefused::S9ReportData { .. }), "{tag}: {refused}");
            // Not a denial of the machine: whoever relays it is not known.
            assert!(!refused.is_signed_for_this_request());
        }
    }
}

#[test]
fn t1_a_quote_that_binds_another_request_or_what_a_report_of_sev_snp_binds_is_refused() {
    for tag in [TAG_TDX, TAG_TDX_AGENT] {
        let mut tdx = Tdx::default();
        tdx.quote.body.report_data = report_data(tag, STATEMENT, Some(CALLER));
        judge_tdx(&tdx, report_data(tag, STATEMENT, Some(CALLER))).unwrap();
        for (tag, statement, caller) in others(tag, &TAGS) {
            let refused = judge_tdx(&tdx, report_data(tag, statement, caller)).unwrap_err();
            assert!(matches!(refused, TdxRefused::T1ReportData { .. }), "{tag}: {refused}");
            assert!(!refused.is_signed_for_this_request());
        }
    }
}

#[test]
fn g1_a_gpus_report_for_the_request_of_another_node_is_refused() {
    let mut gpu = Gpu::default();
    gpu.report.nonce = gpu_nonce(TAG_NVIDIA_AGENT, STATEMENT, Some(CALLER));
    judge_gpu(&gpu, gpu_nonce(TAG_NVIDIA_AGENT, STATEMENT, Some(CALLER))).unwrap();
    for (tag, statement, caller) in others(TAG_NVIDIA_AGENT, &TAGS) {
        let refused = judge_gpu(&gpu, gpu_nonce(tag, statement, caller)).unwrap_err();
        assert!(matches!(refused, GpuRefused::G1Nonce { .. }), "{tag}: {refused}");
        assert!(!refused.is_signed_for_this_request());
    }
}

#[test]
fn s12_q3_a_quote_of_azures_vtpm_for_another_request_is_refused() {
    let mut machine = Azure::default();
    machine.quote.extra_data = tpm_extra_data(TAG_TPM_AGENT, STATEMENT, Some(CALLER)).to_vec();
    judge_azure(&machine, &machine, tpm_extra_data(TAG_TPM_AGENT, STATEMENT, Some(CALLER))).unwrap();
    for (tag, statement, caller) in others(TAG_TPM_AGENT, &TAGS) {
        let refused = judge_azure(&machine, &machine, tpm_extra_data(tag, statement, caller)).unwrap_err();
        assert_eq!(refused.row(), "Q3", "{tag}");
        assert!(!refused.is_signed_for_this_request());
    }
}

/// What makes the tests above more than examples: no two purposes ever bind the same bytes.
#[test]
fn no_tag_begins_another_with_the_same_bytes_behind_it() {
    let hashed = |tag: &&str| {
        let bound = report_data(tag, STATEMENT, Some(CALLER));
        (bound.to_vec(), gpu_nonce(tag, STATEMENT, Some(CALLER)).to_vec())
    };
    assert_eq!(TAGS.iter().map(hashed).collect::<BTreeSet<_>>().len(), TAGS.len());
    // The tag ends with a zero byte, which none contains.
    assert!(TAGS.iter().all(|tag| !tag.contains('\0')));
    // Without a caller is not the same as with an empty one, nor with one whose hash is zero.
    assert_ne!(report_data(TAG_SNP, STATEMENT, None), report_data(TAG_SNP, STATEMENT, Some(b"")));
}
