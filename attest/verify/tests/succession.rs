//! What may take the place of what, and where lists of authorities of one name lie.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how a test speaks")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList, CertificateRevocationListParams, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use strongroom_attest::{
    PinKind, Pins,
    endorsements::{EndorsementError, SKEW, Store},
    snp::AttestationReport,
};
use strongroom_hardware::{
    certificate::{Crl, Extension},
    nvidia::{self, Certificate, Chain, Key, Responder, Status},
    snp::{Leaf, Product, Snp, keys},
    tdx::{AT, Tdx},
};
use strongroom_protocol::sha256;

/// An authority of a TPM vendor: pinned, or below one that is.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { params, key: KeyPair::generate().unwrap() }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn list(&self, day: u8, number: &[u8]) -> Vec<u8> {
        self.signed(day, number).der().to_vec()
    }

    fn signed(&self, day: u8, number: &[u8]) -> CertificateRevocationList {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, day),
            next_update: date_time_ymd(2026, 6, day),
            crl_number: SerialNumber::from_slice(number),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap()
    }
}

fn pins(kind: PinKind, der: &[u8]) -> Pins {
    let sha256 = hex::encode(sha256(der));
    let json = format!(r#"{{"pins":[{{"kind":"{kind}","name":"a root","sha256":"{sha256}","source":"a test"}}]}}"#);
    Pins::parse(json.as_bytes()).unwrap()
}

/// A store that trusts this root, which lies in it.
fn store_of(root: &Authority) -> Store {
    let root = root.params.self_signed(&root.key).unwrap();
    let mut store = Store::new(pins(PinKind::TpmVendor, root.der()));
    store.import(root.der(), None, AT).unwrap();
    store
}

fn said(refused: Result<Vec<strongroom_attest::endorsements::Endorsement>, EndorsementError>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn lists_of_two_authorities_of_one_name_lie_beside_each_other() {
    let root = Authority::named("root");
    let (first, second) = (Authority::named("middle"), Authority::named("middle"));
    let mut store = store_of(&root);
    for middle in [&first, &second] {
        let certificate = middle.params.signed_by(&middle.key, &root.issuer()).unwrap();
        store.import(certificate.der(), None, AT).unwrap();
    }
    let one = store.import(&first.list(20, &[9]), None, AT).unwrap();
    let other = store.import(&second.list(10, &[1]), None, AT).unwrap();
    assert_ne!(one[0].name, other[0].name, "an older list of somebody else's is not refused, nor does it replace");
    assert_eq!(store.lists(PinKind::TpmVendor).len(), 2);
    let key = sha256(&rcgen::PublicKeyData::subject_public_key_info(&first.key));
    assert_eq!(one[0].name, format!("tpm-vendor/crl/{}.crl", hex::encode(key)));
}

#[test]
fn the_number_of_a_list_never_falls_whatever_its_date_is() {
    let root = Authority::named("root");
    let mut store = store_of(&root);
    store.import(&root.list(10, &[200]), None, AT).unwrap();
    let refused = said(store.import(&root.list(20, &[199]), None, AT));
    assert!(refused.contains("list's CRL number, 200 lies there and 199 is given"), "{refused}");
    // Numbers are numbers, and not bytes from the left.
    store.import(&root.list(20, &[1, 0]), None, AT).unwrap();
    assert!(store.import(&root.list(21, &[255]), None, AT).is_err());
    // A later list of the same number is one that was signed again.
    store.import(&root.list(21, &[1, 0]), None, AT).unwrap();
    let refused = said(store.import(&root.list(20, &[2, 0]), None, AT));
    assert!(refused.contains("2026-05-21T00:00:00Z lies there and 2026-05-20T00:00:00Z is given"), "{refused}");
    // In one import the newer counts, whichever comes first.
    let (older, newer) = (root.signed(24, &[3, 0]), root.signed(25, &[4, 0]));
    for both in [[&older, &newer], [&newer, &older]] {
        let mut store = store_of(&root);
        let file: String = both.iter().map(|list| list.pem().unwrap()).collect();
        let taken = store.import(file.as_bytes(), None, AT).unwrap();
        assert_eq!((taken.len(), taken[0].bytes.as_slice()), (1, newer.der().as_ref()));
    }
}

/// RFC 5280 §5.2.3 wants a number in every list. Those of TPM vendors may have none, and then their dates count.
#[test]
fn a_list_without_a_number_does_not_follow_one_that_has() {
    let machine = Snp::new(Product::Milan, Leaf::Vcek);
    // Signed once: a signature is another each time.
    let ark = machine.ark.der();
    let mut store = Store::new(Pins::parse(&machine.pins(&ark)).unwrap());
    store.import(&ark, None, AT).unwrap();
    let number = |number: u8| Extension { oid: vec![2, 5, 29, 20], critical: false, value: vec![2, 1, number] };
    let list = |day: u8, extensions: Vec<Extension>| {
        Crl { this_update: format!("2605{day}000000Z"), extensions, ..machine.crl.clone() }.der()
    };
    store.import(&list(10, vec![]), None, AT).unwrap();
    store.import(&list(11, vec![]), None, AT).unwrap();
    assert!(store.import(&list(10, vec![]), None, AT).is_err());
    store.import(&list(12, vec![number(5)]), None, AT).unwrap();
    let refused = said(store.import(&list(13, vec![]), None, AT));
    assert!(refused.contains("5 lies there and none is given"), "{refused}");
    store.import(&list(13, vec![number(6)]), None, AT).unwrap();
}

#[test]
fn amds_two_lists_of_a_root_have_places_and_take_nothing_back() {
    let machine = Snp::new(Product::Genoa, Leaf::Vlek);
    // Signed once: a signature is another each time.
    let ark = machine.ark.der();
    let mut store = Store::new(Pins::parse(&machine.pins(&ark)).unwrap());
    store.import(&ark, None, AT).unwrap();
    let list = |day: u8, revoked: &[&[u8]]| {
        let revoked = revoked.iter().map(|serial| serial.to_vec()).collect();
        Crl { this_update: format!("2605{day}000000Z"), revoked, ..machine.crl.clone() }.der()
    };
    let mut place = |list: &[u8], id| store.import(list, id, AT).map(|taken| taken[0].name.clone());
    assert_eq!(place(&list(10, &[&[2, 0, 9]]), None).unwrap(), "vcek/crl/Genoa.crl");
    assert_eq!(place(&list(10, &[&[2, 1, 1]]), Some("vlek")).unwrap(), "vlek/crl/Genoa.crl");
    assert!(place(&list(11, &[]), Some("ask")).unwrap_err().to_string().contains("`vcek` or `vlek`"));
    // One list given for the other: what that revokes would be forgotten.
    let refused = place(&list(12, &[&[2, 0, 9]]), Some("vlek")).unwrap_err();
    assert!(matches!(&refused, EndorsementError::TakenBack { serial, .. } if serial == "020101"), "{refused}");
    assert_eq!(place(&list(12, &[&[2, 0, 9], &[2, 0, 10]]), Some("vcek")).unwrap(), "vcek/crl/Genoa.crl");
    assert_eq!(store.lists(PinKind::AmdArk).len(), 2, "both count");
    let report = AttestationReport::parse(&machine.report_bytes()).unwrap();
    let stored = store.snp(&report).unwrap();
    assert_eq!(
        (stored.as_store().crls.len(), stored.as_store().certificates.len()),
        (2, 0),
        "no list is a certificate"
    );
}

#[test]
fn a_list_of_a_second_root_of_a_product_lies_by_its_key() {
    let machine = Snp::new(Product::Genoa, Leaf::Vcek);
    let ark = machine.ark.der();
    let one = String::from_utf8(machine.pins(&ark)).unwrap();
    let other = one.replace(&hex::encode(sha256(&ark)), &"0".repeat(64));
    let both = format!("{},{}", one.trim_end_matches("]}"), other.trim_start_matches(r#"{"pins":["#));
    let mut store = Store::new(Pins::parse(both.as_bytes()).unwrap());
    store.import(&ark, None, AT).unwrap();
    let key = hex::encode(sha256(&keys().ark.spki()));
    assert_eq!(store.import(&machine.crl.der(), None, AT).unwrap()[0].name, format!("amd-ark/crl/{key}.crl"));
}

#[test]
fn no_part_of_collateral_goes_back() {
    let mut tdx = Tdx::default();
    let pins = Pins::parse(&tdx.pins()).unwrap();
    let mut fresh = Store::new(pins);
    fresh.import(&tdx.collateral(), None, AT).unwrap();
    // The same, signed again; the order of the days below is TCB info 20, identity 21, lists 19 May.
    fresh.import(&tdx.collateral(), None, AT).unwrap();
    let refused = |tdx: &Tdx| said(fresh.clone().import(&tdx.collateral(), None, AT));

    // The newest of all dates moves on in each, and one part goes back.
    tdx.qe_identity.issued = (2026, 5, 30);
    tdx.tcb_info.issued = (2026, 5, 19);
    let older = refused(&tdx);
    assert!(older.contains("of its tcb_info, 2026-05-20T00:00:00Z lies there and 2026-05-19"), "{older}");
    tdx.tcb_info.issued = (2026, 5, 31);
    tdx.tcb_info.evaluation_data_number = 19;
    let older = refused(&tdx);
    assert!(older.contains("tcb_info's tcbEvaluationDataNumber, 20 lies there and 19 is given"), "{older}");
    tdx.tcb_info.evaluation_data_number = 20;
    tdx.qe_identity.evaluation_data_number = 19;
    assert!(refused(&tdx).contains("qe_identity's tcbEvaluationDataNumber"));
    tdx.qe_identity.evaluation_data_number = 20;
    tdx.qe_identity.issued = (2026, 5, 20);
    assert!(refused(&tdx).contains("of its qe_identity, "));
    tdx.qe_identity.issued = (2026, 5, 30);
    tdx.lists.issued = (2026, 5, 18);
    assert!(refused(&tdx).contains("of its root_ca_crl, 2026-05-19"));
    // Another list of the same time.
    tdx.lists.issued = (2026, 5, 19);
    tdx.lists.revoked_by_ca = vec![];
    let rival = refused(&tdx);
    assert!(rival.contains("another pck_crl of 2026-05-19T00:00:00Z lies at intel/tdx/"), "{rival}");
    tdx.lists.issued = (2026, 5, 29);
    fresh.import(&tdx.collateral(), None, AT).unwrap();
}

#[test]
fn what_is_dated_ahead_of_the_clock_is_told() {
    let root = Authority::named("root");
    let mut store = store_of(&root);
    let list = &store.import(&root.list(20, &[1]), None, AT).unwrap()[0];
    list.check_made_by(list.from - SKEW).unwrap();
    let early = list.check_made_by(list.from - SKEW - 1).unwrap_err().to_string();
    assert!(early.contains("is dated 2026-05-20T00:00:00Z, and the clock says 2026-05-19T23:54:59Z"), "{early}");
    // A certificate that begins later is told of, and counts when its time has come.
    let certificate = store.list().find(|one| one.name.contains("certificate")).unwrap();
    certificate.check_made_by(0).unwrap();
}

/// A device's chain with the store that its issuers lie in.
struct Gpu {
    chain: Chain,
    store: Store,
}

impl Gpu {
    fn new() -> Self {
        let (chain, signer) = (Chain::of_device(), Chain::of_signer());
        let pins = Pins::parse(nvidia::pins(&[&chain], &[&signer]).as_bytes()).unwrap();
        let mut store = Store::new(pins);
        // The device's certificate is not there: answers are of issuers.
        for der in chain.ders().iter().skip(2).rev() {
            store.import(der, None, nvidia::AT).unwrap();
        }
        Self { chain, store }
    }

    fn answer(&mut self, status: &Status, responder: &Responder<'_>) -> Result<String, EndorsementError> {
        let of = &self.chain.certificates;
        let answer = status.ocsp(&of[3], &of[2], responder);
        self.store.import(&answer, None, nvidia::AT).map(|taken| taken[0].name.clone())
    }
}

#[test]
fn answers_lie_by_the_certificate_that_they_are_about() {
    let mut gpu = Gpu::new();
    let honest = Status::default();
    let name = gpu.answer(&honest, &Responder::Issuer).unwrap();
    let key = hex::encode(sha256(&gpu.chain.certificates[2].key.spki()));
    let serial = hex::encode(&gpu.chain.certificates[3].serial);
    assert_eq!(name, format!("nvidia/ocsp/{serial}-{}.ocsp", &key[..16]));
    assert_eq!(gpu.store.answers().len(), 1);
    // By whom the issuer named, too.
    let responder = Certificate::leaf("Stand-in OCSP", 0x21);
    let later = Status { this_update: (2026, 11, 21), ..honest.clone() };
    assert_eq!(gpu.answer(&later, &Responder::Named { certificate: &responder, purpose: true }).unwrap(), name);
    assert_eq!(gpu.store.answers().len(), 1, "it took the other's place");

    // A responder signs anew each time that it is asked, and says the same.
    let anew = Status { extension: Some((vec![1, 2, 3], false)), ..later.clone() };
    assert_eq!(gpu.answer(&anew, &Responder::Issuer).unwrap(), name);

    let why = |refused: EndorsementError| refused.to_string();
    let without = Responder::Named { certificate: &responder, purpose: false };
    assert!(why(gpu.answer(&later, &without).unwrap_err()).contains("not signed by the issuer"));
    let stranger = Key::default();
    assert!(why(gpu.answer(&later, &Responder::Stranger(&stranger)).unwrap_err()).contains("not signed by the issuer"));
    assert!(matches!(gpu.answer(&honest, &Responder::Issuer), Err(EndorsementError::Older { .. })));
    let open = Status { next_update: None, ..later.clone() };
    assert!(why(gpu.answer(&open, &Responder::Issuer).unwrap_err()).contains("until when"));
    let unknown = Status { unknown: true, ..later.clone() };
    assert!(why(gpu.answer(&unknown, &Responder::Issuer).unwrap_err()).contains("does not know"));
    // A revocation counts whenever it was said, and nothing takes it back.
    let device = gpu.chain.certificates[3].serial.clone();
    let before = gpu.store.clone();
    for this_update in [later.this_update, honest.this_update] {
        let revoked = Status { revoked: vec![device.clone()], this_update, ..later.clone() };
        gpu.answer(&revoked, &Responder::Issuer).unwrap();
        assert!(gpu.answer(&anew, &Responder::Issuer).is_err());
        gpu.store = before.clone();
    }
    let revoked = Status { revoked: vec![device.clone()], this_update: (2026, 11, 22), ..later.clone() };
    gpu.answer(&revoked, &Responder::Issuer).unwrap();
    let again = Status { this_update: (2026, 11, 23), ..honest.clone() };
    assert!(matches!(gpu.answer(&again, &Responder::Issuer), Err(EndorsementError::TakenBack { .. })));
    // Of no issuer that is vouched for.
    let mut empty = Store::new(gpu.store.pins().clone());
    let of = &gpu.chain.certificates;
    let alone = empty.import(&honest.ocsp(&of[3], &of[2], &Responder::Issuer), None, nvidia::AT);
    assert!(matches!(alone, Err(EndorsementError::NotVouched { .. })), "{alone:?}");
}

/// What was vouched for by something that is gone is not the end of a way up.
#[test]
fn a_certificate_that_is_gone_vouches_for_nothing() {
    let (root, middle, low) = (Authority::named("root"), Authority::named("middle"), Authority::named("low"));
    let mut store = store_of(&root);
    let middle_der = middle.params.signed_by(&middle.key, &root.issuer()).unwrap();
    let low_der = low.params.signed_by(&low.key, &middle.issuer()).unwrap();
    let name = store.import(middle_der.der(), None, AT).unwrap()[0].name.clone();
    store.import(low_der.der(), None, AT).unwrap();
    store.import(&low.list(10, &[1]), None, AT).unwrap();
    store.remove(&name).unwrap();
    assert!(matches!(store.import(&low.list(11, &[2]), None, AT), Err(EndorsementError::NotVouched { .. })));
    store.import(middle_der.der(), None, AT).unwrap();
    store.import(&low.list(11, &[2]), None, AT).unwrap();
}
