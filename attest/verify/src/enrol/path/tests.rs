use crate::{
    Refused, TrustAnchors, Verdict, der,
    enrol::TrustAnchorError,
    stand_in::{
        BASIC_CONSTRAINTS, Ca, CertificateSpec, ECDSA_WITH_SHA1, EXT_KEY_USAGE, Extension, KEY_USAGE, NOW, Vendor,
        changed, key_usage, purposes,
    },
};

const LATER: &str = "20301231235959Z";

fn path_problem(result: Result<impl std::fmt::Debug, Refused>) -> String {
    match result {
        Err(Refused::E2Path { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// basicConstraints of a CA with a path length.
fn path_length(length: u8) -> Vec<u8> {
    der::sequence(&[&der::tagged(0x01, &[&[0xff]]), &der::unsigned(&[length])])
}

#[test]
fn e2_a_full_path_to_a_pinned_root_is_accepted() {
    let vendor = Vendor::rsa();
    let identity = vendor.verify().unwrap();
    let root: Vec<_> = vendor.anchors().roots_sha256().collect();
    assert_eq!(identity.root_sha256(), crate::quote::hex(&root[0]));
}

#[test]
fn e2_another_root_is_refused_even_if_it_has_the_same_name() {
    let vendor = Vendor::rsa();
    let twin = Ca::root("Vendor TPM Root CA", |_| {});
    let anchors = TrustAnchors::from_der([twin.certificate.as_slice()]).unwrap();
    assert_eq!(path_problem(vendor.verify_with(&anchors)), "InvalidSignatureForPublicKey");
    assert_eq!(path_problem(vendor.verify_with(&TrustAnchors::default())), "UnknownIssuer");
}

/// "One hop to anything in the store": an intermediate in the store is not the end of a path.
#[test]
fn e2_an_imported_intermediate_is_not_a_root() {
    let vendor = Vendor::rsa();
    let intermediate = TrustAnchors::from_der([vendor.intermediate.certificate.as_slice()]).unwrap();
    assert_eq!((intermediate.roots_sha256().count(), intermediate.intermediates()), (0, 1));
    path_problem(vendor.verify_with(&intermediate));
    // With its root it completes a chain of which only the leaf was sent.
    let mut anchors = vendor.anchors();
    anchors.extend(intermediate);
    let leaf = vendor.leaf_der();
    super::super::verify_ek_certificate(&[&leaf], &vendor.ek, &anchors, &[], NOW).unwrap();
    path_problem(super::super::verify_ek_certificate(&[&leaf], &vendor.ek, &vendor.anchors(), &[], NOW));
}

#[test]
fn e2_a_root_that_is_only_sent_is_not_trusted() {
    let vendor = Vendor::rsa();
    let leaf = vendor.leaf_der();
    let chain = [leaf.as_slice(), &vendor.intermediate.certificate, &vendor.root.certificate];
    path_problem(super::super::verify_ek_certificate(&chain, &vendor.ek, &TrustAnchors::default(), &[], NOW));
}

#[test]
fn e2_a_self_signed_ek_certificate_is_refused() {
    let mut vendor = Vendor::rsa();
    vendor.leaf.subject = vendor.intermediate.spec.subject.clone();
    vendor.root = Ca::root("Somebody else", |_| {});
    path_problem(vendor.verify());
}

#[test]
fn e2_every_certificate_is_valid_at_the_given_time() {
    let late = |validity: [&'static str; 2]| move |spec: &mut CertificateSpec| spec.validity = validity;
    let expired = ["20200101000000Z", "20251231235959Z"];
    let future = ["20260101000001Z", "20401231235959Z"];
    for validity in [expired, future] {
        let leaf = changed(Vendor::rsa(), |vendor| vendor.leaf.validity = validity);
        assert!(matches!(leaf, Err(Refused::E2Validity { at: NOW, .. })), "{leaf:?}");
        let intermediate = changed(Vendor::rsa(), |vendor| {
            vendor.intermediate = Ca::intermediate("Vendor TPM EK CA 01", &vendor.root, late(validity));
        });
        assert!(matches!(intermediate, Err(Refused::E2Validity { .. })), "{intermediate:?}");
        // webpki does not look at a root's dates.
        let root = changed(Vendor::rsa(), |vendor| {
            vendor.root = Ca::root("Vendor TPM Root CA", late(validity));
            vendor.intermediate = Ca::intermediate("Vendor TPM EK CA 01", &vendor.root, |_| {});
        });
        assert!(matches!(root, Err(Refused::E2Validity { .. })), "{root:?}");
    }
    // At the very second, both ways.
    changed(Vendor::rsa(), |vendor| vendor.leaf.validity = ["20260101000000Z", "20260101000000Z"]).unwrap();
}

#[test]
fn e2_intermediates_must_be_cas() {
    let with = |change: fn(&mut CertificateSpec)| {
        changed(Vendor::rsa(), |vendor| {
            vendor.intermediate = Ca::intermediate("Vendor TPM EK CA 01", &vendor.root, change);
        })
    };
    with(|_| {}).unwrap();
    path_problem(with(|spec| spec.remove(BASIC_CONSTRAINTS)));
    path_problem(with(|spec| spec.extension(BASIC_CONSTRAINTS).value = der::sequence(&[])));
    // A CA without keyCertSign: webpki does not look.
    assert_eq!(path_problem(with(|spec| *spec.extension(KEY_USAGE) = key_usage(0x02))), "EndEntityUsedAsCa");
    with(|spec| spec.remove(KEY_USAGE)).unwrap();
}

#[test]
fn e2_purposes_bind_along_the_path() {
    let with = |oids: &[&[u8]]| {
        let extension = Extension { oid: EXT_KEY_USAGE, critical: false, value: purposes(oids) };
        changed(Vendor::rsa(), |vendor| {
            vendor.intermediate =
                Ca::intermediate("Vendor TPM EK CA 01", &vendor.root, |spec| spec.extensions.push(extension));
        })
    };
    with(&[b"\x67\x81\x05\x08\x01"]).unwrap();
    with(&[b"\x55\x1d\x25\x00"]).unwrap();
    assert!(path_problem(with(&[b"\x2b\x06\x01\x05\x05\x07\x03\x01"])).contains("RequiredEku"));
}

#[test]
fn e2_path_lengths_are_kept() {
    let two = |root: Option<u8>, upper: Option<u8>| {
        changed(Vendor::rsa(), |vendor| {
            let limit = |length: Option<u8>| {
                move |spec: &mut CertificateSpec| {
                    if let Some(length) = length {
                        spec.extension(BASIC_CONSTRAINTS).value = path_length(length);
                    }
                }
            };
            vendor.root = Ca::root("Vendor TPM Root CA", limit(root));
            let above = Ca::intermediate("Vendor TPM Issuing CA", &vendor.root, limit(upper));
            vendor.intermediate = Ca::intermediate("Vendor TPM EK CA 01", &above, |_| {});
            vendor.above = Some(above.certificate);
        })
    };
    two(None, None).unwrap();
    two(Some(2), Some(1)).unwrap();
    assert_eq!(path_problem(two(None, Some(0))), "PathLenConstraintViolated");
    // webpki does not know a root's path length.
    assert_eq!(path_problem(two(Some(1), None)), "PathLenConstraintViolated");
}

#[test]
fn e2_sha1_signatures_are_refused_by_name() {
    let refused = changed(Vendor::rsa(), |vendor| vendor.leaf.algorithm = ECDSA_WITH_SHA1);
    assert!(path_problem(refused).contains("SHA-1"));
}

#[test]
fn e2_a_changed_certificate_is_refused() {
    let vendor = Vendor::rsa();
    let mut leaf = vendor.leaf_der();
    // A digit of the model, which nothing but the signature protects.
    let at = leaf.windows(7).position(|window| window == b"SLB9672").unwrap();
    leaf[at + 6] = b'3';
    let chain = [leaf.as_slice(), &vendor.intermediate.certificate];
    let refused = super::super::verify_ek_certificate(&chain, &vendor.ek, &vendor.anchors(), &[], NOW);
    assert_eq!(path_problem(refused), "InvalidSignatureForPublicKey");
}

#[test]
fn e2_a_crl_over_the_whole_path_is_checked() {
    let identity = changed(Vendor::rsa(), |vendor| {
        vendor.crls = vec![vendor.root.crl(LATER, &[9]), vendor.intermediate.crl(LATER, &[])];
    });
    assert_eq!(identity.unwrap().revocation(), Verdict::Passed);
}

#[test]
fn e2_a_crl_over_part_of_the_path_counts_and_is_not_shown_as_passed() {
    let part = |leaf_only: bool, revoked: &'static [u8]| {
        changed(Vendor::rsa(), |vendor| {
            let issuer = if leaf_only { &vendor.intermediate } else { &vendor.root };
            vendor.crls = vec![issuer.crl(LATER, revoked)];
        })
    };
    assert_eq!(part(true, &[]).unwrap().revocation(), Verdict::NotChecked);
    assert_eq!(part(false, &[]).unwrap().revocation(), Verdict::NotChecked);
    // The leaf has serial 7, the intermediate 1.
    assert!(matches!(part(true, &[7]), Err(Refused::E2Revoked { .. })));
    assert!(matches!(part(false, &[1]), Err(Refused::E2Revoked { .. })));
}

#[test]
fn e2_a_crl_of_others_changes_nothing() {
    let other = Ca::root("Another vendor", |_| {});
    let identity = changed(Vendor::rsa(), |vendor| vendor.crls = vec![other.crl(LATER, &[7])]);
    assert_eq!(identity.unwrap().revocation(), Verdict::NotChecked);
}

#[test]
fn e2_a_crl_is_readable_or_named_before_it_is_used() {
    let list = Vendor::rsa().root.crl(LATER, &[9]);
    super::check_crl(&list).unwrap();
    for wrong in [&list[..list.len() - 1], b"", b"x", &list[1..]] {
        assert!(matches!(super::check_crl(wrong), Err(Refused::E2Crl { .. })));
    }
}

#[test]
fn e2_a_crl_that_cannot_be_used_is_refused() {
    let with = |crl: fn(&Vendor) -> Vec<u8>| changed(Vendor::rsa(), |vendor| vendor.crls = vec![crl(vendor)]);
    let expired = with(|vendor| vendor.intermediate.crl("20251231235959Z", &[]));
    assert!(matches!(expired, Err(Refused::E2Crl { .. })), "{expired:?}");
    let forged = with(|_| Ca::root("Vendor TPM EK CA 01", |_| {}).crl(LATER, &[]));
    assert!(matches!(forged, Err(Refused::E2Crl { .. })), "{forged:?}");
    assert!(matches!(with(|_| vec![0x30, 0]), Err(Refused::E2Crl { .. })));
}

#[test]
fn e2_the_store_takes_cas_only_and_says_what_it_refuses() {
    let vendor = Vendor::rsa();
    let leaf = vendor.leaf_der();
    let refused = TrustAnchors::from_der([vendor.root.certificate.as_slice(), &leaf]);
    assert!(matches!(refused, Err(TrustAnchorError::NotACertificate { index: 1, .. })));
    assert_eq!(TrustAnchors::from_pem("no PEM").unwrap_err(), TrustAnchorError::Empty);
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
    assert!(matches!(TrustAnchors::from_pem(cut), Err(TrustAnchorError::NotPem(_))));
}
