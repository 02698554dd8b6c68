//! A vault in a directory of its own, with everything in it that a release needs.

use super::connection::{Connection, Endpoint};
use crate::{
    replica,
    soft_tpm::{Manufacturer, SoftTpm},
};
use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use strongroom_ledger::VerifierKey;
use strongroom_postgres::Database;
use strongroom_protocol::{
    Bytes, Fixed, VaultId,
    admin::{
        ApproveNode, CreateAsset, CreateToken, CreatedToken, PolicyFiles, RecordReference, Recorded, ReferenceValues,
        Role, Site,
    },
    binding::{TAG_ENROL, tpm_extra_data},
    challenge::{Challenge, ChallengeRequest, Purpose},
    enrol::{ActivateRequest, EnrolAct, EnrolChallenge, EnrolRequest, EnrolStatement, EnrolmentState},
    evidence::PcrSelection,
    join::JoinFile,
    sha256,
};

/// `USER_HZ`: clock ticks a second in /proc, on every Linux that this is for.
const TICKS: f64 = 100.0;
/// The asset that is released.
pub const ASSET: &str = "bench";
/// More than any run holds: quotas are for policies, not for what is measured here.
const UNLIMITED: u32 = 1_000_000;

/// A running vault, of one replica or several. It is killed on drop.
pub struct Deployment {
    replicas: Vec<Replica>,
    verifier: VerifierKey,
    nodes: Vec<SoftTpm>,
    selection: PcrSelection,
}

/// One process of it.
struct Replica {
    server: Child,
    directory: PathBuf,
    endpoint: Endpoint,
}

impl Replica {
    fn start(strongroomd: &Path, directory: &Path, address: SocketAddr, ca: &str) -> Result<Self> {
        let server = serve(strongroomd, directory)?;
        Ok(Self { server, directory: directory.to_owned(), endpoint: Endpoint::new(address, ca)? })
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // Gone already if it ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Deployment {
    /// Makes a vault over SQLite, of one replica; see [`Deployment::start_over`].
    pub fn start(strongroomd: &Path, directory: &Path, policy: &Path, nodes: usize) -> Result<Self> {
        Self::start_over(strongroomd, directory, policy, nodes, None)
    }

    /// Makes a vault in `directory` (removed first if it is there), starts `strongroomd` on loopback
    /// and enrols `nodes` software TPMs. `policy` is the baseline bundle's directory.
    ///
    /// Over a PostgreSQL database there are so many replicas, each in a directory beside the first.
    pub fn start_over(
        strongroomd: &Path,
        directory: &Path,
        policy: &Path,
        nodes: usize,
        over: Option<(&Database, usize)>,
    ) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
        }
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent)?;
        }
        let address = free_address()?;
        init(strongroomd, directory, address, over.map(|(database, _)| database))?;
        let manufacturer = Manufacturer::new()?;
        fs::write(directory.join("roots/ek/soft-tpm.pem"), manufacturer.root_pem())?;
        configure(&directory.join("strongroomd.toml"))?;
        let join: JoinFile = serde_json::from_slice(&fs::read(directory.join("join.json"))?)?;
        let mut replicas = vec![Replica::start(strongroomd, directory, address, &join.tls_ca)?];
        for number in 2..=over.map_or(1, |(_, replicas)| replicas) {
            let (copy, address) = (directory.with_extension(number.to_string()), free_address()?);
            if copy.exists() {
                fs::remove_dir_all(&copy).with_context(|| format!("remove {}", copy.display()))?;
            }
            replica::copy(directory, &copy, &format!("strongroomd-{number}"), address.port())?;
            replicas.push(Replica::start(strongroomd, &copy, address, &join.tls_ca)?);
        }
        let mut deployment = Self {
            replicas,
            verifier: join.ledger_verifier_key.parse().context("the ledger's key in join.json")?,
            nodes: Vec::with_capacity(nodes),
            selection: PcrSelection::default_sha256(),
        };
        deployment.furnish(policy)?;
        let operator = deployment.token("olga", Role::Operator)?;
        for _ in 0..nodes {
            let tpm = SoftTpm::new(&manufacturer)?;
            deployment.enrol(&tpm, &operator)?;
            deployment.nodes.push(tpm);
        }
        Ok(deployment)
    }

    /// Where one of its replicas listens: they take turns by this number.
    pub fn endpoint(&self, turn: usize) -> &Endpoint {
        // INVARIANT: it was made with one replica at least, and none is taken away.
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        &self.replicas[turn % self.replicas.len()].endpoint
    }

    /// The directories of its replicas.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.replicas.iter().map(|replica| replica.directory.clone()).collect()
    }

    /// The processes of its replicas.
    pub fn pids(&self) -> Vec<u32> {
        self.replicas.iter().map(|replica| replica.server.id()).collect()
    }

    /// Ends a replica as a power cut would; it is asked no more by those who know.
    pub fn kill(&self, replica: usize) -> Result<()> {
        let pid = self.replicas.get(replica).context("there is no such replica")?.server.id();
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("not a process")?;
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
    }

    /// Its id.
    pub fn vault(&self) -> VaultId {
        VaultId::from(sha256(self.verifier.public_key()))
    }

    /// Its ledger's key, which signs answers too.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The nodes that are enrolled and approved.
    pub fn nodes(&self) -> &[SoftTpm] {
        &self.nodes
    }

    /// The PCRs that quotes select.
    pub fn selection(&self) -> &PcrSelection {
        &self.selection
    }

    /// Seconds of processor time that its replicas have used, their own and the kernel's for them
    /// (/proc/PID/stat, in hundredths).
    pub fn cpu_seconds(&self) -> Result<f64> {
        let mut ticks = 0.0;
        for pid in self.pids() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th after it.
            let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat")?;
            let spent: Vec<f64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
            ticks += spent.iter().sum::<f64>();
        }
        Ok(ticks / TICKS)
    }

    /// People, site, reference values, policy, asset.
    fn furnish(&self, policy: &Path) -> Result<()> {
        let operator = self.token("otto", Role::Operator)?;
        let site = Site { name: "fra-1".into(), jurisdiction: "DE".into() };
        self.act::<Recorded>(&operator, "/v1/sites", &site)?;
        let endorser = self.token("edna", Role::Endorser)?;
        let pcrs = SoftTpm::pcrs(&self.selection);
        let values = Some(ReferenceValues::of(pcrs.bank, pcrs.values));
        let reference = RecordReference { name: "bench".into(), from_node: None, values };
        let proposed = self.act::<Recorded>(&endorser, "/v1/references", &reference)?;
        let version = proposed.version.context("a reference set without version")?;
        let second = self.token("emil", Role::Endorser)?;
        let approve = format!("/v1/references/bench/{version}/approve");
        self.act::<Recorded>(&second, &approve, &serde_json::json!({}))?;
        let author = self.token("anne", Role::PolicyAuthor)?;
        let proposed: Recorded = self.act(&author, "/v1/policies", &policy_files(policy)?)?;
        let digest = proposed.digest.context("a policy without digest")?;
        let approver = self.token("paul", Role::PolicyApprover)?;
        self.act::<Recorded>(&approver, &format!("/v1/policies/{digest}/enforce"), &serde_json::json!({}))?;
        let custodian = self.token("carl", Role::Custodian)?;
        let asset = CreateAsset {
            name: ASSET.into(),
            labels: [].into(),
            jurisdictions: vec!["DE".into()],
            reference_sets: vec!["bench".into()],
            integrity: strongroom_protocol::admin::Integrity::Plain,
            max_leases: Some(UNLIMITED),
        };
        self.act::<Recorded>(&custodian, "/v1/assets", &asset)?;
        Ok(())
    }

    fn token(&self, person: &str, role: Role) -> Result<String> {
        let first = self.replicas.first().context("there is no replica")?;
        let admin = fs::read_to_string(first.directory.join("admin.token"))?;
        let request = CreateToken { person: person.into(), roles: vec![role], expires_in: 86_400 };
        Ok(self.act::<CreatedToken>(admin.trim(), "/v1/tokens", &request)?.token)
    }

    fn act<T: serde::de::DeserializeOwned>(&self, token: &str, path: &str, body: &impl Serialize) -> Result<T> {
        let bearer = format!("Bearer {token}");
        self.endpoint(0).connect()?.post(path, &[("authorization", &bearer)], body)
    }

    /// Certificate, credential, quote, approval.
    fn enrol(&self, tpm: &SoftTpm, operator: &str) -> Result<()> {
        let mut connection = self.endpoint(0).connect()?;
        let request = EnrolRequest {
            ek_certificate_chain: vec![tpm.certificate().into()],
            ek_public: tpm.ek_public().into(),
            ak_public: tpm.ak_public().into(),
            requested_labels: [].into(),
            hostname: None,
        };
        let begun: EnrolChallenge = connection.post("/v1/nodes", &[], &request)?;
        let statement = EnrolStatement {
            v: 1,
            act: EnrolAct::Enrol,
            vault: self.vault(),
            nonce: challenge(&mut connection, Purpose::Enrol)?.nonce,
            enrolment: begun.enrolment,
            ek_sha256: Fixed(sha256(tpm.ek_public())),
            ak_name: tpm.ak_name().into(),
        };
        let statement = serde_json::to_vec(&statement)?;
        let request = ActivateRequest {
            secret: Bytes(tpm.activate(&begun)?),
            quote: tpm.quote(&tpm_extra_data(TAG_ENROL, &statement, None), &self.selection)?,
            statement: Bytes(statement),
        };
        let path = format!("/v1/enrolments/{}/activate", begun.enrolment);
        let activated: EnrolmentState = connection.post(&path, &[], &request)?;
        let node = activated.node.context("an activation without a node")?;
        let approval = ApproveNode { site: "fra-1".into(), labels: [].into(), single_job: true };
        self.act::<Recorded>(operator, &format!("/v1/nodes/{node}/approve"), &approval)?;
        Ok(())
    }
}

/// A nonce.
pub fn challenge(connection: &mut Connection, purpose: Purpose) -> Result<Challenge> {
    connection.post("/v1/challenges", &[], &ChallengeRequest { purpose })
}

/// Loopback, a port that nobody listens on now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn init(strongroomd: &Path, directory: &Path, address: SocketAddr, over: Option<&Database>) -> Result<()> {
    let url = format!("https://{address}");
    let mut command = Command::new(strongroomd);
    command.args(["--json", "init", "--url", &url, "--dir"]).arg(directory);
    // `init` copies it into the configuration.
    let mut file = tempfile::NamedTempFile::new()?;
    if let Some(database) = over {
        file.write_all(database.configuration().as_bytes())?;
        command.arg("--postgres").arg(file.path());
    }
    let made = command.output().with_context(|| format!("run {}", strongroomd.display()))?;
    ensure!(made.status.success(), "strongroomd init: {}", String::from_utf8_lossy(&made.stdout));
    Ok(())
}

/// The default configuration without what would only slow one machine's load down: rate limits,
/// the quota of one node, the metrics' listener.
fn configure(path: &Path) -> Result<()> {
    let mut text = fs::read_to_string(path)?;
    for (key, value) in [
        ("requests_per_second", "1000000"),
        ("burst", "1000000"),
        ("leases_per_node", "1000000"),
        ("metrics_listen", "\"\""),
        ("log_level", "\"warn\""),
    ] {
        let begins = format!("{key} = ");
        let line = text.lines().find(|line| line.starts_with(&begins)).map(str::to_owned);
        let line = line.with_context(|| format!("the configuration has no line `{key} = …`"))?;
        text = text.replacen(&line, &format!("{begins}{value}"), 1);
    }
    Ok(fs::write(path, text)?)
}

fn serve(strongroomd: &Path, directory: &Path) -> Result<Child> {
    let log = directory.join("strongroomd.log");
    let mut server = Command::new(strongroomd)
        .args(["--json", "serve", "--config"])
        .arg(directory.join("strongroomd.toml"))
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()?;
    // Its one line on standard output, or its end.
    let mut line = String::new();
    let read = server.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    if read.is_none_or(|read| read.is_err()) || !line.contains("\"serving\"") || line.contains("\"locked\":true") {
        let _ = server.kill();
        let _ = server.wait();
        bail!("the vault does not serve: {line}{}", fs::read_to_string(&log).unwrap_or_default());
    }
    Ok(server)
}

/// The bundle, with quotas out of the way and a lease that outlives the run.
fn policy_files(directory: &Path) -> Result<PolicyFiles> {
    let mut files = PolicyFiles { files: [].into() };
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    let mut data: serde_json::Value = serde_json::from_str(&read("data.json")?)?;
    let settings =
        data.get_mut("settings").and_then(serde_json::Value::as_object_mut).context("data.json: settings")?;
    for quota in ["max_leases_per_node", "max_leases_per_asset"] {
        settings.insert(quota.into(), UNLIMITED.into());
    }
    files.files.insert("release.rego".into(), read("release.rego")?);
    files.files.insert("data.json".into(), serde_json::to_string(&data)?);
    Ok(files)
}
