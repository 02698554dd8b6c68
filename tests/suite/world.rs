//! A vault with nodes, sites, references and policy: what most suites start from.

use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};
use strongroom::Admin;
use strongroom_protocol::admin::{CreateAsset, Integrity, RecordReference, Recorded, Role, Site};
use strongroom_tests::{Machine, Member, Vault, member};

/// Patience with what has to happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// A vault that runs, with some members.
pub(crate) struct World {
    pub(crate) vault: Vault,
    pub(crate) nodes: Vec<Member>,
}

/// The reference set of [`Machine::default`].
pub(crate) const REFERENCES: &str = "usual";

impl World {
    /// Sites `fra-1` (DE) and `iad-1` (US), the baseline with these settings, and so many nodes in
    /// `fra-1`, all booted into the machine that the reference set `usual` is of.
    pub(crate) fn with<const N: usize>(settings: &[(&str, Value)]) -> Self {
        Self::configured::<N>(settings, &[])
    }

    /// The same, with keys of the configuration set.
    pub(crate) fn configured<const N: usize>(settings: &[(&str, Value)], configuration: &[(&str, &str)]) -> Self {
        let world = Self::found::<N>(configuration);
        for node in &world.nodes {
            node.approve(&world.vault, "fra-1").unwrap();
        }
        world.refer_to(world.node());
        world.vault.enforce_baseline(settings).unwrap();
        world
    }

    /// A vault with this configuration, its sites, and so many nodes that nobody has approved; no
    /// references, no policy.
    pub(crate) fn found<const N: usize>(configuration: &[(&str, &str)]) -> Self {
        let nodes = member::boot::<N>(&Machine::default()).unwrap();
        let mut vault = Vault::init().unwrap();
        for (key, value) in configuration {
            vault.configure(key, value).unwrap();
        }
        for node in &nodes {
            vault.trust(node).unwrap();
        }
        assert!(!vault.serve().unwrap(), "the vault is locked");
        let operator = vault.admin(Role::Operator).unwrap();
        for (name, jurisdiction) in [("fra-1", "DE"), ("iad-1", "US")] {
            act(&operator, "/v1/sites", &Site { name: name.into(), jurisdiction: jurisdiction.into() });
        }
        let enrol = |(i, node)| Member::enrol(&vault, node, &format!("node-{i}")).unwrap();
        let nodes = nodes.into_iter().enumerate().map(enrol).collect();
        Self { vault, nodes }
    }

    /// Makes what this node showed last the reference set `usual`.
    pub(crate) fn refer_to(&self, node: &Member) {
        let reference = RecordReference { name: REFERENCES.into(), from_node: Some(node.id), values: None };
        self.vault.refer(&reference).unwrap();
    }

    /// The first node.
    pub(crate) fn node(&self) -> &Member {
        &self.nodes[0]
    }

    /// Creates an asset that may be opened in DE on the usual machine.
    pub(crate) fn asset(&self, name: &str, change: impl FnOnce(&mut CreateAsset)) {
        let mut asset = CreateAsset {
            name: name.into(),
            labels: [].into(),
            jurisdictions: vec!["DE".into()],
            reference_sets: vec![REFERENCES.into()],
            integrity: Integrity::Plain,
            max_leases: None,
        };
        change(&mut asset);
        act(&self.vault.admin(Role::Custodian).unwrap(), "/v1/assets", &asset);
    }

    /// Records of the ledger that match, the oldest first: the parsed record of each.
    pub(crate) fn records(&self, filter: &[&str]) -> Vec<Value> {
        let arguments = ["audit", "query", "--last", "1h", "--limit", "1000"].iter().chain(filter);
        let page: Value = self.vault.cli(Role::Auditor).unwrap().ask(arguments).unwrap();
        page["records"].as_array().unwrap().iter().map(|entry| entry["record"].clone()).collect()
    }
}

/// Does an administrative act, and gives its record.
pub(crate) fn act(admin: &Admin, path: &str, body: &impl serde::Serialize) -> Recorded {
    admin.post(path, body).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A world that tests share for as long as one of them uses it, so that its processes end.
pub(crate) struct Shared(Mutex<Weak<World>>);

impl Shared {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The world, made if nobody uses it now.
    pub(crate) fn get(&self, make: impl FnOnce() -> World) -> Arc<World> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let world = Arc::new(make());
            *shared = Arc::downgrade(&world);
            world
        })
    }
}

/// Asks again and again until it is so; for what nothing can be waited for.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// So many bytes that differ from file to file and do not repeat.
pub(crate) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
