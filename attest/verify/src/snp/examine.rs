//! A report for people who have only a part of what a vault has: each row judged by itself.

use super::{
    AttestationReport, Candidates, Chain, Place, SnpEvidence, SnpExpectation, SnpRefused, SnpRoots, SnpStore,
    check_report_data, check_setup, check_signature, check_tcbs, claims, parse, requirements,
};
use crate::{Report, Verdict, rows};
use std::collections::BTreeMap;
use strongroom_protocol::{
    claims::{SnpClaims, SnpProduct},
    requirements::MinimumTcbs,
};

/// What became of each row of a report, and what could be read of it.
#[derive(Debug, Clone, Default)]
pub struct ExaminedSnp {
    /// Rows S1 to S9, S11 and S13.
    pub report: Report,
    /// The report; `None` where S1 refused. Believe it only if S3, S5 and S11 passed.
    pub attestation: Option<AttestationReport>,
    /// The product, by the report or by the leaf.
    pub product: Option<SnpProduct>,
    /// The claims; `None` unless S3, S5 and S11 passed and no row refused.
    pub claims: Option<SnpClaims>,
    /// Why a row was refused, by row.
    pub refused: BTreeMap<&'static str, SnpRefused>,
}

/// `Ok(None)`: it holds; `Ok(Some)`: why it was not checked.
type Outcome = Result<Option<String>, SnpRefused>;

/// [`super::verify`] for people: every row says for itself what is wrong, and what was not given is not checked.
pub fn examine(
    evidence: &SnpEvidence<'_>,
    expect: &SnpExpectation<'_>,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
) -> ExaminedSnp {
    examine_at(evidence, expect, roots, store, at, Place::Bare)
}

pub(crate) fn examine_at(
    evidence: &SnpEvidence<'_>,
    expect: &SnpExpectation<'_>,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
    place: Place,
) -> ExaminedSnp {
    let mut judged = Judged::default();
    // What can be read is read, also where the version is refused.
    judged.set("S1", parse(evidence.report, place).map(|_| None));
    let Ok(report) = AttestationReport::parse(evidence.report) else {
        return judged.finish(None, None, None);
    };
    let candidates = Candidates::gather(evidence, store, roots);
    let chain = candidates.as_ref().map_err(Clone::clone).and_then(|all| Chain::find(&report, all, roots));
    let product = report.product().ok().flatten().or_else(|| chain.as_ref().ok().map(Chain::product));
    let requirements = expect.requirements;
    judged.set(
        "S2",
        match (report.product(), product) {
            (Err(refused), _) => Err(refused),
            (Ok(_), Some(product)) => requirements::check_product(requirements, product).map(|()| None),
            (Ok(_), None) => Ok(Some("version 2 does not say, and there is no chain to tell by".to_owned())),
        },
    );
    let mut crl_made_at = None;
    let mut csp_id = None;
    match &chain {
        Ok(chain) => {
            judged.set("S13", Ok(None));
            let path = chain.check_path(at);
            judged.set(
                "S11",
                match chain.leaf_key() {
                    Some(key) => check_signature(evidence.report, &key, chain.kind()).map(|()| None),
                    None => Ok(Some("the leaf has no key of the right kind".to_owned())),
                },
            );
            judged.set("S3", path.and_then(|_| requirements::check_key(requirements, chain.kind())).map(|()| None));
            judged.set(
                "S4",
                chain.check_revocation(store.crls, at).map(|holds| {
                    crl_made_at = holds.map(|(made_at, _)| made_at);
                    holds.is_none().then(|| format!("no CRL was given ({})", chain.crl_missing()))
                }),
            );
            judged.set(
                "S5",
                chain.endorsement().and_then(|endorsement| {
                    csp_id.clone_from(&endorsement.csp_id);
                    endorsement.check(&report, chain.product()).map(|()| None)
                }),
            );
        }
        Err(missing @ SnpRefused::S13Missing { .. }) => {
            for row in ["S13", "S3", "S4", "S5", "S11"] {
                judged.set(row, Ok(Some(missing.to_string())));
            }
        }
        Err(refused) => {
            for row in ["S13", "S3", "S4", "S5", "S11"] {
                judged.set(row, Ok(Some("there is no chain to check it by".to_owned())));
            }
            judged.set(refused.row(), Err(refused.clone()));
        }
    }
    judged.set(
        "S9",
        match &expect.report_data {
            Some(expected) => check_report_data(&report, expected).map(|()| None),
            None => Ok(Some("what the report must bind was not given".to_owned())),
        },
    );
    judged.set("S8", requirements::check_vmpl(requirements, report.vmpl).map(|()| None));
    let key = report.key_info.signing_key;
    let said = product.zip(key).map(|(product, key)| claims(&report, product, key, csp_id, crl_made_at));
    match &said {
        None => {
            for row in ["S6", "S7"] {
                judged.set(row, Ok(Some("the product, or the kind of key, is not known".to_owned())));
            }
        }
        Some(Err(refused)) => {
            judged.set("S7", Ok(Some("the report's TCBs cannot be read".to_owned())));
            judged.set("S6", Err(refused.clone()));
        }
        Some(Ok(said)) => {
            let minimum =
                requirements.minimum_tcb.get(&said.product).is_some_and(|minimum| *minimum != MinimumTcbs::default());
            let unknown = || format!("the TCBs are in order; no minimum was given for {}", said.product);
            judged.set("S6", check_tcbs(said, &report, requirements).map(|()| (!minimum).then(unknown)));
            judged.set("S7", check_setup(said, &report, requirements).map(|()| None));
        }
    }
    judged.finish(Some(report), product, said.and_then(Result::ok))
}

#[derive(Default)]
struct Judged(BTreeMap<&'static str, Outcome>);

impl Judged {
    fn set(&mut self, row: &'static str, outcome: Outcome) {
        self.0.insert(row, outcome);
    }

    fn finish(
        self,
        attestation: Option<AttestationReport>,
        product: Option<SnpProduct>,
        said: Option<SnpClaims>,
    ) -> ExaminedSnp {
        let report = Report::of_each(&rows::SEV_SNP, |row| match self.0.get(row) {
            Some(Ok(None)) => (Verdict::Passed, None),
            Some(Ok(Some(reason))) => (Verdict::NotChecked, Some(reason.clone())),
            Some(Err(refused)) => (Verdict::Refused, Some(refused.to_string())),
            None => (Verdict::NotChecked, Some("there is no report to read".to_owned())),
        });
        let vouched = ["S3", "S5", "S11"].iter().all(|row| report.verdict(row) == Some(Verdict::Passed));
        let claims = said.filter(|_| vouched && report.holds());
        let refused = self.0.into_iter().filter_map(|(row, outcome)| Some((row, outcome.err()?))).collect();
        ExaminedSnp { report, attestation, product, claims, refused }
    }
}
