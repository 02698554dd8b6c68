//! The store of endorsements as releases and enrolments use it: loaded from the database, vouched for anew by this
//! vault's pins, kept until it changes.
//!
//! ```text
//! database (rows, pins of persons) ──generation moved?──> Current { store, snp_roots, … } ──> verifications
//!                                        └─ what no pin vouches for any more is left out, and told of
//! ```

pub mod ends;
mod load;

use crate::problem::{Answer, Refused};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};
use strongroom_attest::{
    Pins, TrustAnchors,
    endorsements::{Store as Endorsed, WARNED},
    snp::SnpRoots,
};
use strongroom_protocol::endorsement::{EndorsementState, PinState};
use strongroom_store::{
    Store, StoreError,
    model::{EndorsementRow, PinRow},
};
use tokio::sync::{Mutex, MutexGuard};

/// Endorsements as they are in one generation.
#[derive(Debug, Default)]
pub struct Current {
    /// What verifications are given. Its pins are the program's and those that two persons made.
    pub store: Endorsed,
    /// AMD's roots and intermediates, those of the program among them.
    pub snp_roots: SnpRoots,
    /// TPM vendors' roots and intermediates.
    pub tpm: TrustAnchors,
    /// Grows with each change of the endorsements and the pins.
    pub generation: i64,
    /// What the database tells of each endorsement, by name.
    pub rows: Vec<EndorsementRow>,
    /// Pins of persons, proposals included.
    pub pins: Vec<PinRow>,
    /// What lies in the database and is not used, by name, with the reason.
    pub left_out: BTreeMap<String, String>,
    /// Under which name of an earlier release something lies in the database, by the name that it has now.
    pub moved: BTreeMap<String, String>,
}

/// Keeps the endorsements of the last generation that was seen. The generation itself is read each time.
#[derive(Debug)]
pub struct Endorsements {
    pins: Pins,
    kept: RwLock<Option<Arc<Current>>>,
    loading: Mutex<()>,
    changing: Mutex<()>,
    warned: ends::Warned,
}

impl Endorsements {
    /// Endorsements that these roots vouch for, and those that persons add.
    pub fn new(pins: Pins) -> Self {
        let (kept, warned) = (RwLock::default(), ends::Warned::default());
        Self { pins, kept, loading: Mutex::default(), changing: Mutex::default(), warned }
    }

    /// The roots that came with the program.
    pub fn built_in(&self) -> &Pins {
        &self.pins
    }

    /// The endorsements as they are now. Cheap while nothing changes: one read of a number.
    pub async fn current(&self, store: &dyn Store) -> Answer<Arc<Current>> {
        Ok(self.load(store).await?)
    }

    /// The same for whoever does not answer requests.
    pub async fn load(&self, store: &dyn Store) -> Result<Arc<Current>, StoreError> {
        let generation = store.endorsement_generation().await?;
        if let Some(kept) = self.kept(generation) {
            return Ok(kept);
        }
        // One loads, the others wait for it.
        let _loading = self.loading.lock().await;
        if let Some(kept) = self.kept(generation) {
            return Ok(kept);
        }
        let list = store.endorsements().await?;
        let before = self.kept.read().unwrap_or_else(PoisonError::into_inner).clone();
        let current = Arc::new(load::load(store, list, self.pins.clone(), before).await?);
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        Ok(current)
    }

    /// Held by whoever changes them, so that those who ask here at one time wait instead of being refused.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// What is kept, unless it is older than this generation.
    fn kept(&self, generation: i64) -> Option<Arc<Current>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| kept.generation >= generation).cloned()
    }
}

impl Current {
    /// Pins of persons that are in force.
    pub fn pinned(&self) -> impl Iterator<Item = &PinRow> {
        self.pins.iter().filter(|pin| pin.state == PinState::InForce)
    }

    /// The name under which the database has what has this name now.
    pub fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.moved.get(name).map_or(name, String::as_str)
    }

    /// Whether it lies in the database and is not used.
    pub fn is_left_out(&self, name: &str) -> bool {
        self.left_out.contains_key(name)
    }

    /// What is used now and would not be vouched for any more by these pins, or without one endorsement.
    pub fn fallen(&self, pins: &Pins, without: Option<&str>) -> Vec<String> {
        load::fallen(self, pins, without)
    }
}

/// How something that is valid from and until these times (Unix seconds) stands at `now`.
pub fn standing(from: i64, until: i64, now: i64) -> EndorsementState {
    match () {
        () if now > until => EndorsementState::Expired,
        () if now < from => EndorsementState::NotYetValid,
        () if until.saturating_sub(now).cast_unsigned() < WARNED => EndorsementState::Expiring,
        () => EndorsementState::Valid,
    }
}

impl From<load::PinsBroken> for Refused {
    fn from(broken: load::PinsBroken) -> Self {
        Self::internal(broken)
    }
}

pub use load::with_pins;
