//! What Intel signs.

use super::*;

#[test]
fn t1_a_root_that_is_not_pinned_is_refused() {
    let tdx = Tdx::default();
    let (quote, collateral, given) = (tdx.quote(), collateral_of(&tdx), Given::default());
    let judge = |pins: &Pins| {
        let expect = Expectation {
            report_data: Some(&given.report_data),
            collateral: Some(&collateral),
            pins,
            at: AT,
            requirements: &given.requirements,
        };
        verify(&Evidence { quote: &quote, ccel: None }, &expect)
    };
    judge(&pins(&tdx)).unwrap();
    let for_another_purpose = String::from_utf8(tdx.pins()).unwrap().replace("intel-sgx-root", "tpm-vendor");
    for other in [Pins::built_in(), &Pins::default(), &Pins::parse(for_another_purpose.as_bytes()).unwrap()] {
        let refused = judge(other).unwrap_err();
        assert!(matches!(refused, TdxRefused::T1Root { .. }), "{refused}");
    }
}

#[test]
fn t1_every_signature_is_verified() {
    // The attestation key is another than the enclave vouches for.
    let other = Tdx::default();
    let mut bound = [0; 64];
    bound[..32].copy_from_slice(&[9; 32]);
    unverified(|tdx| tdx.quote.enclave.report_data = Some(bound), "QE report hash");
    // The body is signed, and then another.
    let honest = Tdx::default();
    let mut quote = honest.quote();
    quote[48 + 184] ^= 1;
    let refused = Given::default().judge_quote(&honest, &quote).unwrap_err();
    assert!(refused.to_string().contains("signature is invalid"), "{refused}");
    assert!(!refused.is_signed_for_this_request());
    // The enclave's report is signed by a PCK of another platform: another root, another CA.
    let refused = Given::default().judge_quote(&honest, &other.quote()).unwrap_err();
    assert!(matches!(refused, TdxRefused::T1Unverified { .. }), "{refused}");
    // Documents that somebody else signed.
    unverified(|tdx| tdx.tcb_info.signed_by = Some(Key::default()), "tcb_info");
    unverified(|tdx| tdx.qe_identity.signed_by = Some(Key::default()), "qe_identity");
}

#[test]
fn t1_revoked_and_expired_certificates_are_refused() {
    let revoked = |change: fn(&mut Tdx)| unverified(change, "CertRevoked");
    accepted(|tdx| tdx.lists.revoked_by_ca = vec![vec![0x10, 9]]);
    revoked(|tdx| tdx.lists.revoked_by_ca = vec![tdx.certificates.pck.serial.clone()]);
    revoked(|tdx| tdx.lists.revoked_by_root = vec![tdx.certificates.ca.serial.clone()]);
    revoked(|tdx| tdx.lists.revoked_by_root = vec![tdx.certificates.tcb.serial.clone()]);
    revoked(|tdx| tdx.lists.revoked_by_root = vec![tdx.certificates.root.serial.clone()]);
    unverified(|tdx| tdx.certificates.pck.not_after = (2026, 5, 31), "CertExpired");
    unverified(|tdx| tdx.certificates.pck.not_before = (2026, 6, 2), "CertNotValidYet");
}

#[test]
fn t1_the_quoting_enclave_is_intels_and_not_under_debug() {
    unverified(|tdx| tdx.quote.enclave.signer[0] ^= 1, "MRSIGNER");
    unverified(|tdx| tdx.quote.enclave.product = 1, "ISVPRODID");
    unverified(|tdx| tdx.quote.enclave.attributes[0] |= 2, "QE report");
    unverified(|tdx| tdx.quote.enclave.attributes[1] |= 1, "ATTRIBUTES");
    unverified(|tdx| tdx.quote.enclave.svn = 1, "");
    accepted(|tdx| tdx.quote.enclave.svn = 5);
    // An old one makes the whole out of date.
    let old = refused(|tdx| tdx.quote.enclave.svn = 3);
    assert!(matches!(old, TdxRefused::T1TcbStatus { got: TdxTcbStatus::OutOfDate, .. }), "{old}");
}

#[test]
fn t1_the_modules_identity_is_one_that_intel_lists() {
    unverified(|tdx| tdx.quote.body.tee_tcb_svn[1] = 9, "TDX_09");
    unverified(|tdx| tdx.quote.body.mr_signer_seam[0] = 1, "MRSIGNER");
    unverified(|tdx| tdx.quote.body.seam_attributes = 1, "SEAMATTRIBUTES");
    unverified(|tdx| tdx.quote.body.tee_tcb_svn[0] = 1, "ISVSVN");
    // Where Intel's own data named another signer, it would still not be Intel's module.
    let other = refused(|tdx| {
        tdx.quote.body.mr_signer_seam = [1; 48];
        tdx.tcb_info.module_signer = vec![1; 48];
        tdx.tcb_info.modules[0].signer = vec![1; 48];
    });
    assert!(matches!(other, TdxRefused::T1Module { register: "MRSIGNERSEAM", .. }), "{other}");
    assert!(other.is_signed_for_this_request());
}

#[test]
fn t1_the_ppid_tells_machines_apart() {
    accepted(|tdx| tdx.platform.ppid = vec![1; 16]);
    for ppid in [vec![0; 16], vec![1; 15], vec![1; 17], vec![]] {
        let refused = refused(|tdx| tdx.platform.ppid = ppid);
        assert!(matches!(refused, TdxRefused::T1Ppid { .. }), "{refused}");
    }
}
