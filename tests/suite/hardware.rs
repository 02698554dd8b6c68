//! Confidential machines, from the import of a node to a file that is opened on it: guests of SEV-SNP with GPUs and of
//! TDX, machines of Azure, whose makers are the test's own, before a vault that trusts these makers and is the released
//! one in all else.

mod agent;
mod azure;
mod gang;
mod identify;
mod lines;
mod postgres;
mod refusals;
mod release;
mod roots;
mod said;
mod tdx;

use crate::world::act;
use serde_json::Value;
use std::{fs, sync::Arc, thread};
use strongroom::{Options, Room};
use strongroom_collect::{CollectorConfig, Devices};
use strongroom_protocol::{
    DecisionId, NodeId,
    admin::{CreateAsset, Integrity, RecordReference, Recorded, ReferenceValues, Role, Site, SnpValues},
    audit::DecisionView,
    evidence::{EvidenceKind, PcrBank, PcrMap},
    identity::Identity,
    requirements::Register,
};
use strongroom_tests::{
    Cli, Confidential, Makers, Vault,
    confidential::{Below, Served, devices},
    postgres::Database,
    programs,
};

const ASSET: &str = "llama";
/// The set that has the launch measurement of every honest guest here.
const REFERENCES: &str = "guests";
/// The evidence of a guest with GPUs.
const KINDS: [EvidenceKind; 2] = [EvidenceKind::SevSnp, EvidenceKind::NvidiaGpu];

/// A vault with sites, references, endorsements, the shipped tier in force and an asset; and the makers it trusts.
struct Estate {
    vault: Vault,
    makers: Makers,
}

/// A confidential machine and its command line.
struct Guest {
    machine: Arc<Confidential>,
    cli: Cli,
    _served: Served,
}

impl Estate {
    /// With this tier of `policies/`, as it is shipped.
    fn of(tier: &str) -> Self {
        Self::over(tier, Vault::init().unwrap())
    }

    /// The same over a database of PostgreSQL.
    fn over_postgres(tier: &str, database: &Database) -> Self {
        Self::over(tier, Vault::init_over(database).unwrap())
    }

    fn over(tier: &str, vault: Vault) -> Self {
        let makers = Makers::new();
        let measurements = [Register(makers.machine(0xee, &[]).measurement())].into();
        Self::founded(vault, makers, tier, &[], values(SnpValues { measurements }))
    }

    /// With some settings of the tier changed, and a set with these values.
    fn founded(
        mut vault: Vault,
        makers: Makers,
        tier: &str,
        settings: &[(&str, Value)],
        values: ReferenceValues,
    ) -> Self {
        vault.trusting(&makers).unwrap();
        assert!(!vault.serve().unwrap(), "the vault is locked");
        let operator = vault.admin(Role::Operator).unwrap();
        act(&operator, "/v1/sites", &Site { name: "fra-1".into(), jurisdiction: "DE".into() });
        vault.endorse(&makers).unwrap();
        let set = RecordReference { name: REFERENCES.into(), from_node: None, values: Some(values) };
        vault.refer(&set).unwrap();
        vault.enforce(tier, settings).unwrap();
        let asset = CreateAsset {
            name: ASSET.into(),
            labels: [].into(),
            jurisdictions: vec!["DE".into()],
            reference_sets: vec![REFERENCES.into()],
            integrity: Integrity::Plain,
            max_leases: None,
        };
        act(&vault.admin(Role::Custodian).unwrap(), "/v1/assets", &asset);
        Self { vault, makers }
    }

    /// A machine that has joined, and says itself how it is registered.
    fn guest(&self, name: &str, chip: u8, gpus: &[u16]) -> (Guest, String) {
        let guest = self.unregistered(name, chip, gpus);
        let mut enrol = vec!["node", "enroll", "--hostname", name, "--device", "sev-snp"];
        if !gpus.is_empty() {
            enrol.extend(["--device", "nvidia-gpu"]);
        }
        let told: Value = guest.cli.ask(enrol).unwrap();
        (guest, told["import"].as_str().unwrap().to_owned())
    }

    fn unregistered(&self, name: &str, chip: u8, gpus: &[u16]) -> Guest {
        let machine = Arc::new(self.makers.machine(chip, gpus));
        let (cli, served) = self.desk(name, Arc::clone(&machine) as _);
        Guest { machine, cli, _served: served }
    }

    /// The command line of a machine that has joined.
    fn desk(&self, name: &str, machine: Arc<dyn Below>) -> (Cli, Served) {
        let home = self.vault.beside("guests").join(name);
        let cli = Cli::new(home.clone()).unwrap();
        let served = Served::of(machine, &home.join("machine.sock")).unwrap();
        let cli = cli.over_machine(served.socket()).unwrap();
        cli.join(&self.vault.join_path()).unwrap();
        (cli, served)
    }

    /// An operator's import of a machine by these identities, which runs one job.
    fn import_by(&self, identities: &[Identity]) -> NodeId {
        let words: Vec<String> = identities.iter().map(|identity| format!("--identity {identity}")).collect();
        self.import(&format!("strongroom node import {} --site SITE --single-job", words.join(" ")))
    }

    /// What the machine said, typed by an operator.
    fn import(&self, line: &str) -> NodeId {
        let line = line.replace("SITE", "fra-1");
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let recorded: Recorded = self.vault.cli(Role::Operator).unwrap().ask(words).unwrap();
        recorded.node.unwrap()
    }

    /// Such a machine, registered.
    fn registered(&self, name: &str, chip: u8, gpus: &[u16]) -> (Guest, NodeId) {
        let (guest, line) = self.guest(name, chip, gpus);
        let node = self.import(&line);
        (guest, node)
    }

    /// What an auditor is told of a decision.
    fn decision(&self, id: DecisionId) -> DecisionView {
        self.vault.admin(Role::Auditor).unwrap().get(&format!("/v1/decisions/{id}")).unwrap()
    }

    fn room(&self) -> Room {
        Room::connect(&self.vault.join_file().unwrap(), Options::default()).unwrap()
    }

    /// Records of the ledger about this node, the oldest first.
    fn records(&self, node: NodeId) -> Vec<Value> {
        let id = node.to_string();
        let query = ["audit", "query", "--last", "1h", "--limit", "1000", "--node", &id];
        let page: Value = self.vault.cli(Role::Auditor).unwrap().ask(query).unwrap();
        page["records"].as_array().unwrap().iter().map(|entry| entry["record"].clone()).collect()
    }
}

impl Guest {
    /// The devices, as a job of a single-job node opens them.
    fn devices(&self) -> Devices {
        devices_of(&self.machine, &KINDS)
    }
}

fn devices_of<M: Below + 'static>(machine: &Arc<M>, kinds: &[EvidenceKind]) -> Devices {
    let tcti = "device:/nonexistent".parse().unwrap();
    let config = CollectorConfig { devices: kinds.to_vec(), ..CollectorConfig::new(tcti, "/nonexistent".into()) };
    let below: Arc<dyn Below> = Arc::clone(machine) as _;
    devices(&below, &config).unwrap()
}

/// A set of launch measurements alone.
fn values(snp: SnpValues) -> ReferenceValues {
    ReferenceValues { snp, ..ReferenceValues::of(PcrBank::Sha256, PcrMap::default()) }
}

/// A setting of a tier as it is shipped.
fn shipped(tier: &str, setting: &str) -> Value {
    let file = programs::project().join("policies").join(tier).join("data.json");
    let data: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    data["settings"][setting].clone()
}

/// Runs these at one time, and gives what each gave.
fn at_once<T: Send, R: Send>(all: Vec<T>, each: impl Fn(T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let threads: Vec<_> = all.into_iter().map(|one| scope.spawn(|| each(one))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
