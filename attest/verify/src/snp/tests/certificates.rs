//! Rows S3, S4 and S13: chains, revocation lists, and where certificates come from.

use super::*;
use crate::x509::X509Problem;
use strongroom_hardware::{
    certificate::{Extension, Key, Name, Written, pem},
    snp::{PRODUCT_NAME, keys},
};

fn link(refused: &SnpRefused) -> (&'static str, Option<&X509Problem>) {
    match refused {
        SnpRefused::S3Certificate { link, problem } => (link, Some(problem)),
        SnpRefused::S3Name { link, .. } => (link, None),
        other => panic!("{other}"),
    }
}

fn vlek() -> Snp {
    Snp::new(Product::Genoa, Leaf::Vlek)
}

#[test]
fn s3_chains_of_both_kinds_hold_for_every_product() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        case_of(Snp::new(product, Leaf::Vcek), |_| {}).accepted();
        let provider = case_of(Snp::new(product, Leaf::Vlek), |_| {}).asking(|ask| ask.allow_vlek = true).accepted();
        assert_eq!((provider.signing_key, provider.csp_id.as_deref()), (SnpSigningKey::Vlek, Some("CN=cloud.example")));
    }
    assert_eq!(case_of(vlek(), |_| {}).refused(), SnpRefused::S3Vlek);
}

#[test]
fn s3_certificates_come_in_any_order_as_der_or_pem_beside_others() {
    let honest = case(|_| {});
    let [leaf, middle] = honest.certificates.clone().try_into().unwrap();
    let stranger = Snp::new(Product::Turin, Leaf::Vlek).leaf.der();
    let all =
        [&pem(&stranger), &pem(&middle), &pem(&leaf), &pem(&honest.ark)].map(String::as_str).concat().into_bytes();
    for certificates in [
        vec![middle.clone(), leaf.clone()],
        vec![stranger.clone(), honest.ark.clone(), middle.clone(), leaf.clone()],
        vec![all],
        vec![pem(&leaf).into_bytes(), middle.clone()],
    ] {
        Case { certificates, ..case(|_| {}) }.accepted();
    }
    let none = Case { certificates: vec![vec![0x30; 40], leaf.clone()], ..case(|_| {}) };
    assert_eq!(
        link(&none.refused()),
        ("certificates beside the report", Some(&X509Problem::Malformed { field: "its DER" }))
    );
    let many = Case { certificates: vec![leaf; 9], ..case(|_| {}) };
    assert!(matches!(link(&many.refused()).1, Some(X509Problem::TooMany { .. })));
}

#[test]
fn s3_only_the_pinned_root_of_the_product_ends_a_chain() {
    case(|_| {}).accepted();
    // The pinned root, and a chain of a forger's: each with every name right.
    for forge in [
        (|snp| snp.leaf.signed_by = &keys().forger) as fn(&mut Snp),
        |snp| snp.leaf.signed_by = &keys().asvk,
        |snp| snp.leaf.signed_by = &keys().ark,
    ] {
        let refused = case(forge).refused();
        assert!(matches!(link(&refused), ("VCEK", Some(X509Problem::Signature { .. }))), "{refused}");
    }
    let middle = case(|snp| {
        snp.intermediate.spki = keys().forger.spki();
        snp.intermediate.signed_by = &keys().forger;
        snp.leaf.signed_by = &keys().forger;
    });
    assert!(matches!(link(&middle.refused()), ("ASK", Some(X509Problem::Signature { .. }))));
    // A forger's root, with a chain that holds under it.
    let mut other = case(|snp| {
        snp.ark.spki = keys().forger.spki();
        snp.ark.signed_by = &keys().forger;
        snp.intermediate.signed_by = &keys().forger;
    });
    other.certificates.push(other.snp.ark.der());
    assert!(matches!(link(&other.refused()), ("ASK", Some(X509Problem::Signature { .. }))));
    let unpinned = other.with(|evidence, expect, _, store| verify(evidence, expect, &SnpRoots::default(), store, AT));
    assert_eq!(unpinned, Err(SnpRefused::S3NoRoot { product: SnpProduct::Genoa }));
    // A certificate that is given as a root, and is none of the pinned ones, is no root.
    let roots = SnpRoots::new(Pins::built_in(), [other.ark.as_slice()]).unwrap();
    assert_eq!(roots.products().count(), 0);
}

#[test]
fn s3_names_are_those_of_amd() {
    case(|_| {}).accepted();
    let name = |change: fn(&mut Snp)| link(&case(change).refused()).0;
    assert_eq!(
        name(|snp| *snp.leaf.extension(&PRODUCT_NAME) = Extension::plain(&PRODUCT_NAME, b"\x16\x05Milan".to_vec())),
        "VCEK"
    );
    assert_eq!(name(|snp| snp.leaf.without(&PRODUCT_NAME)), "VCEK");
    assert_eq!(name(|snp| snp.leaf.issuer = Name::of("SEV-Milan")), "VCEK");
    assert_eq!(name(|snp| snp.intermediate.issuer = Name::of("ARK-Milan")), "ASK");
    // The leaf is found by its name, and so is the intermediate.
    let missing = |change: fn(&mut Snp)| matches!(case(change).refused(), SnpRefused::S13Missing { .. });
    assert!(missing(|snp| snp.leaf.subject = Name::of("SEV-Genoa")));
    assert!(missing(|snp| snp.leaf.subject = Name(vec!["SEV-VCEK".to_owned(), "SEV-VCEK".to_owned()])));
    assert!(missing(|snp| snp.intermediate.subject = Name::of("SEV-VLEK-Genoa")));
    // A root that is pinned for a product whose name it does not have.
    let mut snp = Snp::default();
    snp.ark.subject = Name::of("ARK-Milan");
    snp.ark.issuer = Name::of("ARK-Milan");
    snp.intermediate.issuer = Name::of("ARK-Milan");
    snp.crl.issuer = Name::of("ARK-Milan");
    assert_eq!(link(&case_of(snp, |_| {}).refused()).0, "ARK");
}

#[test]
fn s3_every_certificate_is_in_its_time() {
    case(|_| {}).accepted();
    let early = |certificate: &mut strongroom_hardware::certificate::Certificate| {
        certificate.not_before = "270101000000Z".to_owned();
    };
    let late = |certificate: &mut strongroom_hardware::certificate::Certificate| {
        certificate.not_after = "260531235959Z".to_owned();
    };
    let mut ark = Snp::default();
    late(&mut ark.ark);
    for (refused, of) in [
        (case(|snp| early(&mut snp.leaf)), "VCEK"),
        (case(|snp| late(&mut snp.leaf)), "VCEK"),
        (case(|snp| early(&mut snp.intermediate)), "ASK"),
        (case(|snp| late(&mut snp.intermediate)), "ASK"),
        (case_of(ark, |_| {}), "ARK"),
    ] {
        let refused = refused.refused();
        let dated = matches!(link(&refused).1, Some(X509Problem::NotYetValid { .. } | X509Problem::Expired { .. }));
        assert!(dated && link(&refused).0 == of, "{refused}");
    }
}

#[test]
fn s3_the_leaf_is_a_key_on_p384_that_signs_reports_only() {
    case(|_| {}).accepted();
    assert_eq!(case(|snp| snp.leaf.spki = Key::p256().spki()).refused(), SnpRefused::S3Curve(SnpSigningKey::Vcek));
    assert_eq!(case(|snp| snp.leaf.spki = keys().ask.spki()).refused(), SnpRefused::S3Curve(SnpSigningKey::Vcek));
    for extension in
        [Extension::basic_constraints(true, None), Extension::key_usage(0b0010_0000), Extension::key_usage(0b0100_0000)]
    {
        let refused = case(|snp| snp.leaf.extensions.push(extension)).refused();
        assert_eq!(link(&refused), ("VCEK", Some(&X509Problem::Authority)));
    }
    case(|snp| snp.leaf.extensions.push(Extension::basic_constraints(false, None))).accepted();
}

#[test]
fn s3_authorities_may_sign_certificates() {
    let constraints = [2, 5, 29, 19];
    let usage = [2, 5, 29, 15];
    let refused = |change: fn(&mut Snp, &[u64], &[u64])| {
        let refused = case(|snp| change(snp, &constraints, &usage)).refused();
        assert!(matches!(link(&refused), ("ASK", Some(X509Problem::NotAuthority { .. }))), "{refused}");
    };
    refused(|snp, constraints, _| snp.intermediate.without(constraints));
    refused(|snp, constraints, _| *snp.intermediate.extension(constraints) = Extension::basic_constraints(false, None));
    refused(|snp, _, usage| snp.intermediate.without(usage));
    refused(|snp, _, usage| *snp.intermediate.extension(usage) = Extension::key_usage(0b0000_0001));
    let mut snp = Snp::default();
    *snp.ark.extension(&constraints) = Extension::basic_constraints(true, Some(0));
    let refused = case_of(snp, |_| {}).refused();
    assert_eq!(link(&refused), ("ARK", Some(&X509Problem::PathLength { allowed: 0, below: 1 })));
    let mut snp = Snp::default();
    *snp.ark.extension(&constraints) = Extension::basic_constraints(true, Some(1));
    case_of(snp, |_| {}).accepted();
}

#[test]
fn s3_algorithms_are_those_of_amd_byte_for_byte() {
    for written in [Written::PssTrailer, Written::Pss] {
        case(|snp| snp.leaf.algorithm = written).accepted();
    }
    for written in [Written::PssOtherMask, Written::Pkcs1] {
        let refused = case(|snp| snp.leaf.algorithm = written).refused();
        assert!(matches!(link(&refused).1, Some(X509Problem::Algorithm { .. })), "{refused}");
    }
    // ECDSA is a way to sign, but not with an RSA key.
    let refused = case(|snp| snp.leaf.algorithm = Written::Ecdsa).refused();
    assert!(matches!(link(&refused), ("VCEK", Some(X509Problem::Signature { .. }))), "{refused}");
    let refused = case(|snp| snp.leaf.inner = Some(Written::Pss)).refused();
    assert!(matches!(link(&refused).1, Some(X509Problem::Malformed { .. })), "{refused}");
}

#[test]
fn s3_nothing_in_a_certificate_is_left_unread() {
    case(|snp| snp.leaf.extensions.push(Extension::plain(&[1, 2, 3], vec![5, 0]))).accepted();
    let problem = |change: fn(&mut Snp)| link(&case(change).refused()).1.unwrap().clone();
    let critical = problem(|snp| {
        snp.leaf.extensions.push(Extension { critical: true, ..Extension::plain(&[1, 2, 3], vec![5, 0]) });
    });
    assert_eq!(critical, X509Problem::Critical { oid: "1.2.3".to_owned() });
    let twice = problem(|snp| snp.leaf.extensions.push(snp.leaf.extensions[1].clone()));
    assert_eq!(twice, X509Problem::Twice { oid: "1.3.6.1.4.1.3704.1.2".to_owned() });
    let version = problem(|snp| snp.leaf.version = 1);
    assert!(matches!(version, X509Problem::Malformed { .. }), "{version}");
    let serial = problem(|snp| snp.leaf.serial = vec![1; 21]);
    assert_eq!(serial, X509Problem::Malformed { field: "serialNumber" });
    let large = problem(|snp| snp.leaf.extensions.push(Extension::plain(&[1, 2, 3], vec![0; 17_000])));
    assert!(matches!(large, X509Problem::TooLarge { .. }), "{large}");
    let many =
        problem(|snp| snp.leaf.extensions.extend((0..40).map(|last| Extension::plain(&[1, 2, 3, last], vec![]))));
    assert!(matches!(many, X509Problem::Malformed { .. }), "{many}");
}

#[test]
fn s3_a_vcek_is_never_taken_for_a_vlek_nor_back() {
    case(|_| {}).accepted();
    case_of(vlek(), |_| {}).asking(|ask| ask.allow_vlek = true).accepted();
    let as_vlek = case(|snp| snp.report.key_info = 1 << 2).asking(|ask| ask.allow_vlek = true).refused();
    assert_eq!(as_vlek, SnpRefused::S3Kind { report: SnpSigningKey::Vlek, certificate: SnpSigningKey::Vcek });
    let chip = case_of(vlek(), |snp| snp.report.key_info = 0).refused();
    assert_eq!(chip, SnpRefused::S3Kind { report: SnpSigningKey::Vcek, certificate: SnpSigningKey::Vlek });
    // Renamed: its extensions are still a VCEK's, and its signer is the ASK.
    let renamed = case(|snp| {
        snp.report.key_info = 1 << 2;
        snp.leaf.subject = Name::of("SEV-VLEK");
        snp.leaf.issuer = Name::of("SEV-VLEK-Genoa");
        snp.intermediate = vlek().intermediate;
    })
    .asking(|ask| ask.allow_vlek = true)
    .refused();
    assert!(matches!(link(&renamed), ("VLEK", Some(X509Problem::Signature { .. }))), "{renamed}");
}

#[test]
fn s3_a_report_that_nothing_signed_is_refused() {
    case(|_| {}).accepted();
    for key_info in [1 << 1, 7 << 2] {
        let refused = case(|snp| snp.report.key_info = key_info).refused();
        assert!(matches!(refused, SnpRefused::S3Unsigned { .. }), "{refused}");
    }
}

#[test]
fn s4_the_roots_list_must_be_there_and_hold() {
    let claims = case(|_| {}).accepted();
    assert_eq!(claims.crl_made_at, Some(1_779_235_200));
    let without = |allow| {
        let case = Case { crls: Vec::new(), ..case(|_| {}) };
        case.asking(|ask| ask.allow_missing_crl = allow)
    };
    assert_eq!(without(true).verify().unwrap().crl_made_at, None);
    let file = "vcek/crl/Genoa.crl".to_owned();
    assert_eq!(without(false).refused(), SnpRefused::S4Missing { product: SnpProduct::Genoa, file });
    let problem = |change: fn(&mut Snp)| match case(change).refused() {
        SnpRefused::S4Crl { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert!(matches!(problem(|snp| snp.crl.signed_by = &keys().forger), X509Problem::Signature { .. }));
    assert!(matches!(problem(|snp| snp.crl.signed_by = &keys().ask), X509Problem::Signature { .. }));
    assert!(matches!(
        problem(|snp| snp.crl.next_update = Some("260531000000Z".to_owned())),
        X509Problem::Expired { .. }
    ));
    assert!(matches!(problem(|snp| snp.crl.this_update = "260610000000Z".to_owned()), X509Problem::NotYetValid { .. }));
    assert_eq!(problem(|snp| snp.crl.next_update = None), X509Problem::Undated);
    assert!(matches!(problem(|snp| snp.crl.algorithm = Written::Pkcs1), X509Problem::Algorithm { .. }));
    assert!(matches!(problem(|snp| snp.crl.inner = Some(Written::Pss)), X509Problem::Malformed { .. }));
    let partial = problem(|snp| {
        snp.crl.extensions.push(Extension { critical: true, ..Extension::plain(&[2, 5, 29, 28], vec![0x30, 0]) });
    });
    assert_eq!(partial, X509Problem::Critical { oid: "2.5.29.28".to_owned() });
    let refused = Case { crls: vec![vec![0x30, 0]], ..case(|_| {}) }.refused();
    assert!(matches!(refused, SnpRefused::S4Crl { .. }), "{refused}");
    // The list of another product says nothing of this one.
    let other = Case { crls: vec![Snp::new(Product::Milan, Leaf::Vcek).crl.der()], ..case(|_| {}) };
    assert!(matches!(other.refused(), SnpRefused::S4Missing { .. }));
}

#[test]
fn s4_the_intermediate_is_looked_up_and_the_leaf_is_not() {
    // Every VCEK has serial 0: looking it up means nothing.
    case(|snp| snp.crl.revoked.push(vec![0])).accepted();
    let refused = case(|snp| snp.crl.revoked.push(snp.intermediate.serial.clone())).refused();
    assert!(matches!(refused, SnpRefused::S4Revoked { .. }), "{refused}");
    // Two lists, as AMD has one for each branch: either may revoke.
    let mut both = case(|_| {});
    let mut second = both.snp.crl.clone();
    second.revoked.push(both.snp.intermediate.serial.clone());
    both.crls.push(second.der());
    assert!(matches!(both.refused(), SnpRefused::S4Revoked { .. }));
}

#[test]
fn s13_certificates_come_from_the_store_the_table_or_the_evidence_and_what_is_missing_is_named() {
    let honest = case(|_| {});
    Case { stored: honest.certificates.clone(), certificates: Vec::new(), ..case(|_| {}) }.accepted();
    let [leaf, middle] = honest.certificates.clone().try_into().unwrap();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let mut table = Vec::new();
    for (label, start, bytes) in [(7, 72, &leaf), (7, 72 + length(&leaf), &middle)] {
        table.extend([label; 16]);
        table.extend(start.to_le_bytes());
        table.extend(length(bytes).to_le_bytes());
    }
    table.extend([0; 24]);
    let table = [table, leaf.clone(), middle.clone()].concat();
    Case { aux: Some(table), certificates: Vec::new(), ..case(|_| {}) }.accepted();

    let missing = |case: Case| match case.refused() {
        SnpRefused::S13Missing { what, file } => (what, file),
        other => panic!("{other}"),
    };
    let no_leaf = Case { certificates: vec![middle], ..case(|_| {}) };
    let report = AttestationReport::parse(&no_leaf.snp.report_bytes()).unwrap();
    let (what, file) = missing(no_leaf);
    assert_eq!((what, &file), ("VCEK", &format!("vcek/{}/0a00000000001788.der", hex(&report.chip_id))));
    let files = files(&report).unwrap();
    assert_eq!(files, [file, "ask/Genoa.der".to_owned(), "vcek/crl/Genoa.crl".to_owned()]);
    assert_eq!(missing(Case { certificates: vec![leaf], ..case(|_| {}) }), ("ASK", "ask/Genoa.der".to_owned()));
    let provider = case_of(vlek(), |_| {});
    let vlek = provider.certificates[0].clone();
    assert_eq!(missing(Case { certificates: vec![vlek], ..provider }), ("ASVK", "asvk/Genoa.der".to_owned()));
    let turin = case_of(Snp::new(Product::Turin, Leaf::Vcek), |_| {});
    let file = missing(Case { certificates: Vec::new(), ..turin }).1;
    assert_eq!(file, "vcek/4142434445464748/0101010400000090.der");
}

#[test]
fn s13_of_several_leaves_the_one_for_this_chip_and_tcb_is_taken() {
    let mut case = case(|_| {});
    let mut old = case.snp.leaf.clone();
    old.extension(&strongroom_hardware::snp::part(8)).value = strongroom_hardware::snp::integer(1);
    case.certificates.insert(0, old.der());
    case.accepted();
    case.certificates.truncate(1);
    case.certificates.push(case.snp.intermediate.der());
    assert!(matches!(case.refused(), SnpRefused::S5Tcb { .. }));
}
