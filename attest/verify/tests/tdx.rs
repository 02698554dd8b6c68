//! Row T1 upon a stand-in whose every field can be wrong. What one test refuses, only the named part refuses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how a test speaks")]

use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use strongroom_attest::{
    Pins, Verdict, log,
    tdx::{
        COLLATERAL_BYTES, Ccel, Collateral, CollateralError, Evidence, Expectation, Mask, Quote, Register, Registers,
        TdxRefused, TdxRequirements, examine, verify,
    },
};
use strongroom_hardware::tdx::{AT, BodyKind, Ccel as Log, CcelEvent, Key, Tdx};
use strongroom_protocol::claims::{TdxAttribute, TdxClaims, TdxTcbStatus};

#[path = "tdx/collateral.rs"]
mod collateral;
#[path = "tdx/guest.rs"]
mod guest;
#[path = "tdx/layout.rs"]
mod layout;
#[path = "tdx/signatures.rs"]
mod signatures;

/// What a stand-in is judged by.
struct Given {
    report_data: [u8; 64],
    at: u64,
    requirements: TdxRequirements,
    ccel: Option<Vec<u8>>,
}

impl Default for Given {
    fn default() -> Self {
        Self { report_data: [0x77; 64], at: AT, requirements: TdxRequirements::default(), ccel: None }
    }
}

impl Given {
    fn requiring(require: impl FnOnce(&mut TdxRequirements)) -> Self {
        let mut given = Self::default();
        require(&mut given.requirements);
        given
    }

    fn at(at: u64) -> Self {
        Self { at, ..Self::default() }
    }

    fn judge(&self, tdx: &Tdx) -> Result<TdxClaims, TdxRefused> {
        self.judge_quote(tdx, &tdx.quote())
    }

    fn judge_quote(&self, tdx: &Tdx, quote: &[u8]) -> Result<TdxClaims, TdxRefused> {
        let (pins, collateral) = (pins(tdx), collateral_of(tdx));
        let expect = Expectation {
            report_data: Some(&self.report_data),
            collateral: Some(&collateral),
            pins: &pins,
            at: self.at,
            requirements: &self.requirements,
        };
        verify(&Evidence { quote, ccel: self.ccel.as_deref() }, &expect)
    }
}

fn pins(tdx: &Tdx) -> Pins {
    Pins::parse(&tdx.pins()).unwrap()
}

fn collateral_of(tdx: &Tdx) -> Collateral {
    Collateral::parse(&tdx.collateral()).unwrap()
}

fn changed(change: impl FnOnce(&mut Tdx)) -> Tdx {
    let mut tdx = Tdx::default();
    change(&mut tdx);
    tdx
}

fn accepted(change: impl FnOnce(&mut Tdx)) -> TdxClaims {
    Given::default().judge(&changed(change)).unwrap()
}

fn refused(change: impl FnOnce(&mut Tdx)) -> TdxRefused {
    Given::default().judge(&changed(change)).unwrap_err()
}

/// Refused by `dcap-qvl`, which says this.
fn unverified(change: impl FnOnce(&mut Tdx), says: &str) {
    match refused(change) {
        TdxRefused::T1Unverified { problem } => assert!(problem.contains(says), "{problem} does not say {says}"),
        other => panic!("{other}"),
    }
}

/// Keeps a right input for `.ci/fuzz` to begin with, under the build directory.
fn keep_seed(target: &str, name: &str, bytes: &[u8]) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz/seeds/attest-verify-fuzz").join(target);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(name), bytes).unwrap();
}
