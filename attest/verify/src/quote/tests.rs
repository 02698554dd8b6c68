use super::*;
use crate::{
    stand_in::{AttestSpec, PublicSpec, RSA_A, SigningKey},
    tpm::Public,
};
use aws_lc_rs::signature::{self, RsaPssSaltLength, RsaSignatureEncoding};

const EXTRA: [u8; 32] = [0x5a; 32];
const BOOT: BootCounters = BootCounters { reset_count: 12, restart_count: 3 };

/// A quote, what stands beside it, and what is expected of it: all good until a test changes one thing.
struct Case {
    key: SigningKey,
    /// The enrolled AK.
    ak: Public,
    ek: Public,
    attest: AttestSpec,
    rsa: Option<(&'static RsaSignatureEncoding, [u16; 2])>,
    bank: PcrBank,
    values: PcrMap,
    selection: PcrSelection,
    boot: Option<BootCounters>,
}

impl Case {
    fn of(key: SigningKey) -> Self {
        let (ak, ek) = (key.spec().public(), PublicSpec::rsa_ek(&RSA_A).public());
        let selection = PcrSelection::default_sha256();
        let values = PcrMap(selection.pcrs.iter().map(|&pcr| (pcr, Bytes(vec![pcr + 1; 32]))).collect());
        let Scheme::Signing(scheme) = ak.scheme() else { panic!("an AK signs") };
        let attest = AttestSpec {
            magic: 0xff54_4347,
            kind: 0x8018,
            qualified_signer: ak.qualified_name_under_endorsement(&ek),
            extra_data: EXTRA.to_vec(),
            clock: 123_456,
            reset_count: BOOT.reset_count,
            restart_count: BOOT.restart_count,
            safe: 1,
            firmware_version: 0xfedc_ba98_7654_3210,
            selection: vec![(0x000b, selection.bitmap().unwrap().to_vec())],
            digest: digest(scheme.hash, &values),
            trailing: vec![],
        };
        Self { key, ak, ek, attest, rsa: None, bank: PcrBank::Sha256, values, selection, boot: Some(BOOT) }
    }

    fn p256() -> Self {
        Self::of(SigningKey::p256())
    }

    fn verify(&self) -> Result<TpmClaims, Refused> {
        let message = self.attest.bytes();
        self.verify_bytes(&message, &self.key.sign(&message, self.rsa))
    }

    fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> Result<TpmClaims, Refused> {
        let evidence = QuoteEvidence { message, signature, pcr_bank: self.bank, pcr_values: &self.values };
        verify(evidence, &self.expectation(&self.ek.name()))
    }

    fn expectation<'a>(&'a self, ek_name: &'a [u8]) -> QuoteExpectation<'a> {
        QuoteExpectation { ak: &self.ak, ek_name, extra_data: EXTRA, selection: &self.selection, boot: self.boot }
    }
}

fn digest(hash: HashAlg, values: &PcrMap) -> Vec<u8> {
    hash.digest(&values.0.values().map(Bytes::as_slice).collect::<Vec<_>>())
}

fn accepted(change: impl FnOnce(&mut Case)) -> TpmClaims {
    let mut case = Case::p256();
    change(&mut case);
    case.verify().unwrap()
}

fn refused(change: impl FnOnce(&mut Case)) -> Refused {
    let mut case = Case::p256();
    change(&mut case);
    case.verify().unwrap_err()
}

const LONGEST: RsaSignatureEncoding = signature::RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
static PSS: [(&RsaSignatureEncoding, &[Tolerance]); 2] =
    [(&signature::RSA_PSS_SHA256, &[]), (&LONGEST, &[Tolerance::PssLongestSalt])];

#[test]
fn q1_every_scheme_that_an_ak_may_have_is_verified() {
    for key in [SigningKey::p256(), SigningKey::p384(), SigningKey::Rsa(&RSA_A)] {
        assert_eq!(Case::of(key).verify().unwrap().tolerances(), []);
    }
    for (padding, tolerances) in PSS {
        let mut case = Case::of(SigningKey::Rsa(&RSA_A));
        case.ak = PublicSpec { scheme: Some([0x0016, 0x000b]), ..PublicSpec::rsa_ak(&RSA_A) }.public();
        case.attest.qualified_signer = case.ak.qualified_name_under_endorsement(&case.ek);
        case.rsa = Some((padding, [0x0016, 0x000b]));
        assert_eq!(case.verify().unwrap().tolerances(), tolerances);
    }
}

#[test]
fn q1_a_changed_byte_is_refused() {
    let case = Case::p256();
    let message = case.attest.bytes();
    let signature = case.key.sign(&message, None);
    case.verify_bytes(&message, &signature).unwrap();
    crate::seeds::keep("tpms_attest", "quote", &message);
    crate::seeds::keep("tpmt_signature", "quote", &signature);
    // The clock is a claim that nothing else checks: only the signature protects it.
    let mut other = case.attest.clone();
    other.clock += 1;
    assert_eq!(case.verify_bytes(&other.bytes(), &signature), Err(Refused::Q1Signature));
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        assert_eq!(case.verify_bytes(&changed, &signature), Err(Refused::Q1Signature), "byte {at}");
    }
}

#[test]
fn q1_another_key_is_refused() {
    assert_eq!(refused(|case| case.key = SigningKey::p256()), Refused::Q1Signature);
}

#[test]
fn q1_another_scheme_of_the_same_key_is_refused() {
    let mut case = Case::of(SigningKey::Rsa(&RSA_A));
    case.verify().unwrap();
    // A good signature by the right key, in a scheme that the AK is not fixed to.
    case.rsa = Some((&signature::RSA_PSS_SHA256, [0x0016, 0x000b]));
    assert!(matches!(case.verify(), Err(Refused::Q1Scheme { .. })));
    case.rsa = Some((&signature::RSA_PKCS1_SHA384, [0x0014, 0x000c]));
    case.attest.digest = digest(HashAlg::Sha384, &case.values);
    assert!(matches!(case.verify(), Err(Refused::Q1Scheme { .. })));
    // A key that is fixed to nothing signs nothing that counts.
    let mut case = Case::of(SigningKey::Rsa(&RSA_A));
    case.ak = PublicSpec { scheme: None, ..PublicSpec::rsa_ak(&RSA_A) }.public();
    case.attest.qualified_signer = case.ak.qualified_name_under_endorsement(&case.ek);
    assert!(matches!(case.verify(), Err(Refused::Q1Scheme { .. })));
}

#[test]
fn q1_sha1_and_what_is_not_a_signature_are_refused() {
    let case = Case::of(SigningKey::Rsa(&RSA_A));
    let message = case.attest.bytes();
    let mut signature = case.key.sign(&message, None);
    signature[3] = 0x04;
    assert_eq!(case.verify_bytes(&message, &signature), Err(Refused::Q1Sha1));
    signature[3] = 0x0b;
    signature.push(0);
    assert!(matches!(case.verify_bytes(&message, &signature), Err(Refused::Q1Malformed(_))));
}

#[test]
fn q2_only_a_quote_and_only_one() {
    accepted(|_| {});
    assert_eq!(
        refused(|case| case.attest.magic = 0xff54_4348),
        Refused::Q2Structure(ParseError::Invalid { field: "magic", value: 0xff54_4348 })
    );
    let certify = refused(|case| case.attest.kind = 0x8017);
    assert!(certify.to_string().contains("certify"), "{certify}");
    assert_eq!(refused(|case| case.attest.trailing = vec![0]), Refused::Q2Structure(ParseError::Trailing { extra: 1 }));
    assert!(matches!(refused(|case| case.attest.safe = 2), Refused::Q2Structure(_)));
    let huge = refused(|case| case.attest.trailing = vec![0; 9000]);
    assert!(matches!(huge, Refused::Q2Structure(ParseError::TooLong { .. })));
}

#[test]
fn q3_extra_data_is_exact() {
    accepted(|_| {});
    for wrong in [vec![0x5b; 32], vec![], EXTRA[..31].to_vec(), [&EXTRA[..], &[0]].concat()] {
        assert!(matches!(refused(|case| case.attest.extra_data = wrong), Refused::Q3ExtraData { .. }));
    }
}

#[test]
fn q4_the_signer_is_the_ak_under_this_ek() {
    accepted(|_| {});
    // Under the owner hierarchy, under another EK, as a primary key, and by its plain name.
    let owner = |case: &Case| {
        let ek = HashAlg::Sha256.digest(&[&[0x40, 0, 0, 1], &case.ek.name()]);
        let ek = [&[0, 0x0b], ek.as_slice()].concat();
        [&[0, 0x0b], HashAlg::Sha256.digest(&[&ek, &case.ak.name()]).as_slice()].concat()
    };
    let primary = |case: &Case| {
        let name = HashAlg::Sha256.digest(&[&[0x40, 0, 0, 0x0b], &case.ak.name()]);
        [&[0, 0x0b], name.as_slice()].concat()
    };
    let other_ek = PublicSpec::rsa_ek(&crate::stand_in::RSA_B).public();
    assert!(matches!(refused(|c| c.attest.qualified_signer = owner(c)), Refused::Q4Signer { .. }));
    assert!(matches!(refused(|c| c.attest.qualified_signer = primary(c)), Refused::Q4Signer { .. }));
    assert!(matches!(refused(|c| c.attest.qualified_signer = c.ak.name()), Refused::Q4Signer { .. }));
    assert!(matches!(
        refused(|c| c.attest.qualified_signer = c.ak.qualified_name_under_endorsement(&other_ek)),
        Refused::Q4Signer { .. }
    ));
    let case = Case::p256();
    let message = case.attest.bytes();
    let signature = case.key.sign(&message, None);
    let evidence =
        QuoteEvidence { message: &message, signature: &signature, pcr_bank: case.bank, pcr_values: &case.values };
    assert!(matches!(verify(evidence, &case.expectation(b"\0\x0bshort")), Err(Refused::Q4Record { .. })));
}

#[test]
fn q5_a_reboot_under_a_lease_is_refused() {
    assert_eq!(accepted(|_| {}).boot(), BOOT);
    let got = BootCounters { reset_count: 13, ..BOOT };
    assert_eq!(refused(|case| case.attest.reset_count = 13), Refused::Q5Rebooted { expected: BOOT, got });
    assert!(matches!(refused(|case| case.attest.restart_count = 4), Refused::Q5Rebooted { .. }));
    // Back in time is another boot too.
    assert!(matches!(refused(|case| case.attest.reset_count = 11), Refused::Q5Rebooted { .. }));
}

#[test]
fn q5_without_a_lease_it_is_not_checked_and_not_shown_as_passed() {
    let claims = accepted(|case| {
        case.boot = None;
        case.attest.reset_count = 99;
        case.attest.safe = 0;
    });
    assert_eq!(claims.report().verdict("Q5"), Some(crate::Verdict::NotChecked));
    assert_eq!(claims.report().verdict("Q4"), Some(crate::Verdict::Passed));
    assert_eq!((claims.boot().reset_count, claims.safe()), (99, false));
    assert_eq!(accepted(|_| {}).report().verdict("Q5"), Some(crate::Verdict::Passed));
}

#[test]
fn q6_the_selection_is_exactly_the_policys() {
    accepted(|_| {});
    let bitmap = PcrSelection::default_sha256().bitmap().unwrap().to_vec();
    let wrong = [
        // No bank, a second one, even an empty one.
        vec![],
        vec![(0x000b, bitmap.clone()), (0x000c, bitmap.clone())],
        vec![(0x000b, bitmap.clone()), (0x0004, vec![0; 3])],
        // Another bank with the very same PCRs; SHA-1.
        vec![(0x000c, bitmap.clone())],
        vec![(0x0004, bitmap.clone())],
        // One PCR more, one less.
        vec![(0x000b, vec![bitmap[0], bitmap[1], bitmap[2] | 0x80])],
        vec![(0x000b, vec![bitmap[0] & !1, bitmap[1], bitmap[2]])],
        // The same PCRs, spelled otherwise.
        vec![(0x000b, [bitmap.as_slice(), &[0]].concat())],
        vec![(0x000b, bitmap[..2].to_vec())],
    ];
    for selection in wrong {
        let why = refused(|case| case.attest.selection = selection);
        assert!(matches!(why, Refused::Q6Selection { .. }), "{why}");
    }
}

#[test]
fn q6_the_values_are_exactly_those_of_the_selection() {
    let extra = refused(|case| {
        case.values.0.insert(23, Bytes(vec![1; 32]));
    });
    assert_eq!(extra, Refused::Q6Values { missing: vec![], extra: vec![23] });
    let missing = refused(|case| {
        case.values.0.remove(&14);
    });
    assert_eq!(missing, Refused::Q6Values { missing: vec![14], extra: vec![] });
    let bank = refused(|case| case.bank = PcrBank::Sha384);
    assert_eq!(bank, Refused::Q6Bank { expected: HashAlg::Sha256, got: HashAlg::Sha384 });
    // Bytes may not move from one value to its neighbour: the digest would not notice.
    let moved = refused(|case| {
        let byte = case.values.0.get_mut(&1).unwrap().0.remove(0);
        case.values.0.get_mut(&0).unwrap().0.push(byte);
        case.attest.digest = digest(HashAlg::Sha256, &case.values);
    });
    assert_eq!(moved, Refused::Q6Length { pcr: 0, expected: 32, actual: 33 });
    assert_eq!(refused(|case| case.selection.pcrs.reverse()), Refused::Q6Expectation);
}

/// CVE-2024-29039 and its kind: extend golden values into PCRs that software may extend, quote
/// those, and present them as the firmware's.
#[test]
fn q6_golden_values_in_other_pcrs_cannot_be_relabelled() {
    let golden: Vec<_> = (0..8_u8).map(|pcr| Bytes(vec![pcr + 0x10; 32])).collect();
    let firmware = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..8).collect() };
    let labelled = |first: u8| PcrMap((first..).zip(golden.clone()).collect());
    let relabel = |quoted: u8, presented: u8| {
        move |case: &mut Case| {
            let selection = PcrSelection { bank: PcrBank::Sha256, pcrs: (quoted..quoted + 8).collect() };
            case.attest.selection = vec![(0x000b, selection.bitmap().unwrap().to_vec())];
            case.attest.digest = digest(HashAlg::Sha256, &labelled(quoted));
            case.values = labelled(presented);
            case.selection = firmware.clone();
        }
    };
    let honest = relabel.clone()(0, 0);
    assert_eq!(accepted(honest).pcrs()[&0], "10".repeat(32));
    // The digest is the same in every case: only the signed selection tells them apart.
    assert!(matches!(refused(relabel.clone()(8, 0)), Refused::Q6Selection { .. }));
    assert!(matches!(refused(relabel.clone()(8, 8)), Refused::Q6Selection { .. }));
    assert!(matches!(refused(relabel(0, 8)), Refused::Q6Values { .. }));
}

#[test]
fn q7_the_digest_is_that_of_the_values() {
    let swapped = refused(|case| {
        let (a, b) = (case.values.0[&0].clone(), case.values.0[&1].clone());
        case.values.0.insert(0, b);
        case.values.0.insert(1, a);
    });
    assert!(matches!(swapped, Refused::Q7Digest { .. }));
    assert!(matches!(refused(|case| case.values.0.get_mut(&9).unwrap().0[31] ^= 1), Refused::Q7Digest { .. }));
}

#[test]
fn q7_the_digest_is_by_the_signing_schemes_hash() {
    // P-384 signs with SHA-384 over values of the SHA-256 bank.
    let mut case = Case::of(SigningKey::p384());
    assert_eq!(case.attest.digest.len(), 48);
    assert_eq!(case.verify().unwrap().bank(), PcrBank::Sha256);
    case.attest.digest = digest(HashAlg::Sha256, &case.values);
    assert!(matches!(case.verify(), Err(Refused::Q7Digest { .. })));

    let claims = accepted(|case| {
        case.bank = PcrBank::Sha384;
        case.selection.bank = PcrBank::Sha384;
        case.attest.selection[0].0 = 0x000c;
        for value in case.values.0.values_mut() {
            value.0.resize(48, 1);
        }
        case.attest.digest = digest(HashAlg::Sha256, &case.values);
    });
    assert_eq!(claims.pcr_values().0[&0].0.len(), 48);
}

#[test]
fn q8_firmware_that_did_not_measure_is_refused() {
    let with = |pcr: u8, value: [u8; 32]| {
        move |case: &mut Case| {
            case.values.0.insert(pcr, Bytes(value.to_vec()));
            case.attest.digest = digest(HashAlg::Sha256, &case.values);
        }
    };
    for pcr in [0, 4] {
        for byte in [0x00, 0xff] {
            assert_eq!(refused(with(pcr, [byte; 32])), Refused::Q8NotMeasured { pcr, byte });
        }
        let mut almost = [0; 32];
        almost[31] = 1;
        accepted(with(pcr, almost));
    }
    // Other PCRs may be untouched.
    accepted(with(13, [0; 32]));
    for pcr in [0, 4] {
        let left_out = refused(|case| {
            case.selection.pcrs.retain(|&p| p != pcr);
            case.values.0.remove(&pcr);
            case.attest.selection[0].1 = case.selection.bitmap().unwrap().to_vec();
            case.attest.digest = digest(HashAlg::Sha256, &case.values);
        });
        assert_eq!(left_out, Refused::Q8NotSelected { pcr });
    }
}

#[test]
fn only_what_was_signed_for_this_request_is_a_denial() {
    let mut denials = vec![];
    for change in [
        (|case: &mut Case| case.key = SigningKey::p256()) as fn(&mut Case),
        |case| case.attest.kind = 0x8017,
        |case| case.attest.extra_data = vec![1; 32],
        |case| case.attest.qualified_signer = vec![],
        |case| case.attest.reset_count += 1,
        |case| case.attest.selection.clear(),
        |case| case.attest.digest.clear(),
    ] {
        let why = refused(change);
        denials.push((why.row(), why.is_signed_for_this_request()));
        assert!(why.to_string().starts_with(why.row()));
    }
    let expected =
        [("Q1", false), ("Q2", false), ("Q3", false), ("Q4", true), ("Q5", true), ("Q6", true), ("Q7", true)];
    assert_eq!(denials, expected);
}

#[test]
fn a_refusal_is_reported_row_by_row() {
    let mut case = Case::p256();
    case.attest.reset_count += 1;
    let message = case.attest.bytes();
    let signature = case.key.sign(&message, None);
    let evidence =
        QuoteEvidence { message: &message, signature: &signature, pcr_bank: case.bank, pcr_values: &case.values };
    let (report, claims) = examine(evidence, &case.expectation(&case.ek.name()));
    assert!(claims.is_none() && !report.holds());
    assert_eq!(report.verdict("Q5"), Some(crate::Verdict::Refused));
    assert_eq!(report.verdict("Q6"), Some(crate::Verdict::NotChecked));
}

#[test]
fn claims_are_json_that_loses_nothing() {
    let claims = accepted(|_| {});
    let json = serde_json::to_value(&claims).unwrap();
    assert_eq!(json["firmware_version"], "fedcba9876543210");
    assert_eq!(json["pcrs"]["14"], "0f".repeat(32));
    assert_eq!(json["bank"], "sha256");
    assert_eq!(json["reset_count"], 12);
    assert_eq!(json["clock"], 123_456);
    assert_eq!(json.as_object().unwrap().len(), 10);
    assert!(serde_json::to_string(&schemars::schema_for!(TpmClaims)).unwrap().contains("qualified_signer"));
}
