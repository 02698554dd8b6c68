//! Whose evidence it is, and what it shows.

use super::{
    cloud,
    logs::{self, Logs},
    request::Asked,
    turns::Turn,
    verify::{Asks, Claims, Evident, GuestClaims, Refusal, verify},
};
use crate::{
    admission::Peer,
    enforced::Enforced,
    problem::{Answer, Refused},
    vault::Vault,
};
use std::{collections::BTreeSet, sync::Arc};
use strongroom_policy::settings::LogSettings;
use strongroom_protocol::{
    Code, Fixed, Problem,
    enrol::NodeState,
    evidence::EvidenceKind,
    identity::{Identity, IdentityKind},
    statement::Act,
};
use strongroom_store::{
    Whose,
    model::{CloudBoot, LeaseRow, LeasedGuest, NodeRow, Versioned},
};

/// A request that an enrolled node has signed: from here on, every outcome is a decision.
pub(super) struct Attested {
    pub(super) asked: Asked,
    pub(super) node: Versioned<NodeRow>,
    /// What the items show of the node's record, or every row that refused one.
    pub(super) claims: Result<Claims, Vec<Refusal>>,
    /// What each item showed by itself; none where one was refused.
    pub(super) evident: Option<Arc<Evident>>,
    /// What the logs beside the quote showed.
    pub(super) logs: Logs,
    /// The lease that was granted to this very statement before.
    pub(super) known: Option<Versioned<LeaseRow>>,
    /// The lease that a renewal names, if there is one.
    pub(super) renewed: Option<Versioned<LeaseRow>>,
    /// The generation of the policy by which evidence was asked for.
    pub(super) policy_generation: i64,
    /// The generation of the endorsements by which evidence was verified; none where it rests on none.
    pub(super) endorsement_generation: Option<i64>,
    /// The node's turn, where the decision rests on what it showed before; until the commit.
    pub(super) turn: Option<Turn>,
}

/// Looks the node up by what its evidence says and verifies that. Failures before the node's signature over this
/// request are refused with 401, and leave nothing behind.
pub(super) async fn attest(vault: &Vault, mut asked: Asked) -> Answer<Attested> {
    let requester = &mut asked.requester;
    let (known, renewed) = (requester.known.take(), requester.renewed.take());
    let node = requester.node.take().ok_or_else(|| Refused::from(Problem::new(Code::NotEnrolled)))?;
    let peer = match &asked.whose {
        Whose::Ak(ak) => Peer::Ak(*ak),
        Whose::Identity(_) => Peer::Node(node.row.id),
    };
    let enforced = vault.policy.of(vault.store.as_ref(), asked.requester.policy_generation).await?;
    let known = known.filter(|_| asked.statement.act == Act::Release);
    let mut attested = Attested {
        asked,
        node,
        claims: Err(Vec::new()),
        evident: None,
        logs: Logs::unread(),
        known,
        renewed,
        policy_generation: enforced.generation,
        endorsement_generation: None,
        turn: None,
    };
    attested.verify(vault, &enforced).await?;
    // Only now has the node asked: whoever knows its name must not spend its rate, but that of an address.
    vault.admission.admit(peer)?;
    attested.turn = attested.take_turn(vault).await?;
    attested.read_logs(vault, &enforced).await?;
    Ok(attested)
}

/// What the policy in force asks of logs.
fn log_settings(enforced: &Enforced) -> LogSettings {
    enforced.policy.as_ref().map(|policy| policy.bundle().settings().logs).unwrap_or_default()
}

impl Attested {
    /// Verifies the items by what this policy asks, and holds them against the node's record.
    async fn verify(&mut self, vault: &Vault, enforced: &Enforced) -> Answer<()> {
        let renewed = self.renewed.as_ref().map(|lease| &lease.row);
        let verified = verify(vault, &self.asked, &self.node.row, renewed, Asks::of(vault, enforced)).await?;
        self.policy_generation = enforced.generation;
        self.endorsement_generation = verified.endorsement_generation;
        match verified.outcome {
            Ok(evident) => {
                self.evident = Some(evident);
                self.hold_against_record();
            }
            Err(refusals) => (self.evident, self.claims) = (None, Err(refusals)),
        }
        Ok(())
    }

    /// Row E7 against the record as it is read now; of an identification, as it will be.
    fn hold_against_record(&mut self) {
        let Some(evident) = &self.evident else { return };
        let mut record = self.node.row.identities.clone();
        if self.asked.statement.act == Act::Identify {
            record.extend(self.new_identities());
        }
        let held = Claims::of(Arc::clone(evident), &record);
        self.claims = held.and_then(|claims| self.follow_boot().map(|_| claims).map_err(|refusal| vec![refusal]));
    }

    /// What the node's record is to hold of a cloud's machine, or why that cannot follow what it holds.
    fn follow_boot(&self) -> Result<Option<CloudBoot>, Refusal> {
        let before = self.node.row.cloud.as_ref();
        let shown = self.evident.as_ref().and_then(|evident| cloud::shown(evident.guest.as_ref()));
        match shown {
            Some(shown) => cloud::follow(before, shown).map(Some),
            None => Ok(before.cloned()),
        }
    }

    /// What the record holds of a cloud's machine once this request is committed.
    pub(super) fn cloud(&self) -> Option<CloudBoot> {
        let held = || self.node.row.cloud.clone();
        if self.claims.is_err() { held() } else { self.follow_boot().unwrap_or_else(|_| held()) }
    }

    async fn take_turn(&self, vault: &Vault) -> Answer<Option<Turn>> {
        let statement = self.asked.statement_sha256;
        let Ok(claims) = &self.claims else { return Ok(None) };
        if self.known.is_some() {
            return Ok(Some(vault.turns.again(self.node.row.id, statement).await?));
        }
        match (&self.asked.items.tpm, claims.tpm()) {
            (Some(quote), Some(tpm)) if logs::judges_ima(quote, tpm) => {
                Ok(Some(vault.turns.of(self.node.row.id, statement).await?))
            }
            _ => Ok(None),
        }
    }

    /// Reads the logs beside a quote that speaks for the machine; of others nothing vouches for a log.
    async fn read_logs(&mut self, vault: &Vault, enforced: &Enforced) -> Answer<()> {
        let tpm = self.claims.as_ref().ok().and_then(Claims::tpm).cloned();
        self.logs = match (&self.asked.items.tpm, tpm) {
            (Some(quote), Some(tpm)) => {
                let settings = log_settings(enforced);
                Logs::read(vault.store.as_ref(), self.node.row.id, Arc::clone(quote), tpm, settings).await?
            }
            _ => Logs::unread(),
        };
        Ok(())
    }

    /// Judges again what a change since may have made otherwise: another policy asks for other evidence, an endorsement
    /// may say that a key is revoked, the record
    /// lists other devices, more is known of what the node measured. A node that is gone is refused.
    pub(super) async fn read_again(&mut self, vault: &Vault) -> Answer<()> {
        let gone = || Refused::from(Problem::new(Code::NotEnrolled));
        let node = match &self.asked.whose {
            Whose::Ak(ak) => vault.store.node_by_ak(*ak).await?,
            Whose::Identity(identity) => vault.store.node_by_identity(identity).await?,
        };
        let node = node.ok_or_else(gone)?;
        let keys = |row: &NodeRow| row.tpm.as_ref().map(|tpm| (tpm.ak_public.clone(), tpm.ek_public.clone()));
        if node.row.id != self.node.row.id || keys(&node.row) != keys(&self.node.row) {
            return Err(gone());
        }
        self.node = node;
        if let Some(lease) = self.asked.statement.lease {
            self.renewed = vault.store.lease(lease).await?;
        }
        let enforced = vault.policy.current(vault.store.as_ref()).await?;
        let spoke = |claims: &Result<Claims, _>| claims.as_ref().is_ok_and(|claims| claims.tpm().is_some());
        let before = spoke(&self.claims);
        let same = match self.endorsement_generation {
            Some(verified) => verified == vault.store.endorsement_generation().await?,
            None => true,
        };
        if same && enforced.generation == self.policy_generation {
            self.hold_against_record();
        } else {
            self.verify(vault, &enforced).await?;
        }
        if self.logs.kept.is_some() || spoke(&self.claims) != before {
            self.read_logs(vault, &enforced).await?;
        }
        Ok(())
    }

    /// True for a machine that an operator registered and that shows itself for the first time: it becomes what the
    /// operator wanted it to be.
    pub(super) fn activates(&self) -> bool {
        let row = &self.node.row;
        let waits = row.tpm.is_none() && row.activated_at.is_none() && row.state == NodeState::Pending;
        waits && self.claims.is_ok()
    }

    /// Where the node stands, counting what this request makes of it.
    pub(super) fn state(&self) -> NodeState {
        if self.activates() { NodeState::Approved } else { self.node.row.state }
    }

    /// What the items show and the record does not list, as far as an identification may add it. A TPM comes into a
    /// record by its enrolment alone, a cloud's machine by an operator. Of each kind that names a machine, the first is
    /// added and no second: a processor is exchanged by an operator. And a cloud's machine is not bound to the
    /// processor that it happens to run on.
    pub(super) fn new_identities(&self) -> BTreeSet<Identity> {
        let record = &self.node.row.identities;
        let listed: BTreeSet<IdentityKind> = record.iter().map(|one| one.kind).collect();
        let may_come = |(by, one): &(EvidenceKind, &Identity)| match one.kind {
            // Strangers share a cloud's processor, and may not come into the record of whoever is known by it.
            IdentityKind::TpmEk | IdentityKind::CloudVm => false,
            IdentityKind::SnpChip if *by == EvidenceKind::AzureSnpVtpm => false,
            IdentityKind::NvidiaGpu => true,
            kind => !listed.contains(&kind),
        };
        let shown = self.evident.iter().flat_map(|evident| evident.identities());
        shown.filter(may_come).map(|(_, one)| one.clone()).filter(|one| !record.contains(one)).collect()
    }

    /// The AK that signed.
    pub(super) fn ak(&self) -> Option<Fixed<32>> {
        self.asked.items.tpm.as_ref().map(|quote| quote.ak)
    }

    /// TPM reset and restart counts.
    pub(super) fn boot(&self) -> Option<(u32, u32)> {
        let counters = self.evident.as_ref()?.tpm.as_ref()?.boot();
        Some((counters.reset_count, counters.restart_count))
    }

    /// The guest that signed.
    pub(super) fn guest(&self) -> Option<LeasedGuest> {
        self.evident.as_ref()?.guest.as_ref().map(GuestClaims::leased)
    }
}
