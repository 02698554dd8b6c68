//! What a decision is made from: rows, each with the version that the commit compares.

use super::{evidence::Attested, verify::Claims};
use crate::{
    clock::rfc3339,
    enforced::Enforced,
    problem::{Answer, Refused},
    vault::Vault,
};
use std::{collections::BTreeMap, sync::Arc};
use strongroom_attest::TpmClaims;
use strongroom_policy::input::{
    ClaimFacts, INPUT_VERSION, KeyFacts, LeaseFacts, NodeFacts, PolicyInput, ReferenceFacts, TpmFacts,
};
use strongroom_protocol::{
    admin::KeyState,
    audit::Denial,
    claims::{ImaClaims, WorkloadClaims},
    evidence::PcrMap,
    statement::Access,
};
use strongroom_store::{
    Guard,
    model::{AssetRow, KeyRow, ReferenceRow, SiteRow},
};

/// Everything that was read for one decision.
pub(super) struct Facts {
    pub(super) enforced: Enforced,
    pub(super) site: Option<SiteRow>,
    /// The keys asked for, in the statement's order; shorter if one is unknown.
    pub(super) keys: Vec<(AssetRow, KeyRow)>,
    pub(super) references: Arc<[ReferenceRow]>,
    /// What IMA measured, held against the lists of these sets.
    pub(super) ima: Option<ImaClaims>,
    pub(super) workload: WorkloadClaims,
    pub(super) leases: LeaseFacts,
    pub(super) guards: Vec<Guard>,
    /// What the vault itself refuses, whatever policy says.
    pub(super) denials: Vec<Denial>,
    /// True if a key that was asked for has been destroyed.
    pub(super) destroyed: bool,
    pub(super) now: i64,
}

impl Facts {
    /// Reads what the decision needs. `held` says that the request's own lease is live already, and
    /// is not to be counted.
    pub(super) async fn gather(vault: &Vault, attested: &Attested, held: bool) -> Answer<Self> {
        let store = vault.store.as_ref();
        let node = &attested.node;
        let asked = &attested.asked.statement.keys;
        let wanted: Vec<_> = asked.iter().map(|key| (key.asset.clone(), key.version)).collect();
        let grounds = store.grounds(node.row.id, node.row.site.as_deref(), &wanted).await?;
        let mut facts = Self {
            enforced: vault.policy.of(store, grounds.policy_generation).await?,
            site: None,
            keys: Vec::new(),
            references: grounds.references.into(),
            ima: None,
            workload: attested.logs.workload(attested.asked.caller.as_ref().map(|caller| &caller.facts)),
            leases: LeaseFacts::default(),
            guards: vec![Guard::Node(node.row.id, node.version)],
            denials: Vec::new(),
            destroyed: false,
            now: vault.clock.now().await?,
        };
        facts.guards.push(Guard::PolicyGeneration(facts.enforced.generation));
        // A list that came since may name the key that signed.
        facts.guards.extend(attested.endorsement_generation.map(Guard::EndorsementGeneration));
        facts.guards.push(Guard::ReferenceGeneration(grounds.reference_generation));
        if let Some(name) = &node.row.site {
            let site = grounds.site.ok_or_else(|| Refused::internal(format!("site {name} is missing")))?;
            facts.guards.push(Guard::Site(name.clone(), site.version));
            facts.site = Some(site.row);
        }
        facts.guards.extend(grounds.assets.iter().map(|(name, asset)| Guard::Asset(name.clone(), asset.version)));
        for (key, named) in asked.iter().zip(&wanted) {
            let Some(asset) = grounds.assets.get(&key.asset) else {
                facts.deny("asset_unknown", format!("There is no asset {}.", key.asset));
                continue;
            };
            let Some(row) = grounds.keys.get(named) else {
                facts.deny("key_unknown", format!("There is no key version {}@{}.", key.asset, key.version));
                continue;
            };
            let guard = Guard::Key(key.asset.clone(), key.version, row.version);
            if !facts.guards.contains(&guard) {
                facts.guards.push(guard);
            }
            match (row.row.state, key.access) {
                (KeyState::Destroyed, _) => {
                    facts.destroyed = true;
                    facts.deny("key_destroyed", format!("{}@{} was destroyed.", key.asset, key.version));
                }
                (KeyState::DecryptOnly, Access::Write) => {
                    facts.deny("key_decrypt_only", format!("{}@{} opens only.", key.asset, key.version));
                }
                _ => {}
            }
            facts.keys.push((asset.row.clone(), row.row.clone()));
        }
        let own = u64::from(held);
        let number = |n: u64| u32::try_from(n.saturating_sub(own)).unwrap_or(u32::MAX);
        facts.leases = LeaseFacts {
            node_live: number(grounds.node_live),
            asset_live: grounds.asset_live.into_iter().map(|(name, live)| (name, number(live))).collect(),
        };
        if let Some(measured) = attested.logs.ima.held().cloned() {
            let references = Arc::clone(&facts.references);
            let held = move || measured.claims(references.iter().map(|set| (set.name.as_str(), &set.values.files)));
            // Ten thousand files against as many of each set take their time.
            facts.ima = Some(tokio::task::spawn_blocking(held).await.map_err(Refused::internal)?);
        }
        Ok(facts)
    }

    /// Adds a denial of the vault's own.
    pub(super) fn deny(&mut self, code: &str, message: impl Into<String>) {
        self.denials.push(Denial {
            code: code.to_owned(),
            message: message.into(),
            claim: None,
            expected: None,
            got: None,
        });
    }

    /// The document that policy evaluates.
    pub(super) fn input(&self, vault: &Vault, attested: &Attested, claims: &Claims) -> PolicyInput {
        let (asked, node) = (&attested.asked, &attested.node.row);
        PolicyInput {
            version: INPUT_VERSION,
            time: rfc3339(self.now),
            act: asked.statement.act,
            // No scheduler is known to this vault, so no job's token can be checked: a job that only
            // the requester names stays out of what policy reads.
            job: None,
            node: NodeFacts {
                id: node.id,
                state: attested.state(),
                site: node.site.clone(),
                jurisdiction: self.site.as_ref().map(|s| s.jurisdiction.clone()),
                labels: node.labels.clone(),
                single_job: node.single_job,
                tpm: node.tpm.as_ref().map(|tpm| tpm.model.clone()).unwrap_or_default(),
                identities: node.identities.iter().cloned().collect(),
            },
            caller: asked.caller.as_ref().map(|c| c.facts.clone()),
            claims: ClaimFacts {
                tpm: claims.tpm().map(|tpm| tpm_facts(tpm)),
                boot: attested.logs.boot.held().map(|boot| boot.as_ref().clone()),
                ima: self.ima.clone(),
                workload: self.workload.clone(),
                snp: claims.snp().cloned(),
                tdx: claims.tdx().cloned(),
                azure: claims.azure().cloned(),
                gpus: claims.gpus().to_vec(),
            },
            keys: self
                .keys
                .iter()
                .zip(&asked.statement.keys)
                .map(|((asset, row), key)| KeyFacts {
                    asset: key.asset.clone(),
                    version: key.version,
                    access: key.access,
                    scope: key.scope,
                    objects: u32::try_from(key.objects.len()).unwrap_or(u32::MAX),
                    labels: asset.asset.labels.clone(),
                    jurisdictions: asset.asset.jurisdictions.clone(),
                    reference_sets: asset.asset.reference_sets.clone(),
                    integrity: asset.asset.integrity,
                    max_leases: asset.asset.max_leases,
                    key_state: row.state,
                })
                .collect(),
            references: self
                .references
                .iter()
                .map(|r| {
                    let facts = ReferenceFacts {
                        version: r.version,
                        bank: r.values.bank,
                        pcrs: hex_values(&r.values.pcrs),
                        snp: r.values.snp.measurements.iter().map(ToString::to_string).collect(),
                        tdx: r.values.tdx.mrtds.iter().map(ToString::to_string).collect(),
                        files: !r.values.files.is_empty(),
                    };
                    (r.name.clone(), facts)
                })
                .collect(),
            leases: self.leases.clone(),
            four_eyes_waived: vault.config.four_eyes.waived,
        }
    }
}

fn tpm_facts(claims: &TpmClaims) -> TpmFacts {
    let boot = claims.boot();
    let more = [
        ("ak_name", serde_json::Value::from(claims.ak_name())),
        ("qualified_signer", claims.qualified_signer().into()),
        // A string beside the number: it may not fit what JSON readers take exactly.
        ("firmware_version_hex", claims.firmware_version().into()),
    ];
    TpmFacts {
        bank: claims.bank(),
        pcrs: claims.pcrs().iter().map(|(pcr, value)| (pcr.to_string(), value.clone())).collect(),
        reset_count: boot.reset_count,
        restart_count: boot.restart_count,
        safe: claims.safe(),
        firmware_version: u64::from_str_radix(claims.firmware_version(), 16).unwrap_or(0),
        more: more.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

fn hex_values(pcrs: &PcrMap) -> BTreeMap<String, String> {
    pcrs.0.iter().map(|(pcr, value)| (pcr.to_string(), hex::encode(&value.0))).collect()
}
