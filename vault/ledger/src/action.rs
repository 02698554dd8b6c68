//! What was done: the closed list of acts that the ledger knows.

use crate::names::names;

names! {
    /// An act, `kind.what`. Names are stable: they are in signed history, and queries and alerts use them.
    Action {
        /// A release, or an identification, was asked for with verified evidence and decided.
        ReleaseDecided => "release.decided",
        /// The node joined a gang that is not complete yet.
        ReleaseAttested => "release.attested",
        /// The holder proved possession of the lease for the first time.
        ReleaseDelivered => "release.delivered",
        /// No proof of possession came; the lease has ended.
        ReleaseDeliveryUnknown => "release.delivery_unknown",
        /// Requests that failed before an enrolled node's signature verified, summed up by reason.
        ReleaseRefusedUnauthenticated => "release.refused_unauthenticated",
        /// A lease was prolonged; with a verdict, on fresh evidence.
        LeaseRenewed => "lease.renewed",
        /// The holder ended its lease.
        LeaseEnded => "lease.ended",
        /// A lease's time ran out.
        LeaseExpired => "lease.expired",
        /// A person or a rule took a lease back.
        LeaseRevoked => "lease.revoked",
        /// A node proved that it holds its EK and AK, and waits for approval.
        NodeEnrolled => "node.enrolled",
        /// An operator put a node into a site.
        NodeApproved => "node.approved",
        /// A node without a TPM was registered by its platform identity.
        NodeImported => "node.imported",
        /// Identities were added to a node's record.
        NodeIdentified => "node.identified",
        /// A node's site, labels or identities were changed.
        NodeChanged => "node.changed",
        /// A node may get nothing any more.
        NodeRevoked => "node.revoked",
        /// A site was created.
        SiteCreated => "site.created",
        /// A site or its jurisdiction was changed.
        SiteChanged => "site.changed",
        /// A version of a reference set was recorded, by one person alone; written by older vaults.
        ReferenceRecorded => "reference.recorded",
        /// A version of a reference set was proposed.
        ReferenceProposed => "reference.proposed",
        /// A version of a reference set was put in force by somebody else than who proposed it.
        ReferenceApproved => "reference.approved",
        /// A version of a reference set was withdrawn.
        ReferenceWithdrawn => "reference.withdrawn",
        /// Vendor roots, CRLs or TCB minima were changed.
        TrustChanged => "trust.changed",
        /// Endorsements of hardware were taken in, each vouched for by a pinned root.
        EndorsementImported => "trust.endorsement_imported",
        /// An endorsement is gone.
        EndorsementRemoved => "trust.endorsement_removed",
        /// One person wants an endorsement gone that only two may take out.
        EndorsementRemovalProposed => "trust.endorsement_removal_proposed",
        /// A pin of a root was proposed; nothing rests on it yet.
        PinProposed => "trust.pin_proposed",
        /// A pin was put in force by somebody else than who proposed it.
        PinApproved => "trust.pin_approved",
        /// A pin, or the proposal of one, was taken back.
        PinWithdrawn => "trust.pin_withdrawn",
        /// An asset was created with its first key version.
        AssetCreated => "asset.created",
        /// An asset's labels, jurisdictions or rules were changed.
        AssetChanged => "asset.changed",
        /// A key version was made and is the active one now.
        KeyRotated => "key.rotated",
        /// A key version opens only.
        KeyDecryptOnly => "key.decrypt_only",
        /// A key version is gone.
        KeyDestroyed => "key.destroyed",
        /// A manifest was registered.
        ManifestRegistered => "manifest.registered",
        /// A scheduler announced a job.
        JobCreated => "job.created",
        /// A job is over.
        JobEnded => "job.ended",
        /// A policy was proposed.
        PolicyProposed => "policy.proposed",
        /// A policy was approved by somebody else than its author.
        PolicyApproved => "policy.approved",
        /// A policy is evaluated beside the one in force.
        PolicyShadowed => "policy.shadowed",
        /// A policy is in force.
        PolicyEnforced => "policy.enforced",
        /// A policy was in force until now.
        PolicySuperseded => "policy.superseded",
        /// A proposal was taken back.
        PolicyWithdrawn => "policy.withdrawn",
        /// A person was given a role.
        RoleGranted => "role.granted",
        /// A role was taken from a person.
        RoleRevoked => "role.revoked",
        /// A token was created.
        TokenCreated => "token.created",
        /// A token was revoked.
        TokenRevoked => "token.revoked",
        /// The holder of a token replaced it by another, of the same person and roles.
        TokenRotated => "token.rotated",
        /// A token that is over was presented; summed up once a minute.
        TokenRefused => "token.refused",
        /// The vault was initialised; the first record of every log.
        VaultInitialised => "vault.initialised",
        /// A replica started.
        VaultStarted => "vault.started",
        /// A replica stopped in order.
        VaultStopped => "vault.stopped",
        /// The vault was locked.
        VaultLocked => "vault.locked",
        /// The vault was unlocked.
        VaultUnlocked => "vault.unlocked",
        /// The configuration changed what the vault promises, such as waiving four eyes.
        VaultConfigured => "vault.configured",
        /// The root key was rotated.
        VaultRootRotated => "vault.root_rotated",
        /// The identity key named its successor.
        VaultSuccessorAnnounced => "vault.successor_announced",
        /// A backup was made.
        BackupMade => "backup.made",
        /// A backup was restored.
        BackupRestored => "backup.restored",
        /// Bodies of old records were pruned; their leaves stay.
        LedgerPruned => "ledger.pruned",
        /// The ledger was exported.
        LedgerExported => "ledger.exported",
    }
}

impl Action {
    /// The part before the dot, which a query `kind.*` selects.
    pub fn kind(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnknownName;
    use std::collections::HashSet;

    #[test]
    fn each_name_is_one_act_on_the_wire_and_in_text() {
        let names: HashSet<_> = Action::ALL.iter().map(|a| a.as_str()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        for action in Action::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
            assert_eq!(action.as_str().parse::<Action>().unwrap(), *action);
            assert!(action.as_str().starts_with(&format!("{}.", action.kind())));
        }
        assert_eq!("release.Decided".parse::<Action>(), Err(UnknownName));
    }
}
