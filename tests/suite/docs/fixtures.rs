//! What the commands of documents read: a sealed file, an export, policies, a join file.

use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::{fs, path::Path};
use strongroom_ledger::{
    Action, Actor, ActorKind, Checkpoint, Frontier, Receipt, Record, Subject, SubjectKind, Timestamp, VerifierKey,
    entry_hash,
};
use strongroom_protocol::{
    Bytes, DecisionId,
    audit::{EntryView, ExportLine},
};

use super::root;

/// A directory with them, which goes away.
pub(super) struct Fixtures(tempfile::TempDir);

impl Fixtures {
    pub(super) fn make() -> Self {
        let fixtures = Self(tempfile::tempdir().unwrap());
        let path = fixtures.path();
        fs::create_dir(path.join("home")).unwrap();
        fs::create_dir(path.join("policies")).unwrap();
        for bundle in ["baseline", "tier1", "tier2", "tier3"] {
            std::os::unix::fs::symlink(root().join("policies").join(bundle), path.join("policies").join(bundle))
                .unwrap();
        }
        std::os::unix::fs::symlink(root().join("policies/baseline"), path.join("my-policy")).unwrap();
        write_sealed(&path.join("model.safetensors.sealed"));
        write_ledger(path);
        fixtures
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Changes one character of a record.
    pub(super) fn forge_ledger(&self) {
        let path = self.path().join("ledger.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        let forged = text.replacen("\"salt\":\"Bw", "\"salt\":\"Cw", 1);
        assert_ne!(text, forged);
        fs::write(path, forged).unwrap();
    }
}

/// The first known answer of the sealed format.
fn write_sealed(path: &Path) {
    let vectors = fs::read(root().join("sdk/sealed/vectors/v1.json")).unwrap();
    let vectors: Value = serde_json::from_slice(&vectors).unwrap();
    fs::write(path, hex::decode(vectors[0]["file"].as_str().unwrap()).unwrap()).unwrap();
}

/// A ledger of one record: its export, its checkpoint, and the join file that pins its key.
fn write_ledger(path: &Path) {
    let identity = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let key = VerifierKey::new("strongroom/example", identity.public_key().as_ref().try_into().unwrap()).unwrap();
    let id: DecisionId = "01K3ZQ8Y6E6M1D0Q9V1S1C1X7A".parse().unwrap();
    let time: Timestamp = serde_json::from_value(json!("2026-01-01T00:00:00.000Z")).unwrap();
    let actor = Actor { kind: ActorKind::System, id: "init".to_owned() };
    let subject = Subject { kind: SubjectKind::Vault, id: "example".to_owned() };
    let record = Record::new(id, time, "example", actor, Action::VaultInitialised, subject).to_canonical().unwrap();
    let (salt, mut frontier) = ([7; 16], Frontier::new());
    let entry = entry_hash(&salt, &record);
    frontier.push(&entry).unwrap();
    let signed = Checkpoint::of(key.name(), &frontier).sign(&key, &identity).unwrap();
    let (checkpoint, proved) = (signed.to_string(), record.clone());
    let receipt = Receipt::new(0, Vec::new(), signed).encode();
    let lines = [
        ExportLine::Header { v: 1, ledger_verifier_key: key.to_string(), first: 0 },
        ExportLine::Entry(EntryView {
            index: 0,
            record: Some(Bytes(record)),
            salt: Some(Bytes(salt.to_vec())),
            entry: Bytes(entry.to_vec()),
        }),
        ExportLine::Footer { checkpoint: checkpoint.clone() },
    ];
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    fs::write(path.join("ledger.jsonl"), text).unwrap();
    fs::write(path.join("seen.txt"), checkpoint).unwrap();
    let proof = json!({ "v": 1, "record": Bytes(proved), "salt": Bytes(salt.to_vec()), "receipt": receipt });
    fs::write(path.join("proof.json"), proof.to_string()).unwrap();
    let join = json!({
        "v": 1, "url": "https://vault.invalid", "tls_ca": "", "vault_ids": [],
        "ledger_verifier_key": key.to_string(),
    });
    fs::write(path.join("home/join.json"), join.to_string()).unwrap();
}
