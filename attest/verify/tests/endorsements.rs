//! What is taken, under which name, and what is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how a test speaks")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use std::{fs, path::Path, sync::OnceLock};
use strongroom_attest::{
    PinKind, Pins,
    endorsements::{Endorsement, EndorsementError, Found, MAX_BYTES, MAX_ITEMS, State, Store, WARNED},
    snp::{AttestationReport, files},
    tdx::{CollateralKey, Quote, TdxRefused},
};
use strongroom_hardware::tdx::{AT, Key, Tdx};
use strongroom_protocol::sha256;

const DAY: u64 = 86_400;

/// An authority of a TPM vendor.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Signed by itself, once: a signature is another each time.
    own: OnceLock<rcgen::Certificate>,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2026, 6, 20));
        Self { params, key: KeyPair::generate().unwrap(), own: OnceLock::new() }
    }

    fn root(&self) -> &rcgen::Certificate {
        self.own.get_or_init(|| self.params.self_signed(&self.key).unwrap())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn issues(&self, below: &Self) -> rcgen::Certificate {
        below.params.signed_by(&below.key, &self.issuer()).unwrap()
    }

    fn list(&self, issued: u8) -> Vec<u8> {
        self.numbered(issued, issued)
    }

    fn numbered(&self, issued: u8, number: u8) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, issued),
            next_update: date_time_ymd(2026, 6, issued),
            crl_number: SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap().der().to_vec()
    }
}

fn pinned(kind: PinKind, der: &[u8]) -> Pins {
    let sha256 = hex::encode(sha256(der));
    let json = format!(r#"{{"pins":[{{"kind":"{kind}","name":"a root","sha256":"{sha256}","source":"a test"}}]}}"#);
    Pins::parse(json.as_bytes()).unwrap()
}

fn names(imported: &[Endorsement]) -> Vec<&str> {
    imported.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn only_what_a_pinned_root_vouches_for_is_taken() {
    let [root, middle, low, other] = ["root", "middle", "low", "root"].map(Authority::named);
    let (root_der, middle_pem, low_pem) = (root.root(), root.issues(&middle).pem(), middle.issues(&low).pem());
    let mut store = Store::new(pinned(PinKind::TpmVendor, root_der.der()));
    // The issuer of the issuer is not there.
    let refused = store.import(low_pem.as_bytes(), None, AT).unwrap_err();
    assert!(matches!(refused, EndorsementError::NotVouched { .. }), "{refused}");
    // In one import, in any order; then by what is stored.
    let bundle = [low_pem.as_str(), &middle_pem, &root_der.pem()].concat();
    let imported = store.import(bundle.as_bytes(), None, AT).unwrap();
    assert_eq!(imported.len(), 3);
    assert!(imported.iter().all(|one| one.of == PinKind::TpmVendor && one.name.starts_with("tpm-vendor/certificate/")));
    assert_eq!(store.import(low_pem.as_bytes(), None, AT).unwrap(), imported[..1]);
    assert_eq!(store.tpm_anchors().unwrap().intermediates(), 2);
    // The same name, another key: what it issued is of nobody.
    let forged = other.issues(&middle).pem();
    assert!(matches!(store.import(forged.as_bytes(), None, AT), Err(EndorsementError::NotVouched { .. })));
    let alone = other.root().pem();
    assert!(matches!(store.import(alone.as_bytes(), None, AT), Err(EndorsementError::NotVouched { .. })));
    // All or nothing.
    let mixed = [middle_pem.as_str(), &alone].concat();
    let mut fresh = Store::new(pinned(PinKind::TpmVendor, root_der.der()));
    fresh.import(root_der.der(), None, AT).unwrap();
    assert!(fresh.import(mixed.as_bytes(), None, AT).is_err());
    assert_eq!(fresh.list().count(), 1);
    // A certificate that is no authority vouches for nothing.
    let mut leaf = Authority::named("leaf");
    leaf.params.is_ca = IsCa::ExplicitNoCa;
    leaf.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let below = Authority::named("below");
    let chain = [leaf.issues(&below).pem(), root.issues(&leaf).pem()].concat();
    assert!(matches!(fresh.import(chain.as_bytes(), None, AT), Err(EndorsementError::NotVouched { .. })));
}

/// A name costs nothing, and a signature does: of one name, few issuers are tried.
#[test]
fn few_issuers_of_one_name_are_tried() {
    let root = Authority::named("root");
    let import = |others: usize| {
        let namesakes: Vec<Authority> = (0..=others).map(|_| Authority::named("middle")).collect();
        let low = namesakes.last().unwrap().issues(&Authority::named("low"));
        let above = namesakes.iter().map(|middle| root.issues(middle).pem());
        let file = above.chain([root.root().pem(), low.pem()]).collect::<String>();
        Store::new(pinned(PinKind::TpmVendor, root.root().der())).import(file.as_bytes(), None, AT)
    };
    assert_eq!(import(0).unwrap().len(), 3);
    assert_eq!(import(7).unwrap().len(), 10);
    let refused = import(8).unwrap_err();
    assert!(matches!(&refused, EndorsementError::NotVouched { subject, .. } if subject.contains("low")), "{refused}");
}

#[test]
fn lists_are_of_an_issuer_that_is_vouched_for_and_never_go_back() {
    let [root, other] = ["root", "root"].map(Authority::named);
    let mut store = Store::new(pinned(PinKind::TpmVendor, root.root().der()));
    assert!(matches!(store.import(&root.list(20), None, AT), Err(EndorsementError::NotVouched { .. })));
    store.import(root.root().der(), None, AT).unwrap();
    let first = store.import(&root.list(20), None, AT).unwrap();
    assert!(first[0].name.starts_with("tpm-vendor/crl/"));
    assert!(matches!(store.import(&other.list(21), None, AT), Err(EndorsementError::NotVouched { .. })));
    let newer = store.import(&root.list(25), None, AT).unwrap();
    assert_eq!(newer[0].name, first[0].name);
    assert!(matches!(store.import(&root.list(20), None, AT), Err(EndorsementError::Older { .. })));
    // Nor is one of the same time taken for it, whatever it revokes; the same one is.
    assert!(matches!(store.import(&root.numbered(25, 26), None, AT), Err(EndorsementError::Rival { .. })));
    store.import(&newer[0].bytes, None, AT).unwrap();
    assert_eq!(store.lists(PinKind::TpmVendor), [newer[0].bytes.as_slice()]);
    assert!(store.lists(PinKind::AmdArk).is_empty());
    // The same list as PEM.
    let mut text = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_vec();
    assert!(matches!(store.import(&text, None, AT), Err(EndorsementError::Unknown(_))));
    text.extend_from_slice(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(store.import(&text, None, AT).is_err());
}

#[test]
fn people_hear_of_an_end_before_it_comes() {
    let root = Authority::named("root");
    let mut store = Store::new(pinned(PinKind::TpmVendor, root.root().der()));
    store.import(root.root().der(), None, AT).unwrap();
    store.import(&root.list(25), None, AT).unwrap();
    let states = |at| store.check(at).into_iter().map(|finding| finding.state).collect::<Vec<_>>();
    // The certificate ends on 20 June, the list on 25 June 2026; AT is 1 June.
    let end = AT + 19 * DAY;
    assert_eq!(states(end - WARNED), []);
    assert_eq!(states(end - WARNED + 1), [State::Expiring]);
    assert_eq!(states(end), [State::Expiring, State::Expiring]);
    assert_eq!(states(end + 1), [State::Expired, State::Expiring]);
    assert_eq!(states(end + 6 * DAY), [State::Expired, State::Expired]);
    // Before 25 May the list was not issued.
    assert_eq!(states(AT - 8 * DAY), [State::NotYetValid]);
    assert_eq!(store.check(end + 1)[0].until, end);
}

#[test]
fn collateral_is_taken_if_intels_root_signed_all_of_it() {
    let tdx = Tdx::default();
    let mut store = Store::new(Pins::parse(&tdx.pins()).unwrap());
    let imported = store.import(&tdx.collateral(), None, AT).unwrap();
    assert_eq!(names(&imported), ["intel/tdx/b0c06f000000/platform.json"]);
    assert_eq!((imported[0].from, imported[0].until), (AT - 11 * DAY, AT + 19 * DAY));
    let key = Quote::parse(&tdx.quote()).unwrap().key().unwrap();
    assert_eq!(store.tdx(&key).unwrap().key(), &key);
    let other = CollateralKey { fmspc: "0".repeat(12), ..key };
    assert!(store.tdx(&other).is_none());

    let refuses = |change: fn(&mut Tdx)| {
        let mut changed = Tdx::default();
        change(&mut changed);
        let mut store = Store::new(Pins::parse(&changed.pins()).unwrap());
        store.import(&changed.collateral(), None, AT).unwrap_err().to_string()
    };
    assert!(refuses(|tdx| tdx.tcb_info.signed_by = Some(Key::default())).contains("not signed by its signer"));
    assert!(refuses(|tdx| tdx.qe_identity.signed_by = Some(Key::default())).contains("not signed by its signer"));
    let not_pinned = Store::new(Pins::built_in().clone()).import(&tdx.collateral(), None, AT).unwrap_err();
    assert!(matches!(not_pinned, EndorsementError::Tdx(TdxRefused::T1Root { .. })), "{not_pinned}");
    // Lists, and a chain, of another root.
    let (mine, theirs) =
        (String::from_utf8(tdx.collateral()).unwrap(), String::from_utf8(Tdx::default().collateral()).unwrap());
    let field = |json: &str, name: &str| {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        value[name].to_string()
    };
    for name in ["root_ca_crl", "pck_crl", "pck_crl_issuer_chain", "qe_identity_issuer_chain"] {
        let mixed = mine.replacen(&field(&mine, name), &field(&theirs, name), 1);
        assert!(matches!(store.import(mixed.as_bytes(), None, AT), Err(EndorsementError::Unusable { .. })), "{name}");
    }
}

#[test]
fn what_is_not_known_or_too_large_is_refused() {
    let read = |bytes: &[u8]| Found::read(bytes).unwrap_err();
    assert!(matches!(read(b""), EndorsementError::Unknown(_)));
    assert!(matches!(read(b"hello"), EndorsementError::Unknown(_)));
    assert!(matches!(read(&[0x30, 0x00]), EndorsementError::Unknown(_)));
    assert!(matches!(read(b"{}"), EndorsementError::Collateral(_)));
    assert!(matches!(read(&vec![0x30; MAX_BYTES + 1]), EndorsementError::TooMany { what: "bytes", .. }));
    let root = Authority::named("root");
    let root = root.root();
    assert_eq!(Found::read(root.der()).unwrap(), Found::read(root.pem().as_bytes()).unwrap());
    let many = root.pem().repeat(MAX_ITEMS + 1);
    assert!(matches!(read(many.as_bytes()), EndorsementError::TooMany { .. }));
    let followed = [root.der().as_ref(), b"!"].concat();
    assert!(matches!(read(&followed), EndorsementError::Unusable { .. }));
    let mut store = Store::new(Pins::built_in().clone());
    assert_eq!(store.import(b"<SoftwareIdentity/>", None, AT), Err(EndorsementError::NoId));
    let id = Some("NV_GPU_DRIVER_GH100_550.90.07");
    assert!(matches!(store.import(b"<SoftwareIdentity/>", id, AT), Err(EndorsementError::Manifest(_))));
}

#[test]
fn amds_certificates_lie_where_verification_looks_for_them() {
    use sev::certs::snp::builtin::{genoa, milan, turin};
    let mut store = Store::new(Pins::built_in().clone());
    for (pem, name) in [
        (milan::ARK, "ark/Milan.der"),
        (milan::ASK, "ask/Milan.der"),
        (genoa::ASK, "ask/Genoa.der"),
        (turin::ASK, "ask/Turin.der"),
    ] {
        assert_eq!(names(&store.import(pem, None, AT).unwrap()), [name]);
    }
    assert!(Store::default().import(milan::ASK, None, AT).is_err(), "nothing is pinned");
    assert_eq!(store.snp_roots().products().count(), 3);
}

/// Real certificates of AMD's, read from `../shared/vectors` beside the project; skipped where that is absent.
#[test]
fn a_real_chips_certificate_is_found_by_its_report() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/snp");
    let Ok(report) = fs::read(vectors.join("milan-v2/report.bin")) else {
        println!("skipped: {} is absent", vectors.display());
        return;
    };
    let report = AttestationReport::parse(&report).unwrap();
    let mut store = Store::new(Pins::built_in().clone());
    let vcek = fs::read(vectors.join("milan-v2/vcek.der")).unwrap();
    let imported = store.import(&vcek, None, AT).unwrap();
    assert!(files(&report).unwrap().contains(&imported[0].name), "{}", imported[0].name);
    assert_eq!(store.snp(&report).unwrap().as_store().certificates, [vcek.as_slice()]);
    // Another chip's, or another TCB's, lies elsewhere.
    let mut other = report.clone();
    other.chip_id[0] ^= 1;
    assert!(store.snp(&other).unwrap().as_store().certificates.is_empty());
    // A VLEK, with the intermediate that issued it.
    let cloud = fs::read(vectors.join("milan-v3-vlek-aws/vlek.der")).unwrap();
    assert!(matches!(store.import(&cloud, None, AT), Err(EndorsementError::NotVouched { .. })));
    let asvk = fs::read(vectors.join("roots/asvk_ark_milan.pem")).unwrap();
    assert_eq!(names(&store.import(&asvk, None, AT).unwrap()), ["asvk/Milan.der", "ark/Milan.der"]);
    assert!(names(&store.import(&cloud, None, AT).unwrap())[0].starts_with("vlek/Milan/"));
    let aws = AttestationReport::parse(&fs::read(vectors.join("milan-v3-vlek-aws/report.bin")).unwrap()).unwrap();
    assert_eq!(store.snp(&aws).unwrap().as_store().certificates.len(), 2);
    // It expired on 10 December 2025.
    let findings = store.check(AT);
    assert_eq!(findings.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Expired]);
}

/// TPM vendors' certificates, one file after the other, as often as more of them find their issuers.
#[test]
fn tpm_vendors_certificates_chain_to_pinned_roots() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/tpm/ek-roots");
    let Ok(directory) = fs::read_dir(&vectors) else {
        println!("skipped: {} is absent", vectors.display());
        return;
    };
    let mut left: Vec<Vec<u8>> = directory.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let (mut store, files) = (Store::new(Pins::built_in().clone()), left.len());
    loop {
        let before = left.len();
        left.retain(|pem| store.import(pem, None, AT).is_err());
        if left.len() == before {
            break;
        }
    }
    let (roots, all) = (store.tpm_anchors().unwrap().roots_sha256().count(), store.list().count());
    println!(
        "{files} files: {all} certificates under {roots} pinned roots, {} files of roots that are not pinned",
        left.len()
    );
    assert_eq!(roots, Pins::built_in().of(PinKind::TpmVendor).count());
    assert!(all >= 20, "{all}");
}
