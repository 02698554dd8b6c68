//! A node: what it is known by, and where it stands.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_protocol::{
    Bytes, Fixed, NodeId,
    admin::ReferenceValues,
    claims::SnpTcb,
    enrol::NodeState,
    identity::{Identity, IdentityKind},
    limits,
};

/// A node: a machine with one approved record of all its identities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredNode", into = "StoredNode")]
pub struct NodeRow {
    /// SHA-256 of the EK's `TPMT_PUBLIC`; of a node without a TPM, [`Identity::node_id`] of one of its identities.
    pub id: NodeId,
    /// Its TPM; none where it was registered without one.
    pub tpm: Option<TpmRow>,
    /// All its identities, the TPM's among them. Each belongs to one node of the vault.
    pub identities: BTreeSet<Identity>,
    /// State.
    pub state: NodeState,
    /// Site, once approved; of a node without a TPM, from the beginning.
    pub site: Option<String>,
    /// Approved labels.
    pub labels: BTreeMap<String, String>,
    /// Labels that the node asked for.
    pub requested_labels: BTreeMap<String, String>,
    /// True when the node runs one job only.
    pub single_job: bool,
    /// Name for people.
    pub hostname: Option<String>,
    /// PCR values of the last verified quote, for recording reference values.
    pub last_pcrs: Option<ReferenceValues>,
    /// SHA-256 of the boot log that explained them, kept as a blob; none where no verified log came with them.
    pub last_boot_log: Option<Fixed<32>>,
    /// TPM reset and restart counts of that quote.
    pub last_boot: Option<(u32, u32)>,
    /// What the last accepted evidence of Azure's showed; none where there was none yet.
    pub cloud: Option<CloudBoot>,
    /// Unix seconds: when it was enrolled, or registered.
    pub enrolled_at: i64,
    /// Unix seconds: when evidence first showed its identity. None of a node that was registered without a TPM
    /// and has shown nothing yet.
    pub activated_at: Option<i64>,
}

/// A boot of a cloud's confidential machine, as an accepted envelope and quote showed it together. The envelope is
/// made at a boot and binds no request: what it is held against is what was shown before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudBoot {
    /// SHA-256 of the vTPM's key (`SubjectPublicKeyInfo`).
    pub key_sha256: Fixed<32>,
    /// `REPORT_ID`: new at each launch.
    pub launch: Fixed<32>,
    /// Reset and restart counts of the quote, obscured by a constant of the key: good for comparing only.
    pub boot: (u32, u32),
    /// The committed TCB of that launch.
    pub committed: SnpTcb,
    /// The reported TCB of that launch.
    pub reported: SnpTcb,
    /// Launches before, latest last: at most [`PAST_LAUNCHES`].
    #[serde(default)]
    pub past: Vec<Fixed<32>>,
}

/// Launches of a cloud's machine that its record remembers.
pub const PAST_LAUNCHES: usize = 64;

/// The TPM of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmRow {
    /// The EK's `TPMT_PUBLIC`.
    pub ek_public: Bytes,
    /// The AK's `TPMT_PUBLIC`.
    pub ak_public: Bytes,
    /// SHA-256 of the AK's name: unique among nodes, and how evidence names its node.
    pub ak_sha256: Fixed<32>,
    /// Manufacturer, model and version as its certificate names them.
    pub model: String,
}

impl NodeRow {
    /// Whether its parts agree: identities within their number, the TPM's among them exactly where there is one,
    /// and the one that names a node without a TPM.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        let of_tpms: Vec<_> = self.identities.iter().filter(|one| one.kind == IdentityKind::TpmEk).collect();
        if self.identities.len() > limits::IDENTITIES {
            return Err("a node has more identities than a record lists");
        }
        match (&self.tpm, of_tpms.as_slice()) {
            (Some(_), [one]) if **one == Identity::of_tpm(&self.id) => Ok(()),
            (Some(_), _) => Err("a node with a TPM lists its own EK, and no other"),
            (None, []) if self.identities.iter().any(|one| one.node_id() == Some(self.id)) => Ok(()),
            (None, []) => Err("a node without a TPM lists the identity that names it"),
            (None, _) => Err("a node without a TPM lists no EK"),
        }
    }
}

/// A node as it is kept: a TPM's parts stand beside the others, as they did when every node had one.
#[derive(Serialize, Deserialize)]
struct StoredNode {
    id: NodeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ek_public: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ak_public: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ak_sha256: Option<Fixed<32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tpm: Option<String>,
    /// None in a row that a replica of an older version wrote, where every node had a TPM and nothing else.
    #[serde(default)]
    identities: Option<BTreeSet<Identity>>,
    state: NodeState,
    site: Option<String>,
    labels: BTreeMap<String, String>,
    requested_labels: BTreeMap<String, String>,
    single_job: bool,
    hostname: Option<String>,
    last_pcrs: Option<ReferenceValues>,
    #[serde(default)]
    last_boot_log: Option<Fixed<32>>,
    #[serde(default)]
    last_boot: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cloud: Option<CloudBoot>,
    enrolled_at: i64,
    activated_at: Option<i64>,
}

impl TryFrom<StoredNode> for NodeRow {
    type Error = &'static str;
    fn try_from(stored: StoredNode) -> Result<Self, &'static str> {
        let tpm = match (stored.ek_public, stored.ak_public, stored.ak_sha256, stored.tpm) {
            (Some(ek_public), Some(ak_public), Some(ak_sha256), Some(model)) => {
                Some(TpmRow { ek_public, ak_public, ak_sha256, model })
            }
            (None, None, None, None) => None,
            _ => return Err("a node has a part of a TPM"),
        };
        let of_tpm = || BTreeSet::from([Identity::of_tpm(&stored.id)]);
        let row = Self {
            id: stored.id,
            tpm,
            identities: stored.identities.unwrap_or_else(of_tpm),
            state: stored.state,
            site: stored.site,
            labels: stored.labels,
            requested_labels: stored.requested_labels,
            single_job: stored.single_job,
            hostname: stored.hostname,
            last_pcrs: stored.last_pcrs,
            last_boot_log: stored.last_boot_log,
            last_boot: stored.last_boot,
            cloud: stored.cloud,
            enrolled_at: stored.enrolled_at,
            activated_at: stored.activated_at,
        };
        row.check().map(|()| row)
    }
}

impl From<NodeRow> for StoredNode {
    fn from(row: NodeRow) -> Self {
        let (ek_public, ak_public, ak_sha256, tpm) = match row.tpm {
            Some(tpm) => (Some(tpm.ek_public), Some(tpm.ak_public), Some(tpm.ak_sha256), Some(tpm.model)),
            None => (None, None, None, None),
        };
        Self {
            id: row.id,
            ek_public,
            ak_public,
            ak_sha256,
            tpm,
            identities: Some(row.identities),
            state: row.state,
            site: row.site,
            labels: row.labels,
            requested_labels: row.requested_labels,
            single_job: row.single_job,
            hostname: row.hostname,
            last_pcrs: row.last_pcrs,
            last_boot_log: row.last_boot_log,
            last_boot: row.last_boot,
            cloud: row.cloud,
            enrolled_at: row.enrolled_at,
            activated_at: row.activated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tpm: bool, identities: &[Identity]) -> NodeRow {
        let chip = chip();
        NodeRow {
            id: if tpm { NodeId::from([7; 32]) } else { chip.node_id().unwrap() },
            tpm: tpm.then(|| TpmRow {
                ek_public: Bytes(vec![1]),
                ak_public: Bytes(vec![2]),
                ak_sha256: Fixed([3; 32]),
                model: "TEST model 1".into(),
            }),
            identities: identities.iter().cloned().collect(),
            state: NodeState::Pending,
            site: None,
            labels: BTreeMap::new(),
            requested_labels: BTreeMap::new(),
            single_job: false,
            hostname: None,
            last_pcrs: None,
            last_boot_log: None,
            last_boot: None,
            cloud: None,
            enrolled_at: 1,
            activated_at: None,
        }
    }

    fn chip() -> Identity {
        "snp-chip:0102030405060708".parse().unwrap()
    }

    fn gpu(n: usize) -> Identity {
        format!("nvidia-gpu:{:06x}", n + 1).parse().unwrap()
    }

    #[test]
    fn a_row_reads_back_with_a_tpm_and_without() {
        let ek = Identity::of_tpm(&NodeId::from([7; 32]));
        let cloud = CloudBoot {
            key_sha256: Fixed([1; 32]),
            launch: Fixed([2; 32]),
            boot: (3, 4),
            committed: SnpTcb::default(),
            reported: SnpTcb { snp: 5, ..SnpTcb::default() },
            past: vec![Fixed([6; 32])],
        };
        let shown = NodeRow { cloud: Some(cloud), ..of(false, &[chip()]) };
        for row in [of(true, &[ek, gpu(1)]), of(false, &[chip(), gpu(1)]), shown] {
            let json = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<NodeRow>(&json).unwrap(), row);
        }
    }

    #[test]
    fn a_row_of_an_older_replica_lists_its_ek() {
        let without = |row: &NodeRow| {
            let mut json = serde_json::to_value(row).unwrap();
            json.as_object_mut().unwrap().remove("identities").unwrap();
            serde_json::from_value::<NodeRow>(json)
        };
        let row = of(true, &[Identity::of_tpm(&NodeId::from([7; 32]))]);
        assert_eq!(without(&row).unwrap(), row);
        assert!(without(&of(false, &[chip()])).is_err(), "a node without a TPM is named by its identity alone");
    }

    #[test]
    fn a_row_whose_parts_do_not_agree_is_not_read() {
        let ek = |n| Identity::of_tpm(&NodeId::from([n; 32]));
        let many: Vec<_> = (0..255).map(gpu).chain([chip()]).collect();
        assert_eq!(of(false, &many).check(), Ok(()));
        for wrong in [
            of(true, &[]),
            of(true, &[chip()]),
            of(true, &[ek(8)]),
            of(true, &[ek(7), ek(8)]),
            of(false, &[gpu(1)]),
            of(false, &["snp-chip:0102030405060709".parse().unwrap()]),
            of(false, &[chip(), ek(7)]),
            of(false, &[many.as_slice(), &[gpu(300)]].concat()),
        ] {
            assert!(wrong.check().is_err(), "{:?}", wrong.identities);
            let json = serde_json::to_string(&wrong).unwrap();
            assert!(serde_json::from_str::<NodeRow>(&json).is_err());
        }
        let mut half = serde_json::to_value(of(true, &[ek(7)])).unwrap();
        half.as_object_mut().unwrap().remove("ak_public");
        assert!(serde_json::from_value::<NodeRow>(half).is_err());
    }
}
