//! Rows of SEV-SNP, over reports and chains of a stand-in: every field can be made wrong.

mod certificates;
mod endorsement;
mod form;
mod policy;

use super::*;
use crate::{Pins, Verdict};
use strongroom_hardware::snp::{AT, Leaf, Product, Snp, leaf_extensions};

/// A machine, what is sent of it, and what is expected.
pub(super) struct Case {
    pub(super) snp: Snp,
    pub(super) requirements: SnpRequirements,
    /// The root that is pinned (DER).
    pub(super) ark: Vec<u8>,
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) aux: Option<Vec<u8>>,
    pub(super) stored: Vec<Vec<u8>>,
    pub(super) crls: Vec<Vec<u8>>,
    pub(super) report_data: Option<[u8; 64]>,
    pub(super) at: u64,
}

/// An honest machine after `change`, with everything that it needs.
pub(super) fn case_of(mut snp: Snp, change: impl FnOnce(&mut Snp)) -> Case {
    let ark = snp.ark.der();
    change(&mut snp);
    Case {
        requirements: SnpRequirements::default(),
        certificates: snp.chain(),
        aux: None,
        stored: Vec::new(),
        crls: vec![snp.crl.der()],
        report_data: Some([3; 64]),
        at: AT,
        ark,
        snp,
    }
}

pub(super) fn case(change: impl FnOnce(&mut Snp)) -> Case {
    case_of(Snp::default(), change)
}

/// One whose certificate follows the report.
pub(super) fn consistent(product: Product, change: impl FnOnce(&mut Snp)) -> Case {
    case_of(Snp::new(product, Leaf::Vcek), |snp| {
        change(snp);
        snp.leaf.extensions = leaf_extensions(product, Leaf::Vcek, &snp.report);
    })
}

impl Case {
    pub(super) fn asking(mut self, change: impl FnOnce(&mut SnpRequirements)) -> Self {
        change(&mut self.requirements);
        self
    }

    fn roots(&self) -> SnpRoots {
        let pins = Pins::parse(&self.snp.pins(&self.ark)).unwrap();
        SnpRoots::new(&pins, [self.ark.as_slice()]).unwrap()
    }

    fn with<T>(&self, judge: impl FnOnce(&SnpEvidence<'_>, &SnpExpectation<'_>, &SnpRoots, &SnpStore<'_>) -> T) -> T {
        let certificates: Vec<Bytes> = self.certificates.iter().cloned().map(Bytes).collect();
        let report = self.snp.report_bytes();
        let evidence = SnpEvidence { report: &report, certificates: &certificates, aux: self.aux.as_deref() };
        let stored: Vec<&[u8]> = self.stored.iter().map(Vec::as_slice).collect();
        let crls: Vec<&[u8]> = self.crls.iter().map(Vec::as_slice).collect();
        let store = SnpStore { certificates: &stored, crls: &crls };
        let expect = SnpExpectation { report_data: self.report_data, requirements: &self.requirements };
        judge(&evidence, &expect, &self.roots(), &store)
    }

    pub(super) fn verify(&self) -> Result<SnpClaims, SnpRefused> {
        self.with(|evidence, expect, roots, store| verify(evidence, expect, roots, store, self.at))
    }

    pub(super) fn examine(&self) -> ExaminedSnp {
        self.with(|evidence, expect, roots, store| examine(evidence, expect, roots, store, self.at))
    }

    pub(super) fn accepted(&self) -> SnpClaims {
        let claims = self.verify().unwrap();
        let examined = self.examine();
        assert!(examined.report.holds(), "{}", examined.report);
        claims
    }

    /// The refusal; [`examine`] must refuse the same row.
    pub(super) fn refused(&self) -> SnpRefused {
        let refused = self.verify().unwrap_err();
        assert!(refused.to_string().starts_with(&format!("{}: ", refused.row())), "{refused}");
        let examined = self.examine();
        let verdict = examined.report.verdict(refused.row());
        match &refused {
            // What is missing is not checked by people's tools, and never released by a vault.
            SnpRefused::S4Missing { .. } | SnpRefused::S13Missing { .. } | SnpRefused::S9NotGiven => {
                assert_eq!(verdict, Some(Verdict::NotChecked), "{refused}");
            }
            _ => assert_eq!(verdict, Some(Verdict::Refused), "{refused}\n{}", examined.report),
        }
        refused
    }
}

#[test]
fn s1_to_s9_a_machine_of_every_product_is_accepted_in_each_version() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        for version in [3, 4, 5] {
            let claims = case_of(Snp::new(product, Leaf::Vcek), |snp| snp.report.version = version).accepted();
            assert_eq!((claims.version, claims.product.name()), (version, product.name()));
            assert_eq!(claims.tcb.reported.fmc.is_some(), product == Product::Turin);
            assert_eq!(claims.mitigations.is_some(), version == 5);
            let identity = claims.identity().unwrap();
            assert_eq!(identity.to_string(), format!("snp-chip:{}", claims.chip_id.unwrap()));
        }
    }
}

#[test]
fn s9_claims_are_those_of_the_report() {
    let claims = case(|snp| {
        snp.report.version = 5;
        snp.report.key_info = 1;
        snp.report.author_key_digest = [7; 48];
    })
    .accepted();
    let of = |byte: u8, length: usize| hex(&vec![byte; length]);
    assert_eq!((claims.family_id, claims.image_id), (of(1, 16), of(2, 16)));
    assert_eq!((claims.report_data, claims.measurement, claims.host_data), (of(3, 64), of(4, 48), of(5, 32)));
    assert_eq!((claims.id_key_digest, claims.author_key_digest), (of(6, 48), Some(of(7, 48))));
    assert_eq!((claims.report_id, claims.guest_svn, claims.vmpl), (of(8, 32), 7, 0));
    let mitigations = claims.mitigations.unwrap();
    assert_eq!((mitigations.launch, mitigations.current), (vec![0, 2], vec![0, 1, 2]));
    assert_eq!((claims.firmware.current.as_str(), claims.tcb.launch.microcode), ("1.55.20", 0x88));
    assert!(claims.platform.smt && claims.platform.ecc && claims.platform.alias_check_complete);
    assert!(claims.policy.smt_allowed && !claims.policy.cxl_allowed);
}

#[test]
fn s9_a_report_binds_exactly_this_request() {
    case(|_| {}).accepted();
    for at in [0, 31, 63] {
        let other = case(|snp| snp.report.report_data[at] ^= 1).refused();
        assert!(matches!(other, SnpRefused::S9ReportData { .. }), "{other}");
        assert!(!other.is_signed_for_this_request());
    }
    let none = Case { report_data: None, ..case(|_| {}) };
    assert_eq!(none.refused(), SnpRefused::S9NotGiven);
    let examined = none.examine();
    assert_eq!(examined.report.verdict("S9"), Some(Verdict::NotChecked));
    assert!(examined.report.holds() && examined.claims.is_some());
}

#[test]
fn s11_the_signature_is_by_the_leaf_over_the_received_bytes() {
    case(|_| {}).accepted();
    let signature = |refused| matches!(refused, SnpRefused::S11Signature(SnpSigningKey::Vcek));
    assert!(signature(case(|snp| snp.report_key = &strongroom_hardware::snp::keys().other).refused()));
    for at in [0x04, 0x30, 0x90, 0x150, 0x2a0, 0x2cf, 0x2e8, 0x317] {
        let byte = case(|_| {}).snp.report_bytes()[at] ^ 1;
        let refused = case(|snp| snp.report.set_after.push((at, byte))).verify().unwrap_err();
        assert!(signature(refused.clone()), "{at:#x}: {refused}");
    }
    for (at, field) in [
        (0x2d0, "the top of r"),
        (0x318, "the top of s"),
        (0x330, "what follows r and s"),
        (0x49f, "what follows r and s"),
    ] {
        let refused = case(|snp| snp.report.set_after.push((at, 1))).refused();
        assert_eq!(refused, SnpRefused::S11Encoding { field }, "{at:#x}");
    }
}

#[test]
fn s3_a_verified_chain_serves_for_its_key_in_its_time_and_for_nothing_else() {
    let case = case(|_| {});
    let report = case.snp.report_bytes();
    let parsed = AttestationReport::parse(&report).unwrap();
    let chain = case.with(|evidence, _, roots, store| verify_chain(&parsed, evidence, roots, store, AT)).unwrap();
    let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &case.requirements };
    let with = |bytes: &[u8], at: u64| verify_with(bytes, &chain, &expect, at);
    assert_eq!(with(&report, AT).unwrap(), case.accepted());
    // No longer than its shortest part, which is the revocation list.
    let until = u64::try_from(chain.until()).unwrap();
    assert!(with(&report, until).is_ok());
    assert!(matches!(with(&report, until + 1), Err(SnpRefused::S3Time { .. })));
    assert!(matches!(with(&report, AT - 20 * 86_400), Err(SnpRefused::S3Time { .. })));
    let other = |change: fn(&mut Snp)| with(&case_of(Snp::default(), change).snp.report_bytes(), AT).unwrap_err();
    assert!(matches!(other(|snp| snp.report.key_info = 4), SnpRefused::S3Kind { .. }));
    assert!(matches!(other(|snp| snp.report.cpu = [0x19, 0, 0]), SnpRefused::S3Name { .. }));
    assert!(matches!(other(|snp| snp.report.chip_id[0] ^= 1), SnpRefused::S5ChipId { .. }));
    assert!(matches!(other(|snp| snp.report.reported_tcb[7] -= 1), SnpRefused::S5Tcb { .. }));
    assert!(matches!(
        other(|snp| snp.report_key = &strongroom_hardware::snp::keys().other),
        SnpRefused::S11Signature(_)
    ));
}

#[test]
fn s4_what_a_chain_is_kept_by_changes_with_all_that_it_was_made_from() {
    let under = |case: &Case, roots: &SnpRoots| {
        let parsed = AttestationReport::parse(&case.snp.report_bytes()).unwrap();
        case.with(|evidence, _, _, store| cache_key(&parsed, evidence, store, roots))
    };
    let key = |case: &Case| under(case, SnpRoots::built_in());
    let base = Case { certificates: vec![vec![1]], crls: vec![vec![2]], ..case(|_| {}) };
    let same =
        Case { certificates: vec![vec![1]], crls: vec![vec![2]], ..case(|snp| snp.report.report_data = [4; 64]) };
    assert_eq!(key(&base), key(&same));
    let others = [
        Case { certificates: vec![vec![1], vec![1]], ..case(|_| {}) },
        Case { certificates: vec![vec![1]], crls: vec![vec![3]], ..case(|_| {}) },
        Case { certificates: Vec::new(), crls: vec![vec![2]], stored: vec![vec![1]], ..case(|_| {}) },
        Case { certificates: vec![vec![1]], crls: vec![vec![2]], aux: Some(vec![]), ..case(|_| {}) },
        Case { certificates: vec![vec![1]], crls: vec![vec![2]], ..case(|snp| snp.report.reported_tcb[0] = 1) },
        Case { certificates: vec![vec![1]], crls: vec![vec![2]], ..case(|snp| snp.report.chip_id[63] = 1) },
    ];
    for other in &others {
        assert_ne!(key(&base), key(other));
    }
    // A root that is taken out of the pins takes what was verified under it along.
    assert_ne!(key(&base), under(&base, &SnpRoots::default()));
}

#[test]
fn s11_only_a_signed_and_bound_report_is_denied() {
    let denied = case(|snp| snp.report.vmpl = 1).refused();
    assert!(denied.is_signed_for_this_request(), "{denied}");
    // The same machine, signed by nobody: whoever asks is not known.
    let forged = case(|snp| {
        snp.report.vmpl = 1;
        snp.report_key = &strongroom_hardware::snp::keys().other;
    });
    let refused = forged.verify().unwrap_err();
    assert_eq!(refused.row(), "S11");
    assert!(!refused.is_signed_for_this_request());
}
