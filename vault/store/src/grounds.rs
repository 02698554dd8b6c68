//! What a release is decided from, read together.
//!
//! Each of the two reads is one way to the database. They need not be of one moment: the commit
//! compares every version that is in them again ([`crate::Guard`]).

use crate::model::{AssetRow, KeyRow, LeaseRow, NodeRow, ReferenceRow, SiteRow, Versioned};
use std::collections::BTreeMap;
use strongroom_protocol::{Fixed, identity::Identity};

/// What a request says whose it is, before anything of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The node with this AK: SHA-256 of its name.
    Ak(Fixed<32>),
    /// The node whose record lists this.
    Identity(Identity),
}

/// Who asks, and what was answered to the same statement before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The node whose evidence it is said to be.
    pub node: Option<Versioned<NodeRow>>,
    /// The lease that was granted to this very statement.
    pub known: Option<Versioned<LeaseRow>>,
    /// The lease that a renewal names.
    pub renewed: Option<Versioned<LeaseRow>>,
    /// The generation of the policy in force.
    pub policy_generation: i64,
}

/// The rows that a verdict rests on, and what is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// The node's site.
    pub site: Option<Versioned<SiteRow>>,
    /// The assets that there are of those asked for, by name.
    pub assets: BTreeMap<String, Versioned<AssetRow>>,
    /// The key versions that there are of those asked for.
    pub keys: BTreeMap<(String, u32), Versioned<KeyRow>>,
    /// The reference sets in force that these assets name, by name.
    pub references: Vec<ReferenceRow>,
    /// The generation of all reference values.
    pub reference_generation: i64,
    /// The generation of the policy in force.
    pub policy_generation: i64,
    /// Live leases of the node.
    pub node_live: u64,
    /// Live leases of each asset asked for, whether there is such an asset or not.
    pub asset_live: BTreeMap<String, u64>,
}
