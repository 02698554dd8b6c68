//! What an item means: its guards, nonce, changes and quotas, one after the other, and its record.

use crate::{
    backend::{Addition, Candidate, NewEntry, StoredHead, Transaction},
    batch::{Change, Closed, Item, Quota, Refusal},
    model::LeaseRow,
    store::StoreError,
    terms,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::{BTreeSet, HashMap};
use strongroom_ledger::{Record, Subject, Timestamp, entry_hash};
use strongroom_protocol::{DecisionId, LeaseId, NodeId, lease::LeaseState};

/// Guards and quotas of an item that are looked at in one go. A statement has a text for each
/// combination of them, so a bound keeps their number small.
const EXAMINED_AT_ONCE: usize = 24;
/// Leases that a record names of those that its act closed. It says how many they were in any case.
const LEASES_NAMED: usize = 2000;
/// Key versions that a record names of those that its act made decrypt-only; with the longest names
/// they and the leases fit into a record.
const VERSIONS_NAMED: usize = 500;

/// An item that got its place in the log.
pub(crate) struct Admitted {
    pub(crate) index: u64,
    pub(crate) entry: [u8; 32],
    pub(crate) salt: [u8; 16],
    pub(crate) record: Vec<u8>,
}

/// A batch on its way into the log.
pub(crate) struct Admission<'a> {
    replica: &'a str,
    now: i64,
    time: Timestamp,
    /// An item that is its whole batch needs no savepoint: refused, it ends the transaction.
    alone: bool,
    next_index: u64,
    random: SystemRandom,
    /// The last record of each subject that this batch added one to.
    last_of: HashMap<Subject, DecisionId>,
    counts: Counts,
    terms: Vec<(String, u64)>,
    burnt: u32,
}

impl<'a> Admission<'a> {
    /// Begins a batch of `items` at the head's end. All of them have one time: the database's, or
    /// the last record's where the clock went back.
    pub(crate) fn begin(replica: &'a str, now_ms: u64, head: &StoredHead, items: usize) -> Result<Self, StoreError> {
        let time = Timestamp::from_unix_millis(now_ms.max(head.time_ms))
            .ok_or_else(|| StoreError::Corrupt("the database's clock is past the year 9999".to_owned()))?;
        Ok(Self {
            replica,
            now: (now_ms / 1000).cast_signed(),
            time,
            alone: items == 1,
            next_index: head.frontier.size(),
            random: SystemRandom::new(),
            last_of: HashMap::new(),
            counts: Counts::default(),
            terms: Vec::new(),
            burnt: 0,
        })
    }

    /// Unix seconds by the database's clock.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// The time of this batch's records, Unix milliseconds.
    pub(crate) fn time_ms(&self) -> u64 {
        self.time.unix_millis()
    }

    /// Does what an item says, or nothing.
    pub(crate) async fn admit(
        &mut self,
        mut item: Item,
        tx: &mut dyn Transaction,
    ) -> Result<Result<Admitted, Refusal>, StoreError> {
        if only_adds(&item) {
            let attempted = self.attempt_at_once(&mut item, tx).await?;
            if let Ok(admitted) = &attempted {
                self.remember(item, admitted.index);
            }
            return Ok(attempted);
        }
        if !self.alone {
            tx.begin_item().await?;
        }
        let attempted = self.attempt(&mut item, tx).await?;
        if !self.alone {
            match attempted {
                Ok(_) => tx.keep_item().await?,
                Err(_) => tx.undo_item().await?,
            }
        }
        if let Ok(admitted) = &attempted {
            for blob in &item.blobs {
                tx.keep_blob(blob).await?;
            }
            self.remember(item, admitted.index);
        }
        Ok(attempted)
    }

    /// The terms of the inverted index, in its own order: neighbours fall on the same page.
    pub(crate) fn take_terms(&mut self) -> Vec<(String, u64)> {
        self.terms.sort_unstable();
        std::mem::take(&mut self.terms)
    }

    /// Nonces that the batch burnt.
    pub(crate) fn burnt(&self) -> u32 {
        self.burnt
    }

    async fn attempt(
        &mut self,
        item: &mut Item,
        tx: &mut dyn Transaction,
    ) -> Result<Result<Admitted, Refusal>, StoreError> {
        if let Some(guard) = tx.stale(&item.guards).await? {
            return Ok(Err(Refusal::Stale(guard.clone())));
        }
        if let Some(nonce) = &item.nonce {
            if i128::from(nonce.expiry()) < i128::from(self.now) {
                return Ok(Err(Refusal::NonceExpired));
            }
            if !tx.burn(nonce).await? {
                return Ok(Err(Refusal::NonceReused));
            }
        }
        let mut closed = Closed::default();
        for change in &item.changes {
            match tx.apply(change, self.now).await? {
                Ok(more) => {
                    closed.leases.extend(more.leases);
                    closed.retired.extend(more.retired);
                }
                Err(conflict) => return Ok(Err(Refusal::Conflict(conflict))),
            }
        }
        tell(item, closed);
        for quota in &item.quotas {
            if self.counts.exceeds(quota, item, self.now, tx).await? {
                return Ok(Err(Refusal::QuotaExceeded(quota.clone())));
            }
        }
        self.record(item, tx).await
    }

    /// The same refusals in the same order as [`Self::attempt`], of an item that only adds: it is
    /// examined in one go, and nothing is written before it is admitted, so there is nothing to take back.
    async fn attempt_at_once(
        &mut self,
        item: &mut Item,
        tx: &mut dyn Transaction,
    ) -> Result<Result<Admitted, Refusal>, StoreError> {
        let lease = granted(item);
        let uncounted: Vec<_> = item.quotas.iter().filter(|quota| !self.counts.knows(quota)).collect();
        let previous = self.last_of.get(&item.record.subject).copied();
        let examined = tx
            .examine(
                &Candidate {
                    id: item.record.id,
                    guards: &item.guards,
                    nonce: item.nonce.as_ref(),
                    lease,
                    quotas: &uncounted,
                    subject: previous.is_none().then_some(&item.record.subject),
                },
                self.now,
            )
            .await?;
        if let Some(guard) = examined.stale.and_then(|place| item.guards.get(place)) {
            return Ok(Err(Refusal::Stale(guard.clone())));
        }
        if let Some(nonce) = &item.nonce {
            if i128::from(nonce.expiry()) < i128::from(self.now) {
                return Ok(Err(Refusal::NonceExpired));
            }
            if examined.burnt {
                return Ok(Err(Refusal::NonceReused));
            }
        }
        if examined.granted {
            return Ok(Err(Refusal::Conflict("a lease with this id or this statement exists".to_owned())));
        }
        for (quota, count) in uncounted.into_iter().zip(examined.counts) {
            self.counts.keep(quota, count);
        }
        if let Some(quota) = item.quotas.iter().find(|quota| self.counts.is_exceeded(quota, item, self.now)) {
            return Ok(Err(Refusal::QuotaExceeded(quota.clone())));
        }
        let new = match self.entry(&mut item.record, previous.or(examined.last))? {
            Ok(new) if examined.recorded => return Ok(Err(recorded(&new))),
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let addition = Addition { nonce: item.nonce.as_ref(), lease: granted(item), entry: &new, blobs: &item.blobs };
        tx.add(&addition).await?;
        Ok(Ok(Admitted { index: new.index, entry: new.entry, salt: new.salt, record: new.record }))
    }

    /// Completes the record and gives it the next place in the log.
    async fn record(
        &mut self,
        item: &mut Item,
        tx: &mut dyn Transaction,
    ) -> Result<Result<Admitted, Refusal>, StoreError> {
        let previous = match self.last_of.get(&item.record.subject) {
            Some(last) => Some(*last),
            None => tx.last_of(&item.record.subject).await?,
        };
        let new = match self.entry(&mut item.record, previous)? {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !tx.insert_entry(&new).await? {
            return Ok(Err(recorded(&new)));
        }
        Ok(Ok(Admitted { index: new.index, entry: new.entry, salt: new.salt, record: new.record }))
    }

    /// The entry of a record at the next place in the log.
    fn entry(
        &self,
        record: &mut Record,
        previous: Option<DecisionId>,
    ) -> Result<Result<NewEntry, Refusal>, StoreError> {
        record.time = self.time;
        self.replica.clone_into(&mut record.replica);
        record.previous = previous;
        let bytes = match record.to_canonical() {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(Refusal::Conflict(format!("the ledger takes no such record: {error}")))),
        };
        let mut salt = [0; 16];
        self.random
            .fill(&mut salt)
            .map_err(|_| StoreError::Unavailable("the operating system has no random bytes".to_owned()))?;
        Ok(Ok(NewEntry {
            index: self.next_index,
            entry: entry_hash(&salt, &bytes),
            id: record.id,
            time_ms: self.time.unix_millis(),
            salt,
            record: bytes,
        }))
    }

    /// What later items of the batch have to know of an admitted one.
    fn remember(&mut self, item: Item, index: u64) {
        self.next_index = index + 1;
        self.counts.remember(&item, self.now);
        self.terms.extend(terms::of_record(&item.record).into_iter().map(|term| (term, index)));
        self.last_of.insert(item.record.subject, item.record.id);
        self.burnt += u32::from(item.nonce.is_some());
    }
}

/// Says in an item's record what its changes closed.
fn tell(item: &mut Item, mut closed: Closed) {
    let details = &mut item.record.details;
    if item.changes.iter().any(closes_many) {
        closed.leases.sort_unstable();
        details.insert("leases_closed".to_owned(), closed.leases.len().into());
        let named: Vec<_> = closed.leases.iter().take(LEASES_NAMED).map(LeaseId::to_string).collect();
        details.insert("leases".to_owned(), named.into());
    }
    if !closed.retired.is_empty() {
        closed.retired.sort_unstable();
        let first = closed.retired.iter().take(VERSIONS_NAMED);
        let names: Vec<_> = first.map(|(asset, version)| format!("{asset}@{version}")).collect();
        details.insert("decrypt_only".to_owned(), names.into());
    }
}

fn recorded(new: &NewEntry) -> Refusal {
    Refusal::Conflict(format!("a record with the id {} is in the ledger", new.id))
}

/// Whether an item changes nothing but what it adds, at the most one live lease, and is small enough
/// to be examined in one go.
fn only_adds(item: &Item) -> bool {
    item.guards.len() + item.quotas.len() <= EXAMINED_AT_ONCE
        && match item.changes.as_slice() {
            [] => true,
            [Change::GrantLease(lease)] => lease.state == LeaseState::Live,
            _ => false,
        }
}

/// The lease that an item grants which only adds.
fn granted(item: &Item) -> Option<&LeaseRow> {
    match item.changes.as_slice() {
        [Change::GrantLease(lease)] => Some(lease),
        _ => None,
    }
}

/// What quotas have counted. Under the head's lock nobody else changes a count, so each is read once
/// a batch and kept up to date from what the items do; whatever closes leases starts afresh.
#[derive(Default)]
struct Counts {
    live: HashMap<Holder, u64>,
    /// Denials of this batch, which the index does not have yet.
    denials: HashMap<NodeId, u64>,
    /// Denials of earlier batches.
    denied_before: HashMap<NodeId, u64>,
}

/// Whose live leases are counted.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Holder {
    Node(NodeId),
    Asset(String),
}

impl Counts {
    /// Whether this was counted in this batch, and is kept up to date since.
    fn knows(&self, quota: &Quota) -> bool {
        match quota {
            Quota::NodeLeases(node, _) => self.live.contains_key(&Holder::Node(*node)),
            Quota::AssetLeases(asset, _) => self.live.contains_key(&Holder::Asset(asset.clone())),
            Quota::NodeDenials(node, _) => self.denied_before.contains_key(node),
        }
    }

    /// Keeps what was counted before an item.
    fn keep(&mut self, quota: &Quota, count: u64) {
        match quota {
            Quota::NodeLeases(node, _) => drop(self.live.insert(Holder::Node(*node), count)),
            Quota::AssetLeases(asset, _) => drop(self.live.insert(Holder::Asset(asset.clone()), count)),
            Quota::NodeDenials(node, _) => drop(self.denied_before.insert(*node, count)),
        }
    }

    /// Whether an item that only adds goes beyond a limit. One that was never counted is exceeded.
    fn is_exceeded(&self, quota: &Quota, item: &Item, now: i64) -> bool {
        let (holder, limit) = match quota {
            Quota::NodeLeases(node, limit) => (Holder::Node(*node), *limit),
            Quota::AssetLeases(asset, limit) => (Holder::Asset(asset.clone()), *limit),
            Quota::NodeDenials(node, limit) => {
                let this = u64::from(terms::denied_node(&item.record) == Some(*node));
                let of_batch = this + self.denials.get(node).unwrap_or(&0);
                return self.denied_before.get(node).is_none_or(|before| before.saturating_add(of_batch) > *limit);
            }
        };
        let added = grants(item, now).filter(|granted| *granted == holder).count() as u64;
        self.live.get(&holder).is_none_or(|before| before.saturating_add(added) > limit)
    }

    /// Whether the item, whose changes are made already, goes beyond the limit.
    async fn exceeds(
        &mut self,
        quota: &Quota,
        item: &Item,
        now: i64,
        tx: &mut dyn Transaction,
    ) -> Result<bool, StoreError> {
        let (holder, limit) = match quota {
            Quota::NodeLeases(node, limit) => (Holder::Node(*node), *limit),
            Quota::AssetLeases(asset, limit) => (Holder::Asset(asset.clone()), *limit),
            Quota::NodeDenials(node, limit) => {
                let before = match self.denied_before.get(node) {
                    Some(before) => *before,
                    None => *self.denied_before.entry(*node).or_insert(tx.count(quota, now).await?),
                };
                let this = u64::from(terms::denied_node(&item.record) == Some(*node));
                return Ok(before + self.denials.get(node).unwrap_or(&0) + this > *limit);
            }
        };
        if closes_leases(item) {
            return Ok(tx.count(quota, now).await? > limit);
        }
        let added = grants(item, now).filter(|granted| *granted == holder).count() as u64;
        let after = if let Some(before) = self.live.get(&holder) {
            before + added
        } else {
            let after = tx.count(quota, now).await?;
            self.live.insert(holder, after.saturating_sub(added));
            after
        };
        Ok(after > limit)
    }

    fn remember(&mut self, item: &Item, now: i64) {
        if closes_leases(item) {
            self.live.clear();
        } else {
            for holder in grants(item, now) {
                if let Some(count) = self.live.get_mut(&holder) {
                    *count += 1;
                }
            }
        }
        if let Some(node) = terms::denied_node(&item.record) {
            *self.denials.entry(node).or_default() += 1;
        }
    }
}

/// Whether an item takes leases out of the counts.
fn closes_leases(item: &Item) -> bool {
    item.changes.iter().any(|change| matches!(change, Change::CloseLease(..)) || closes_many(change))
}

/// Whether a change may close more than one lease.
fn closes_many(change: &Change) -> bool {
    matches!(
        change,
        Change::CloseLeasesOfNode(..)
            | Change::CloseLeasesOfKey(..)
            | Change::CloseLeasesOfAsset(..)
            | Change::CloseLeasesOfSite(..)
            | Change::CloseEveryLease(..)
    )
}

/// Whose count each lease that an item grants goes into.
fn grants(item: &Item, now: i64) -> impl Iterator<Item = Holder> {
    item.changes.iter().flat_map(move |change| match change {
        Change::GrantLease(lease) if lease.expires_at > now => {
            let assets: BTreeSet<_> = lease.keys.iter().map(|key| key.asset.clone()).collect();
            assets.into_iter().map(Holder::Asset).chain([Holder::Node(lease.node)]).collect()
        }
        _ => Vec::new(),
    })
}
