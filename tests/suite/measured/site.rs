//! A vault on this host, and a machine that boots, enrols and asks.

use crate::world::{act, content};
use serde_json::{Value, json};
use std::fs;
use strongroom_protocol::{
    NodeId,
    admin::{CreateAsset, FileLists, Integrity, RecordReference, ReferenceValues, Role, Site as Place},
    sha256,
};
use strongroom_tests::{
    Ran, Vault,
    measured::{Guest, HOST, Parts, Platform, Software, root},
};

/// What policy reads: all that boots extend, and what IMA does.
const PCRS: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10];
/// The reference set.
pub(super) const REFERENCES: &str = "measured";
/// The asset.
pub(super) const ASSET: &str = "weights";
/// What the job opens, in the guest.
pub(super) const FILE: &str = "/run/state/data.sealed";
/// Where the agent listens, in the guest.
pub(super) const AGENT: &str = "/run/agent.sock";

/// A vault, and a platform that it knows.
pub(super) struct Site {
    pub(super) vault: Vault,
    pub(super) platform: Platform,
    data: Vec<u8>,
    node: Option<NodeId>,
}

/// What a command in the guest was told.
pub(super) enum Told {
    /// It opened the file, and this is its digest.
    Opened(String),
    /// The vault refused; the reasons, and what `strongroom explain` makes of it.
    Refused { reasons: Vec<String>, explained: String },
}

impl Site {
    /// A vault that serves, with a place for the node, a policy that wants both logs, and an asset.
    pub(super) fn found(parts: &Parts, settings: &[(&str, Value)]) -> Self {
        let platform = Platform::make(parts).unwrap();
        let mut vault = Vault::init_named(HOST).unwrap();
        fs::copy(platform.root_ca(), vault.dir().join("roots/ek/guest.pem")).unwrap();
        vault.configure("pcrs", &json!(PCRS).to_string()).unwrap();
        assert!(!vault.serve().unwrap(), "the vault is locked");
        let operator = vault.admin(Role::Operator).unwrap();
        act(&operator, "/v1/sites", &Place { name: "fra-1".into(), jurisdiction: "DE".into() });
        let selection = ("pcr_selection", json!({ "bank": "sha256", "pcrs": PCRS }));
        vault.enforce_baseline(&[&[selection], settings].concat()).unwrap();
        let asset = CreateAsset {
            name: ASSET.into(),
            labels: [].into(),
            jurisdictions: vec!["DE".into()],
            reference_sets: vec![REFERENCES.into()],
            integrity: Integrity::Plain,
            max_leases: None,
        };
        act(&vault.admin(Role::Custodian).unwrap(), "/v1/assets", &asset);
        Self { vault, platform, data: content(4, 200_000), node: None }
    }

    /// The first boot: the machine joins and enrols, and the operator approves it as one with an agent.
    pub(super) fn enrol(&mut self, software: &Software) -> Guest {
        let mut guest = self.platform.boot(software).unwrap();
        let mut join = self.vault.join_file().unwrap();
        let (_, port) = join.url.rsplit_once(':').unwrap();
        join.url = format!("https://{HOST}:{port}");
        guest.write("/run/state/join.json", &serde_json::to_vec(&join).unwrap()).unwrap();
        done(&mut guest, "strongroom join /run/state/join.json");
        let enrol =
            format!("strongroom --json --agent {AGENT} node enroll --state-dir /run/state/agent --hostname guest");
        let enrolled: Value = serde_json::from_str(&done(&mut guest, &enrol)).unwrap();
        let node: NodeId = enrolled["node"].as_str().unwrap().parse().unwrap();
        let operator = self.vault.cli(Role::Operator).unwrap();
        operator.run(["node", "approve", &node.to_string(), "--site", "fra-1"]).unwrap().done().unwrap();
        self.node = Some(node);
        start_agent(&mut guest);
        guest
    }

    /// A later boot: all that the node needs lies on its disk.
    pub(super) fn boot(&mut self, software: &Software) -> Guest {
        let mut guest = self.platform.boot(software).unwrap();
        start_agent(&mut guest);
        guest
    }

    /// Makes what the node shows the reference set, as two people do it, and seals what is to be opened. Before, the
    /// node does all that it will do, though it is refused: the list of files then has them all. With lists of files
    /// that are given, they take that list's place.
    pub(super) fn refer_and_seal(&self, guest: &mut Guest, files: Option<FileLists>) {
        guest.write("/run/state/data", &self.data).unwrap();
        done(guest, &format!("{} --version", root::JOB));
        let Told::Refused { reasons, .. } = self.tell(&seal(guest)) else { panic!("sealed without references") };
        assert_eq!(reasons, ["reference_unusable"]);

        // The vault saw what the machine itself says of itself.
        let shown: ReferenceValues =
            self.vault.admin(Role::Endorser).unwrap().get(&format!("/v1/nodes/{}/measurements", self.node())).unwrap();
        let (pcrs, boot, measured) = super::logs::verify(guest);
        let loader = boot.loader.unwrap();
        assert_eq!(loader.files.len(), 2, "initramfs and command line: {loader:?}");
        let lockdown = done(guest, "cat /sys/kernel/security/lockdown");
        assert!(lockdown.contains("[integrity]"), "{lockdown}");
        for path in ["/sbin/start", "/bin/busybox", root::PROGRAM, root::JOB] {
            assert!(measured.files.values().any(|measured| measured == path), "{path}: {:?}", measured.files);
        }
        assert_eq!(shown.files.accepted.as_ref(), Some(&measured.files));
        assert_eq!(shown.pcrs.0.len(), PCRS.len() - 1, "all but PCR 10");
        for (pcr, value) in &shown.pcrs.0 {
            assert_eq!(value.0, pcrs[pcr], "PCR {pcr}");
        }

        let (from_node, values) = match files {
            None => (Some(self.node()), None),
            Some(files) => (None, Some(ReferenceValues { files, ..shown })),
        };
        self.vault.refer(&RecordReference { name: REFERENCES.into(), from_node, values }).unwrap();
        seal(guest).done().unwrap();
    }

    fn node(&self) -> NodeId {
        self.node.unwrap()
    }

    /// SHA-256 of what is sealed, lower-case hexadecimal.
    pub(super) fn digest(&self) -> String {
        hex::encode(sha256(&self.data))
    }

    /// What became of a command that asked for keys.
    pub(super) fn tell(&self, ran: &Ran) -> Told {
        if ran.code == Some(0) {
            let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
            return Told::Opened(answer["sha256"].as_str().unwrap_or_default().to_owned());
        }
        let problem = ran.problem().unwrap();
        let explained = self.explain(&problem.decision_id.unwrap().to_string());
        Told::Refused { reasons: problem.reasons, explained }
    }

    /// What `strongroom explain` says of a decision.
    pub(super) fn explain(&self, decision: &str) -> String {
        let auditor = self.vault.cli(Role::Auditor).unwrap();
        auditor.run(["explain", decision]).unwrap().done().unwrap().stdout
    }
}

/// Opens the file with a program of the guest.
pub(super) fn open(guest: &mut Guest, program: &str) -> Ran {
    guest.run(&format!("{program} --json open {FILE} --asset {ASSET} --digest")).unwrap()
}

/// Seals what the job is to open.
pub(super) fn seal(guest: &mut Guest) -> Ran {
    guest.run(&format!("{} --json seal /run/state/data --asset {ASSET} --replace", root::PROGRAM)).unwrap()
}

/// Starts the agent, and waits until its socket is there.
fn start_agent(guest: &mut Guest) {
    let agent = format!("strongroom agent --state-dir /run/state/agent --socket {AGENT}");
    done(guest, &format!("{agent} >/run/agent.log 2>&1 &"));
    let wait = format!("n=0; until [ -S {AGENT} ]; do n=$((n + 1)); [ $n -lt 1000 ] || exit 1; usleep 20000; done");
    let ran = guest.run(&format!("{wait} || {{ cat /run/agent.log; exit 1; }}")).unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
}

/// Runs what has to succeed.
pub(super) fn done(guest: &mut Guest, command: &str) -> String {
    guest.run(command).unwrap().done().unwrap().stdout
}
