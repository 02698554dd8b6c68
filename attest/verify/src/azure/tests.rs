//! Row S12, and the rows of report and quote that stand beside it, over a stand-in of Azure's vTPM.

use super::*;
use crate::{
    Pins, Verdict,
    quote::{Found, Known, Values},
    snp::{ExaminedSnp, SnpRefused},
    tpm::HashAlg,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use strongroom_hardware::{
    azure::{Azure, jwk, other_ak, runtime_data},
    snp::{AT, keys},
};
use strongroom_protocol::evidence::{PcrBank, PcrMap};

/// A machine with what is expected of it.
struct Case {
    azure: Azure,
    ark: Vec<u8>,
    requirements: SnpRequirements,
}

fn case(change: impl FnOnce(&mut Azure)) -> Case {
    let mut azure = Azure::default();
    let ark = azure.snp.ark.der();
    let paravisors = BTreeSet::from([Register(azure.snp.report.measurement)]);
    change(&mut azure);
    Case { azure, ark, requirements: SnpRequirements { paravisors, ..SnpRequirements::default() } }
}

impl Case {
    /// Without people's tool beside it.
    fn verify_alone(&self) -> Result<AzureClaims, AzureRefused> {
        self.verdicts(false)
    }

    fn verify(&self) -> Result<AzureClaims, AzureRefused> {
        self.verdicts(true)
    }

    fn verdicts(&self, compared: bool) -> Result<AzureClaims, AzureRefused> {
        let roots =
            SnpRoots::new(&Pins::parse(&self.azure.snp.pins(&self.ark)).unwrap(), [self.ark.as_slice()]).unwrap();
        let (hcl_report, message, signature) = (self.azure.hcl_report(), self.azure.message(), self.azure.signature());
        let values = PcrMap(self.azure.quote.pcrs.iter().map(|(pcr, value)| (*pcr, Bytes(value.clone()))).collect());
        let certificates: Vec<Bytes> = self.azure.snp.chain().into_iter().map(Bytes).collect();
        let crl = self.azure.snp.crl.der();
        let quote =
            QuoteEvidence { message: &message, signature: &signature, pcr_bank: PcrBank::Sha256, pcr_values: &values };
        let evidence = AzureEvidence { hcl_report: &hcl_report, quote, certificates: &certificates };
        let selection = PcrSelection::default_sha256();
        let expect = AzureExpectation { extra_data: [9; 32], selection: &selection, requirements: &self.requirements };
        let verdict = verify(&evidence, &expect, &roots, &SnpStore { certificates: &[], crls: &[&crl] }, AT);

        if !compared {
            return verdict;
        }
        // People's tool comes to the same row, and holds where a vault accepts.
        let found_values: Values = self.azure.quote.pcrs.clone();
        let found = Found {
            message: &message,
            signature: &signature,
            values: Some((HashAlg::Sha256, &found_values)),
            exact: true,
        };
        let wanted = selection.pcrs.iter().copied().collect();
        let known = Known { extra_data: Some(&[9; 32]), wanted: Some((HashAlg::Sha256, &wanted)), ..Known::default() };
        let judged = examine(
            &hcl_report,
            &certificates,
            Some((&found, &known)),
            &self.requirements,
            &roots,
            &SnpStore { certificates: &[], crls: &[&crl] },
            AT,
        );
        match &verdict {
            Ok(_) => assert!(judged.report.holds(), "{}", judged.report),
            Err(refused) => {
                assert!(refused.to_string().starts_with(&format!("{}: ", refused.row())), "{refused}");
                assert_eq!(
                    judged.report.verdict(refused.row()),
                    Some(Verdict::Refused),
                    "{refused}\n{}",
                    judged.report
                );
            }
        }
        verdict
    }

    fn refused(&self) -> AzureRefused {
        self.verify().unwrap_err()
    }
}

#[test]
fn s12_a_machine_of_azure_is_accepted_with_reports_of_each_version() {
    for version in [2, 3, 5] {
        let claims = case(|azure| azure.snp.report.version = version).verify().unwrap();
        assert_eq!(claims.snp.version, version);
        assert_eq!(claims.identity().unwrap().to_string(), "cloud-vm:0a1b2c3d-1111-2222-3333-444455556666");
        assert_eq!((claims.secure_boot, claims.console_enabled), (Some(true), Some(true)));
        assert_eq!(claims.user_data.as_deref(), Some("00"));
        assert_eq!(claims.pcrs.len(), 14);
        assert!(claims.snp.chip_id.is_some());
    }
}

#[test]
fn s12_the_report_holds_the_hash_of_the_runtime_data_and_zeros() {
    let right = case(|_| {}).azure;
    let hcl_report = right.hcl_report();
    let bound = Envelope::parse(&hcl_report).unwrap().report_data();
    assert!(case(|azure| azure.report_data = Some(bound)).verify().is_ok());
    for at in [0, 31, 32, 63] {
        let mut other = bound;
        other[at] ^= 1;
        let refused = case(|azure| azure.report_data = Some(other)).refused();
        assert!(matches!(refused, AzureRefused::S12RuntimeData { .. }), "{refused}");
        assert!(!refused.is_signed_for_this_request());
    }
    // Runtime data with another key, under a genuine report of this machine.
    let swapped = case(|azure| {
        azure.report_data = Some(bound);
        azure.runtime_data = runtime_data(other_ak());
        azure.quote.signed_by = other_ak();
    });
    assert!(matches!(swapped.refused(), AzureRefused::S12RuntimeData { .. }));
}

#[test]
fn s12_the_envelope_has_one_form() {
    case(|azure| azure.header[1] = 2).verify().unwrap();
    case(|azure| azure.after = Vec::new()).verify().unwrap();
    let field = |change: fn(&mut Azure)| match case(change).refused() {
        AzureRefused::S12Envelope { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(|azure| azure.header[0] ^= 1), "signature");
    assert_eq!(field(|azure| azure.header[1] = 3), "version");
    assert_eq!(field(|azure| azure.kinds[1] = 4), "kind of report");
    assert_eq!(field(|azure| azure.kinds[2] = 2), "kind of hash");
    assert_eq!(field(|azure| azure.longer[0] = 1), "size of the runtime data");
    assert_eq!(field(|azure| azure.after[99] = 1), "end");
    assert_eq!(field(|azure| azure.longer = [-1, -1]), "end");
    let length = |change: fn(&mut Azure)| matches!(case(change).refused(), AzureRefused::S12Length { .. });
    assert!(length(|azure| azure.longer = [101, 101]));
    assert!(length(|azure| azure.longer = [i32::MIN, i32::MIN]));
    assert!(length(|azure| azure.after = vec![0; 16 << 10]));
    let hcl_report = case(|_| {}).azure.hcl_report();
    for short in [0, 31, 32, 1215, 1216, 1235, 1300] {
        let refused = Envelope::parse(&hcl_report[..short]).unwrap_err();
        assert!(matches!(refused, AzureRefused::S12Length { .. }), "{short}");
    }
}

#[test]
fn s12_the_runtime_data_have_one_key_that_quotes() {
    case(|_| {}).verify().unwrap();
    let json =
        |change: fn(String) -> String| case(|azure| azure.runtime_data = change(azure.runtime_data.clone())).refused();
    let key = |change| matches!(json(change), AzureRefused::S12Key { .. });
    assert!(key(|json| json.replace("HCLAkPub", "HCLAkPu")));
    assert!(key(|json| json.replace("HCLEkPub", "HCLAkPub")));
    assert!(key(|json| json.replace("\"sign\"", "\"encrypt\"")));
    assert!(key(|json| json.replace("\"RSA\"", "\"EC\"")));
    assert!(key(|json| json.replace("AQAB", "Aw")));
    assert!(key(|json| json.replace(
        &jwk("HCLAkPub", "sign", strongroom_hardware::azure::ak()),
        "{\"kid\":\"HCLAkPub\",\"kty\":\"RSA\",\"e\":\"AQAB\",\"key_ops\":[\"sign\"],\"n\":\"_w\"}"
    )));
    let text = |change| matches!(json(change), AzureRefused::S12Json { .. });
    assert!(text(|json| json.replace("\"user-data\"", "\"keys\"")));
    assert!(text(|json| json.replace("\"00\"", "0")));
    assert!(text(|json| json.replace("\"secure-boot\":true", "\"secure-boot\":1")));
    assert!(text(|json| json.replace("0A1B2C3D-", "0A1B2C3D")));
    assert!(text(|json| json.replace("0A1B2C3D-", "zA1B2C3D-")));
    assert!(text(|json| json.replacen('{', "[", 1)));
    assert!(text(|_| "[]".to_owned()));
    assert!(text(|_| "{}".to_owned()));
    assert!(text(|_| r#"{"keys":[],"vm-configuration":[]}"#.to_owned()));
}

#[test]
fn s12_a_machine_without_an_id_is_no_identity() {
    let claims = case(|azure| azure.runtime_data = azure.runtime_data.replace("vmUniqueId", "other")).verify().unwrap();
    assert_eq!((claims.vm_id.clone(), claims.identity()), (None, None));
}

#[test]
fn s12_the_rows_of_the_report_hold_here_too() {
    let row = |change: fn(&mut Azure)| case(change).refused().row();
    case(|_| {}).verify().unwrap();
    assert_eq!(row(|azure| azure.snp.report.version = 6), "S1");
    assert_eq!(row(|azure| azure.snp.leaf.signed_by = &keys().forger), "S3");
    assert_eq!(row(|azure| azure.snp.crl.signed_by = &keys().forger), "S4");
    assert_eq!(row(|azure| azure.snp.report.chip_id[0] ^= 1), "S5");
    assert_eq!(row(|azure| azure.snp.report.committed_tcb[0] += 1), "S6");
    assert_eq!(row(|azure| azure.snp.report.policy |= 1 << 19), "S7");
    assert_eq!(row(|azure| azure.snp.report.vmpl = 2), "S8");
    assert_eq!(row(|azure| azure.snp.report_key = &keys().other), "S11");
    let product = case(|azure| azure.snp.leaf.issuer = strongroom_hardware::certificate::Name::of("SEV-Rome"));
    assert!(matches!(product.refused(), AzureRefused::Snp(SnpRefused::S3Name { field: "issuer", .. })));
}

#[test]
fn s12_freshness_is_the_quotes_alone() {
    case(|_| {}).verify().unwrap();
    let row = |change: fn(&mut Azure)| match case(change).refused() {
        AzureRefused::Quote(refused) => refused.row(),
        other => panic!("{other}"),
    };
    assert_eq!(row(|azure| azure.quote.signed_by = other_ak()), "Q1");
    assert_eq!(row(|azure| azure.quote.magic = 0), "Q2");
    assert_eq!(row(|azure| azure.quote.extra_data = vec![8; 32]), "Q3");
    assert_eq!(row(|azure| azure.quote.extra_data = vec![9; 31]), "Q3");
    assert_eq!(row(|azure| drop(azure.quote.pcrs.remove(&7))), "Q6");
    assert_eq!(row(|azure| azure.quote.digest = Some(vec![0; 32])), "Q7");
    assert_eq!(row(|azure| drop(azure.quote.pcrs.insert(0, vec![0; 32]))), "Q8");
}

#[test]
fn s12_only_what_an_ak_under_amds_key_signed_for_this_request_is_denied() {
    let denied = |change: fn(&mut Azure)| case(change).refused().is_signed_for_this_request();
    assert!(denied(|azure| azure.snp.report.policy |= 1 << 19));
    assert!(denied(|azure| azure.quote.digest = Some(vec![0; 32])));
    // A replayed quote, or no quote of this machine at all, beside a report that policy would refuse.
    for change in [
        (|azure| azure.quote.extra_data = vec![8; 32]) as fn(&mut Azure),
        |azure| azure.quote.signed_by = other_ak(),
        |azure| azure.snp.report_key = &keys().other,
    ] {
        assert!(!denied(change));
        let case = case(|azure| {
            azure.snp.report.policy |= 1 << 19;
            change(azure);
        });
        assert!(!case.refused().is_signed_for_this_request());
    }
}

#[test]
fn q4_q5_are_not_checked_for_a_vouched_ak() {
    let azure = Azure::default();
    let (message, signature, hcl_report) = (azure.message(), azure.signature(), azure.hcl_report());
    let found = Found { message: &message, signature: &signature, values: None, exact: true };
    let requirements = SnpRequirements::default();
    let quote = Some((&found, &Known::default()));
    let judged = examine(&hcl_report, &[], quote, &requirements, SnpRoots::built_in(), &SnpStore::default(), AT);
    for row in ["Q4", "Q5"] {
        assert_eq!(judged.report.verdict(row), Some(Verdict::NotChecked));
    }
    assert_eq!(judged.report.verdict("Q1"), Some(Verdict::Passed));
    assert!(judged.snp.is_some_and(|ExaminedSnp { claims, .. }| claims.is_none()));
}

/// Seeds of `fuzz/`.
#[test]
fn seeds_are_kept() {
    for version in [2, 3] {
        let bytes = case(|azure| azure.snp.report.version = version).azure.hcl_report();
        crate::seeds::keep("hcl_report", &format!("version-{version}"), &bytes);
    }
}

proptest! {
    #[test]
    fn s12_no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0_usize..2300, bit in 0_u8..8) {
        let _ = Envelope::parse(&bytes);
        let _ = RuntimeData::parse(&bytes);
        let mut envelope = Azure::default().hcl_report();
        let at = at % envelope.len();
        envelope[at] ^= 1 << bit;
        let judged = examine(&envelope, &[], None, &SnpRequirements::default(), SnpRoots::built_in(), &SnpStore::default(), AT);
        prop_assert!(judged.snp.is_none_or(|snp| snp.claims.is_none()));
    }
}

/// Whoever has a processor of AMD's can have it vouch for runtime data of his own making: the measurement alone says
/// whose they are.
#[test]
fn s12_runtime_data_count_under_an_accepted_paravisor_alone() {
    let genuine = case(|_| ());
    genuine.verify().unwrap();
    let mut forged = case(|azure| azure.snp.report.measurement = [0x66; 48]);
    let refused = forged.refused();
    assert!(matches!(&refused, AzureRefused::S12Paravisor { accepted: 1, .. }), "{refused}");
    assert!(!refused.is_signed_for_this_request(), "nothing vouches for the AK: it is nobody's denial");
    forged.requirements.paravisors.insert(Register([0x66; 48]));
    forged.verify().unwrap();

    // None is not any. People's tool says that it was not judged.
    let none = Case { requirements: SnpRequirements::default(), ..case(|_| ()) };
    let (azure, store) = (&none.azure, SnpStore::default());
    let judged = examine(&azure.hcl_report(), &[], None, &none.requirements, SnpRoots::built_in(), &store, AT);
    let row = judged.report.rows.iter().find(|row| row.row == "S12").unwrap();
    assert!(row.verdict == Verdict::NotChecked && row.note.as_ref().is_some_and(|note| note.contains("not judged")));
    assert!(!judged.vouches());
    assert!(matches!(none.verify_alone(), Err(AzureRefused::S12Paravisor { accepted: 0, .. })));
}
