use crate::{
    Refused, Tolerance, Verdict, der,
    stand_in::{
        BASIC_CONSTRAINTS, CERT_AND_CRL_SIGN, CertificateSpec, EXT_KEY_USAGE, Extension, KEY_AGREEMENT,
        KEY_ENCIPHERMENT, KEY_USAGE, SUBJECT_ALT_NAME, Vendor, alt_names, changed, common_name, key_usage, purposes,
        tpm_name,
    },
};

type Change = fn(&mut CertificateSpec);

/// What the certificate's profile makes of one change to the EK certificate.
fn leaf(change: impl FnOnce(&mut CertificateSpec)) -> Result<Vec<Tolerance>, Refused> {
    changed(Vendor::rsa(), |vendor| change(&mut vendor.leaf)).map(|identity| identity.tolerances().to_vec())
}

fn refused_field(change: impl FnOnce(&mut CertificateSpec)) -> &'static str {
    match leaf(change) {
        Err(Refused::E1Profile { field, .. } | Refused::E1Malformed { field }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn e1_a_certificate_by_the_profile_is_accepted_without_tolerances() {
    for vendor in [Vendor::rsa(), Vendor::ecc()] {
        let identity = vendor.verify().unwrap();
        crate::seeds::keep("ek_certificate", identity.template(), &vendor.leaf_der());
        crate::seeds::keep("tpmt_public", identity.template(), vendor.ek.as_bytes());
        assert_eq!(identity.tolerances(), []);
        assert_eq!(identity.to_string(), "IFX SLB9672 id:00100010");
        assert_eq!(identity.manufacturer_id(), "id:49465800");
        assert_eq!(identity.revocation(), Verdict::NotChecked);
    }
}

#[test]
fn e1_a_ca_is_not_an_ek() {
    let ca = der::sequence(&[&der::tagged(0x01, &[&[0xff]])]);
    assert_eq!(refused_field(|leaf| leaf.extension(BASIC_CONSTRAINTS).value = ca), "basicConstraints");
}

#[test]
fn e1_the_version_is_3() {
    assert_eq!(refused_field(|leaf| leaf.version = 1), "version");
}

#[test]
fn e1_the_key_usage_is_that_of_its_kind_of_key() {
    assert_eq!(refused_field(|leaf| *leaf.extension(KEY_USAGE) = key_usage(KEY_AGREEMENT)), "keyUsage");
    let ecc = changed(Vendor::ecc(), |vendor| *vendor.leaf.extension(KEY_USAGE) = key_usage(KEY_ENCIPHERMENT));
    assert!(matches!(ecc, Err(Refused::E1Profile { field: "keyUsage", .. })));
    for signs in [0x04, 0x02, CERT_AND_CRL_SIGN] {
        let usage = key_usage(KEY_ENCIPHERMENT | signs);
        assert_eq!(refused_field(|leaf| *leaf.extension(KEY_USAGE) = usage), "keyUsage");
    }
}

#[test]
fn e1_the_purpose_is_that_of_an_ek_certificate_when_present() {
    let other = |oids: &[&[u8]]| {
        let value = purposes(oids);
        refused_field(|leaf| leaf.extension(EXT_KEY_USAGE).value = value)
    };
    // serverAuth; any purpose; the AIK purpose.
    assert_eq!(other(&[b"\x2b\x06\x01\x05\x05\x07\x03\x01"]), "extKeyUsage");
    assert_eq!(other(&[b"\x55\x1d\x25\x00"]), "extKeyUsage");
    assert_eq!(other(&[b"\x67\x81\x05\x08\x03"]), "extKeyUsage");
    let both = purposes(&[b"\x67\x81\x05\x08\x03", b"\x67\x81\x05\x08\x01"]);
    assert_eq!(leaf(|leaf| leaf.extension(EXT_KEY_USAGE).value = both), Ok(vec![]));
}

#[test]
fn e1_one_directory_name_says_what_tpm_it_is() {
    let name = || tpm_name("id:49465800", "SLB9672", "id:00100010");
    let with = |names: Vec<Vec<u8>>| refused_field(|leaf| leaf.extension(SUBJECT_ALT_NAME).value = alt_names(&names));
    assert_eq!(refused_field(|leaf| leaf.remove(SUBJECT_ALT_NAME)), "subjectAltName");
    assert_eq!(with(vec![]), "subjectAltName");
    assert_eq!(with(vec![name(), name()]), "subjectAltName");
    assert_eq!(with(vec![common_name("a TPM")]), "TPM manufacturer");
    assert_eq!(with(vec![tpm_name("id:49465800", "", "id:00100010")]), "TPM model");
    assert_eq!(with(vec![tpm_name("id:49465800", "SLB9672", "")]), "TPM version");
    assert_eq!(with(vec![tpm_name("id:49465800", "SLB\u{7}9672", "id:00100010")]), "TPM model");
    assert_eq!(with(vec![tpm_name("id:49465800", &"x".repeat(65), "id:00100010")]), "TPM model");
    // The three attributes may stand in one RDN each, and other kinds of names beside them.
    let apart = [tpm_name("id:49465800", "", ""), tpm_name("", "SLB9672", ""), tpm_name("", "", "id:00100010")];
    let rdns: Vec<_> = apart.iter().map(|name| &name[2..]).collect();
    let names = alt_names(&[der::sequence(&rdns)]);
    let mail = der::tagged(0x81, &[b"a@example.com"]);
    let names = der::sequence(&[&names[2..], &mail]);
    assert_eq!(leaf(|leaf| leaf.extension(SUBJECT_ALT_NAME).value = names), Ok(vec![]));
}

#[test]
fn e1_an_extension_that_stands_twice_is_refused() {
    for oid in [BASIC_CONSTRAINTS, KEY_USAGE, EXT_KEY_USAGE, SUBJECT_ALT_NAME] {
        let twice = |leaf: &mut CertificateSpec| {
            let again = leaf.extension(oid).clone();
            leaf.extensions.push(again);
        };
        assert!(matches!(leaf(twice), Err(Refused::E1Profile { .. } | Refused::E1Malformed { .. })));
    }
}

#[test]
fn e1_an_extension_that_cannot_be_read_is_not_taken_for_absent() {
    for oid in [BASIC_CONSTRAINTS, KEY_USAGE, EXT_KEY_USAGE, SUBJECT_ALT_NAME] {
        let field = refused_field(|leaf| leaf.extension(oid).value = vec![0x05, 0x00]);
        assert_ne!(field, "");
    }
}

#[test]
fn e1_what_vendors_do_wrong_is_tolerated_by_name() {
    use Tolerance as T;
    let cases: [(Change, T); 8] = [
        (|leaf| leaf.remove(BASIC_CONSTRAINTS), T::BasicConstraintsMissing),
        (|leaf| leaf.extension(BASIC_CONSTRAINTS).critical = false, T::BasicConstraintsNotCritical),
        (|leaf| leaf.remove(KEY_USAGE), T::KeyUsageMissing),
        (|leaf| leaf.extension(KEY_USAGE).critical = false, T::KeyUsageNotCritical),
        (|leaf| *leaf.extension(KEY_USAGE) = key_usage(KEY_ENCIPHERMENT | 0x10), T::KeyUsageExtra),
        (|leaf| leaf.remove(EXT_KEY_USAGE), T::ExtendedKeyUsageMissing),
        (|leaf| leaf.extension(SUBJECT_ALT_NAME).critical = false, T::SubjectAltNameNotCritical),
        (
            |leaf| leaf.extension(SUBJECT_ALT_NAME).value = alt_names(&[tpm_name("Infineon", "SLB", "7")]),
            T::ManufacturerFormat,
        ),
    ];
    for (change, tolerance) in cases {
        assert_eq!(leaf(change), Ok(vec![tolerance]));
    }
    // A subject makes the name's criticality optional.
    let named = |leaf: &mut CertificateSpec| {
        leaf.subject = common_name("a TPM");
        leaf.extension(SUBJECT_ALT_NAME).critical = false;
    };
    assert_eq!(leaf(named), Ok(vec![]));
}

#[test]
fn e1_something_has_to_say_that_it_is_an_ek_certificate() {
    let neither = |leaf: &mut CertificateSpec| {
        leaf.remove(KEY_USAGE);
        leaf.remove(EXT_KEY_USAGE);
    };
    assert_eq!(refused_field(neither), "keyUsage");
}

#[test]
fn e1_padding_after_the_certificate_is_cut_off() {
    for padding in [vec![0; 100], vec![0xff; 100]] {
        let identity = changed(Vendor::rsa(), |vendor| vendor.padding = padding).unwrap();
        assert_eq!(identity.tolerances(), [Tolerance::TrailingPadding]);
    }
    for data in [vec![0, 0xff], vec![0x30], vec![0, 0, 1]] {
        let refused = changed(Vendor::rsa(), |vendor| vendor.padding = data);
        assert!(matches!(refused, Err(Refused::E1Profile { field: "end", .. })));
    }
}

#[test]
fn e1_an_rsa_key_labelled_oaep_is_tolerated() {
    let oaep = |leaf: &mut CertificateSpec| {
        // rsaEncryption ends in 1.1.1, id-RSAES-OAEP in 1.1.7.
        let at = leaf.spki.windows(9).position(|w| w == b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01").unwrap();
        leaf.spki[at + 8] = 7;
    };
    assert_eq!(leaf(oaep), Ok(vec![Tolerance::RsaOaepKeyAlgorithm]));
    let dsa = |leaf: &mut CertificateSpec| {
        let at = leaf.spki.windows(9).position(|w| w == b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01").unwrap();
        leaf.spki[at + 8] = 9;
    };
    assert_eq!(refused_field(dsa), "public key");
}

#[test]
fn e1_caps_come_before_parsing() {
    let vendor = Vendor::rsa();
    let anchors = vendor.anchors();
    let der = vendor.leaf_der();
    let verify = |chain: &[&[u8]]| super::super::verify_ek_certificate(chain, &vendor.ek, &anchors, &[], vendor.at);
    assert!(matches!(verify(&[]), Err(Refused::E1Chain { .. })));
    assert!(matches!(verify(&[der.as_slice(); 9]), Err(Refused::E1Chain { .. })));
    assert!(matches!(verify(&[&der, &vec![0; 17 << 10]]), Err(Refused::E1Chain { .. })));
    assert!(matches!(verify(&[b"not a certificate"]), Err(Refused::E1Malformed { .. })));
}

#[test]
fn e1_vendor_ids_are_decoded_where_they_are_text() {
    for (id, manufacturer) in [
        ("id:53544D20", "STM"),
        ("id:4E544300", "NTC"),
        ("id:474F4F47", "GOOG"),
        ("id:414D4400", "AMD"),
        // IBM's is a number.
        ("id:00001014", "id:00001014"),
    ] {
        assert_eq!(super::decode_manufacturer(id), (manufacturer.to_owned(), true));
    }
    assert_eq!(super::decode_manufacturer("id:4946"), ("id:4946".to_owned(), false));
}

#[test]
fn e1_other_extensions_do_no_harm_unless_critical() {
    let more = |critical| {
        move |leaf: &mut CertificateSpec| {
            leaf.extensions.push(Extension { oid: b"\x55\x1d\x09", critical, value: der::sequence(&[]) });
        }
    };
    assert_eq!(leaf(more(false)), Ok(vec![]));
    // What is critical and not understood ends the path (RFC 5280, §4.2).
    assert!(matches!(leaf(more(true)), Err(Refused::E2Path { .. })));
}
