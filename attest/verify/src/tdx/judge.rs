//! The parts of row T1, each judged in one place: `verify` stops at the first that refuses, `examine` judges all.

mod below;
mod said;

use super::{Ccel, Collateral, Evidence, Expectation, Mask, Quote, Registers, TdxRefused};
use crate::quote::hex;
use dcap_qvl::{QuoteClaims, QuotePolicy, verify::QuoteVerifier};
use said::status;
use strongroom_protocol::claims::TdxAttribute;
use subtle::ConstantTimeEq as _;

/// Bits 0 to 7: if one is set, the guest is not to be trusted at all.
const UNTRUSTED: u64 = 0xff;
/// Bit 0 of them.
const DEBUG: u64 = 1;
const SEPT_VE_DISABLE: u64 = 1 << 28;
/// XFAM bits that every guest has: x87 and SSE.
const XFAM_FIXED: u64 = 3;
/// What `dcap-qvl` says of the report itself, after everything else held: then the refusals of this module say it
/// better. If it should come to say it otherwise, it still refuses, and the message is its own.
const OF_THE_REPORT: [&str; 7] = [
    "Debug mode is enabled",
    "TD profiling is enabled",
    "Reserved bits in TD attributes are set",
    "TD migration is enabled",
    "SERVTD_EXT is enabled",
    "SEPT_VE_DISABLE is not enabled",
    "Invalid MR service TD",
];

/// And of a platform that meets no level, component by component: what Intel's own library calls `TCB_NOT_SUPPORTED` and
/// not `OutOfDate`. What it signed is genuine, and vouches for nothing.
const BELOW: &str = "No matching TCB level found";

const NO_COLLATERAL: &str = "Intel's collateral for the platform was not given";
const NOT_VERIFIED: &str = "what Intel vouches for was not verified";
const NO_VALUES: &str = "no accepted values were given";

/// `None`: it holds; a text: why it was not checked.
pub(super) type Outcome = Result<Option<String>, TdxRefused>;

/// A part of row T1 with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it checks.
    pub title: &'static str,
    /// `Ok(None)`: it holds; `Ok(Some(reason))`: it was not checked; `Err`: it does not hold.
    pub outcome: Result<Option<String>, TdxRefused>,
}

/// What is known while a quote is judged.
pub(super) struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    expect: &'a Expectation<'a>,
    quote: &'a Quote<'a>,
    verified: Option<QuoteClaims>,
    log: Option<Ccel>,
}

type Step<'a> = fn(&mut Judge<'a>) -> Outcome;

impl<'a> Judge<'a> {
    /// In the order in which they are checked.
    const PARTS: [(&'static str, Step<'a>); 14] = [
        ("report_data is the binding of the request", Self::bound),
        ("collateral of this platform, current, under a pinned root", Self::collateral),
        ("signatures, certificates, revocation, quoting enclave, module identity, TCB level", Self::signed),
        ("TCB status", Self::tcb_status),
        ("tcbEvaluationDataNumber", Self::evaluation_data),
        ("no debug, SEPT_VE_DISABLE, no other attributes than permitted", Self::attributes),
        ("MRSIGNERSEAM, MRSEAM", Self::module),
        ("MRSERVICETD, partition", Self::service_td),
        ("XFAM", Self::xfam),
        ("MRCONFIGID, MROWNER, MROWNERCONFIG", Self::configuration),
        ("MRTD", Self::mrtd),
        ("RTMR0 to RTMR3", Self::rtmrs),
        ("PPID", Self::identity),
        ("the event log leads to the RTMRs", Self::log),
    ];

    pub(super) fn new(evidence: &'a Evidence<'a>, expect: &'a Expectation<'a>, quote: &'a Quote<'a>) -> Self {
        Self { evidence, expect, quote, verified: None, log: None }
    }

    /// Every part, up to the first that refuses or lacks an input without which nothing is released.
    pub(super) fn strictly(&mut self) -> Result<(), TdxRefused> {
        if self.expect.report_data.is_none() {
            return Err(TdxRefused::T1NotGiven { input: "what the quote must bind" });
        }
        if self.expect.collateral.is_none() {
            return Err(TdxRefused::T1NotGiven { input: "Intel's collateral for the platform" });
        }
        for (_, step) in Self::PARTS {
            step(self)?;
        }
        Ok(())
    }

    /// Every part, by itself.
    pub(super) fn each(&mut self) -> Vec<Part> {
        Self::PARTS.map(|(title, step)| Part { title, outcome: step(self) }).into()
    }

    fn bound(&mut self) -> Outcome {
        let got = self.quote.report_data();
        match self.expect.report_data {
            None => Ok(Some(format!("what the quote must bind was not given; it binds {}", hex(got)))),
            Some(expected) if bool::from(expected.ct_eq(got)) => Ok(None),
            Some(expected) => Err(TdxRefused::T1ReportData { expected: hex(expected), got: hex(got) }),
        }
    }

    fn collateral(&mut self) -> Outcome {
        let Some(collateral) = self.expect.collateral else { return Ok(Some(NO_COLLATERAL.to_owned())) };
        let expected = self.quote.key()?;
        if *collateral.key() != expected {
            let (expected, got) = (expected.to_string(), collateral.key().to_string());
            return Err(TdxRefused::T1CollateralOfOther { expected, got });
        }
        collateral.check_dates(self.expect.at)?;
        collateral.check_root(self.expect.pins)?;
        Ok(None)
    }

    fn signed(&mut self) -> Outcome {
        let Some(collateral) = self.expect.collateral else { return Ok(Some(NO_COLLATERAL.to_owned())) };
        // A root that is not pinned vouches for nothing, whatever it signed.
        collateral.check_root(self.expect.pins)?;
        let intel = QuoteVerifier::new(collateral.root().to_vec());
        let at = self.expect.at;
        let all = QuotePolicy::claims_only(at);
        match intel.verify_with_policy(self.quote.bytes(), &collateral.given, at, &all) {
            Ok(verified) => {
                self.verified = Some(verified);
                Ok(None)
            }
            Err(error) => {
                if OF_THE_REPORT.contains(&error.to_string().as_str()) {
                    self.attributes()?;
                    self.service_td()?;
                }
                if error.to_string() == BELOW {
                    return Err(below::refusal(self.quote, collateral));
                }
                Err(TdxRefused::T1Unverified { problem: format!("{error:#}") })
            }
        }
    }

    fn tcb_status(&mut self) -> Outcome {
        let Some(verified) = &self.verified else { return Ok(Some(NOT_VERIFIED.to_owned())) };
        let accepted = &self.expect.requirements.tcb_statuses;
        let got = status(verified)?;
        if accepted.contains(&got) {
            return Ok(None);
        }
        let advisories = list(verified.tcb.advisory_ids.iter().map(String::as_str));
        Err(TdxRefused::T1TcbStatus { got, advisories, accepted: list(accepted.iter().map(|status| status.as_str())) })
    }

    fn evaluation_data(&mut self) -> Outcome {
        let Some(verified) = &self.verified else { return Ok(Some(NOT_VERIFIED.to_owned())) };
        let (got, minimum) = (verified.tcb.eval_data_number, self.expect.requirements.min_evaluation_data_number);
        if got < minimum {
            return Err(TdxRefused::T1EvaluationData { got, minimum });
        }
        Ok((minimum == 0).then(|| format!("no minimum was given; it is {got}")))
    }

    fn attributes(&mut self) -> Outcome {
        let bits = u64::from_le_bytes(self.quote.body().td_attributes);
        let attributes = Mask(bits).to_string();
        if bits & UNTRUSTED != 0 {
            let what = if bits & DEBUG == 0 { "profiling" } else { "debug" };
            return Err(TdxRefused::T1Debug { what, attributes });
        }
        if bits & SEPT_VE_DISABLE == 0 {
            return Err(TdxRefused::T1SeptVe { attributes });
        }
        let permitted = &self.expect.requirements.permitted_attributes;
        let known = TdxAttribute::ALL.iter().filter(|(attribute, _)| permitted.contains(attribute));
        let permitted = known.fold(SEPT_VE_DISABLE, |mask, (_, bit)| mask | 1 << bit);
        if bits & !permitted == 0 {
            Ok(None)
        } else {
            Err(TdxRefused::T1Attributes { bits: Mask(bits & !permitted).to_string(), attributes })
        }
    }

    fn module(&mut self) -> Outcome {
        let body = self.quote.body();
        let required = &self.expect.requirements.mr_seam;
        for (register, value, accepted) in
            [("MRSIGNERSEAM", &body.mr_signer_seam, &Registers::Zero), ("MRSEAM", &body.mr_seam, required)]
        {
            if !accepted.accept(value) {
                return Err(TdxRefused::T1Module { register, got: hex(value), accepted: accepted.to_string() });
            }
        }
        Ok(None)
    }

    fn service_td(&mut self) -> Outcome {
        let mut fields: Vec<(&'static str, &[u8])> = Vec::new();
        if let Some(body) = self.quote.body15() {
            fields.push(("MRSERVICETD", &body.mr_service_td));
        }
        if let Some(body) = self.quote.body15_ex() {
            fields.extend([
                ("VMID", std::slice::from_ref(&body.vmid)),
                ("INIT_SERVTD_HASH", &body.init_service_td_hash),
                ("INIT_SERVTD_ATTRIBUTES", &body.init_service_td_attributes),
                ("CUR_SERVTD_HASH", &body.cur_service_td_hash),
                ("CUR_SERVTD_ATTRIBUTES", &body.cur_service_td_attributes),
            ]);
        }
        match fields.into_iter().find(|(_, value)| value.iter().any(|&byte| byte != 0)) {
            Some((field, value)) => Err(TdxRefused::T1ServiceTd { field, got: hex(value) }),
            None => Ok(None),
        }
    }

    fn xfam(&mut self) -> Outcome {
        let bits = u64::from_le_bytes(self.quote.body().xfam);
        let permitted = self.expect.requirements.permitted_xfam;
        if bits & !permitted.0 == 0 && bits & XFAM_FIXED == XFAM_FIXED {
            Ok(None)
        } else {
            Err(TdxRefused::T1Xfam { got: Mask(bits).to_string(), permitted: permitted.to_string() })
        }
    }

    fn configuration(&mut self) -> Outcome {
        let (body, required) = (self.quote.body(), self.expect.requirements);
        accept("MRCONFIGID", &body.mr_config_id, &required.mr_config_id)?;
        accept("MROWNER", &body.mr_owner, &required.mr_owner)?;
        accept("MROWNERCONFIG", &body.mr_owner_config, &required.mr_owner_config)
    }

    fn mrtd(&mut self) -> Outcome {
        let required = &self.expect.requirements.mrtd;
        if *required == Registers::Any {
            return Ok(Some(NO_VALUES.to_owned()));
        }
        accept("MRTD", &self.quote.body().mr_td, required)
    }

    fn rtmrs(&mut self) -> Outcome {
        const NAMES: [&str; 4] = ["RTMR0", "RTMR1", "RTMR2", "RTMR3"];
        let required = &self.expect.requirements.rtmrs;
        for (number, registers) in required {
            let values = self.values();
            let place = usize::from(*number);
            let Some((name, value)) = NAMES.get(place).zip(values.get(place)) else {
                let (got, accepted) = ("not there".to_owned(), registers.to_string());
                return Err(TdxRefused::T1Register { register: "an RTMR above 3", got, accepted });
            };
            accept(name, value, registers)?;
        }
        Ok(required.is_empty().then(|| NO_VALUES.to_owned()))
    }

    fn identity(&mut self) -> Outcome {
        let Some(verified) = &self.verified else { return Ok(Some(NOT_VERIFIED.to_owned())) };
        let ppid = &verified.platform.pck.ppid;
        let refused = |problem| Err(TdxRefused::T1Ppid { got: hex(ppid), problem });
        match ppid.as_slice() {
            id if id.len() != 16 => refused("it has not 16 bytes"),
            id if id.iter().all(|&byte| byte == 0) => refused("it is zero"),
            _ => Ok(None),
        }
    }

    fn log(&mut self) -> Outcome {
        let Some(bytes) = self.evidence.ccel else {
            return if self.expect.requirements.log {
                Err(TdxRefused::T1NotGiven { input: "the event log (CCEL)" })
            } else {
                Ok(Some("no event log was given".to_owned()))
            };
        };
        let log = Ccel::parse(bytes)?;
        for ((rtmr, quoted), replayed) in (0..).zip(self.values()).zip(log.rtmrs()) {
            if quoted.as_slice() != replayed.as_slice() {
                return Err(TdxRefused::T1LogDiffers { rtmr, quoted: hex(quoted), replayed: hex(replayed) });
            }
        }
        self.log = Some(log);
        Ok(None)
    }

    fn values(&self) -> [&'a [u8; 48]; 4] {
        let body = self.quote.body();
        [&body.rt_mr0, &body.rt_mr1, &body.rt_mr2, &body.rt_mr3]
    }
}

fn accept(register: &'static str, value: &[u8; 48], accepted: &Registers) -> Outcome {
    if accepted.accept(value) {
        Ok(None)
    } else {
        Err(TdxRefused::T1Register { register, got: hex(value), accepted: accepted.to_string() })
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
