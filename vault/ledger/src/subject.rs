//! Who acted, and what was acted upon.

use crate::names::names;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// Who acted.
    ActorKind {
        /// An enrolled node, by its id.
        Node => "node",
        /// A person, or a machine with a token, by its name.
        Person => "person",
        /// The vault itself, by the part that acted.
        System => "system",
    }
}

/// Who acted, by name. In queries `kind:id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Its id, 1 to 255 bytes without control characters.
    pub id: String,
}

impl Actor {
    /// An actor.
    pub fn new(kind: ActorKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

names! {
    /// What was acted upon.
    SubjectKind {
        /// An asset, by name.
        Asset => "asset",
        /// A backup.
        Backup => "backup",
        /// A decision.
        Decision => "decision",
        /// An enrolment that is not activated.
        Enrolment => "enrolment",
        /// A job.
        Job => "job",
        /// A key version, `asset@version`.
        Key => "key",
        /// A lease.
        Lease => "lease",
        /// The ledger.
        Ledger => "ledger",
        /// A manifest.
        Manifest => "manifest",
        /// A node.
        Node => "node",
        /// A person.
        Person => "person",
        /// A policy, by its digest.
        Policy => "policy",
        /// A reference set, by name.
        Reference => "reference",
        /// A site, by name.
        Site => "site",
        /// A token, by its public id.
        Token => "token",
        /// Vendor roots, CRLs, TCB minima.
        Trust => "trust",
        /// The vault.
        Vault => "vault",
    }
}

/// What was acted upon, by name. Records of the same subject form a chain through
/// [`Record::previous`](crate::Record::previous).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its id, 1 to 255 bytes without control characters.
    pub id: String,
}

impl Subject {
    /// A subject.
    pub fn new(kind: SubjectKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}
