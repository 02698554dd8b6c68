//! A real vault: `strongroomd` on a directory of its own, with people who hold its roles.

use crate::{
    Cli, Node,
    confidential::{Makers, Published},
    ports::{self, free_port},
    programs::{self, bare},
    replica,
};
use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};
use strongroom::{Admin, Token};
use strongroom_postgres::Database;
use strongroom_protocol::{
    admin::{CreateToken, CreatedToken, PolicyFiles, RecordReference, Recorded, Role},
    join::JoinFile,
};
use tempfile::TempDir;

/// A vault starts in a fraction of a second; a loaded machine may take many.
const PATIENCE: Duration = Duration::from_mins(1);
/// Ports tried before giving up.
const TRIES: u32 = 10;

/// A vault. Its process ends, and everything on disk goes, when it is dropped.
pub struct Vault {
    dir: TempDir,
    process: Option<Child>,
    /// Roots of hardware that it trusts in the place of those that are built in.
    pins: Option<PathBuf>,
    /// One after another: a token is made once, a desk joins once.
    alone: Mutex<()>,
}

impl Vault {
    /// `strongroomd init`. The vault does not run yet.
    pub fn init() -> anyhow::Result<Self> {
        Self::init_with("127.0.0.1", None)
    }

    /// `strongroomd init` for clients that call it by this name or address too. It listens on loopback all the same.
    pub fn init_named(host: &str) -> anyhow::Result<Self> {
        let vault = Self::init_with(host, None)?;
        vault.move_to(free_port())?;
        Ok(vault)
    }

    /// `strongroomd init` over a PostgreSQL database.
    pub fn init_over(database: &Database) -> anyhow::Result<Self> {
        Self::init_by(&database.configuration())
    }

    /// `strongroomd init` over a PostgreSQL database, which is reached as these keys of `[store.postgres]` say.
    pub fn init_by(configuration: &str) -> anyhow::Result<Self> {
        Self::init_with("127.0.0.1", Some(configuration))
    }

    /// Another replica of this vault, over the same database and with the same people. It does not run yet.
    pub fn replica(&self, name: &str) -> anyhow::Result<Self> {
        let replica = Self { dir: TempDir::new()?, process: None, pins: self.pins.clone(), alone: Mutex::new(()) };
        replica::copy(&self.dir(), &replica.dir(), name, free_port())?;
        fs::create_dir(replica.dir.path().join("tokens"))?;
        copy_files(&self.dir.path().join("tokens"), &replica.dir.path().join("tokens"))?;
        Ok(replica)
    }

    fn init_with(host: &str, database: Option<&str>) -> anyhow::Result<Self> {
        let vault = Self { dir: TempDir::new()?, process: None, pins: None, alone: Mutex::new(()) };
        let mut init = bare(&programs::built("strongroomd")?);
        init.arg("init");
        if let Some(database) = database {
            let file = vault.dir.path().join("database.toml");
            fs::write(&file, database)?;
            init.arg("--postgres").arg(file);
        }
        init.arg("--dir").arg(vault.dir());
        init.args(["--url", &format!("https://{host}:{}", free_port()), "--person", "admin"]);
        programs::run(&mut init)?;
        fs::create_dir(vault.dir.path().join("tokens"))?;
        // Many suites share an address, and a machine has one port for metrics by default.
        vault.configure("metrics_listen", "\"\"")?;
        vault.configure("requests_per_second", "100000")?;
        vault.configure("burst", "100000")?;
        Ok(vault)
    }

    /// The vault's directory.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    /// A directory beside the vault's, for what belongs to its clients.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.dir().join("strongroomd.toml")
    }

    /// What the process wrote to standard error, over all its lives.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("strongroomd.log")
    }

    /// What the process wrote to standard output.
    pub fn output(&self) -> PathBuf {
        self.dir.path().join("strongroomd.out")
    }

    /// Sets a key of the configuration, which has to be in the file once; `value` is TOML.
    pub fn configure(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.configuration())?;
        let start = format!("{key} = ");
        ensure!(text.lines().filter(|l| l.starts_with(&start)).count() == 1, "{key} is not in the configuration once");
        let lines: Vec<String> = text
            .lines()
            .map(|line| if line.starts_with(&start) { format!("{start}{value}") } else { line.to_owned() })
            .collect();
        Ok(fs::write(self.configuration(), lines.join("\n") + "\n")?)
    }

    /// Trusts the maker of this node's TPM. The vault reads its roots when it starts.
    pub fn trust(&self, node: &Node) -> anyhow::Result<()> {
        let name = format!("{}.pem", node.tpm.pid().unwrap_or_default());
        fs::copy(node.tpm.root_ca(), self.dir().join("roots/ek").join(name))?;
        Ok(())
    }

    /// Trusts hardware of these makers and of no other, from its next start on. What serves then is the same vault in
    /// a program of the tests: the released one trusts what is built into it.
    pub fn trusting(&mut self, makers: &Makers) -> anyhow::Result<()> {
        let file = self.beside("pins.json");
        fs::write(&file, makers.pins())?;
        self.pins = Some(file);
        Ok(())
    }

    /// Trusts what is built into the released program, from its next start on.
    pub fn trusting_what_is_released(&mut self) {
        self.pins = None;
    }

    /// Imports what makers publish, as an endorser does: issuers before what they issued.
    pub fn endorse(&self, makers: &Makers) -> anyhow::Result<()> {
        self.import(makers.endorsements())
    }

    /// Imports these, as an endorser does.
    pub fn import(&self, published: Vec<Published>) -> anyhow::Result<()> {
        let directory = self.beside("published");
        fs::create_dir_all(&directory)?;
        let mut arguments = vec![OsString::from("endorsement"), OsString::from("import")];
        for Published { name, bytes, .. } in published {
            let file = directory.join(name);
            fs::write(&file, bytes)?;
            arguments.push(file.into());
        }
        self.cli(Role::Endorser)?.run(arguments)?.done()?;
        Ok(())
    }

    /// Starts the vault, and returns when it says that it serves; true if it serves locked.
    pub fn serve(&mut self) -> anyhow::Result<bool> {
        for _ in 1..TRIES {
            match self.start() {
                Err(_) if self.process.is_none() && self.port_is_taken() => self.move_to(free_port())?,
                other => return other,
            }
        }
        self.start()
    }

    /// The join file.
    pub fn join_path(&self) -> PathBuf {
        self.dir().join("join.json")
    }

    /// The join file's contents.
    pub fn join_file(&self) -> anyhow::Result<JoinFile> {
        Ok(serde_json::from_slice(&fs::read(self.join_path())?)?)
    }

    /// The file with the first token.
    pub fn admin_token(&self) -> PathBuf {
        self.dir().join("admin.token")
    }

    /// A token file of a person who holds this one role, and is called after it.
    pub fn token(&self, role: Role) -> anyhow::Result<PathBuf> {
        if role == Role::Admin {
            return Ok(self.admin_token());
        }
        self.token_of(role.as_str(), role)
    }

    /// A token file of this person, who holds this one role.
    pub fn token_of(&self, person: &str, role: Role) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join("tokens").join(person);
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.exists() {
            let request = CreateToken { person: person.to_owned(), roles: vec![role], expires_in: 3600 };
            let created: CreatedToken = self.admin(Role::Admin)?.post("/v1/tokens", &request)?;
            let mut options = File::options();
            let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
            std::io::Write::write_all(&mut &file, created.token.as_bytes())?;
        }
        Ok(path)
    }

    /// A connection for administration by this role.
    pub fn admin(&self, role: Role) -> anyhow::Result<Admin> {
        Ok(Admin::connect(&self.join_file()?, Some(Token::from_file(&self.token(role)?)?))?)
    }

    /// Proposes a version of a reference set, and puts it in force as another endorser.
    pub fn refer(&self, set: &RecordReference) -> anyhow::Result<()> {
        let proposed: Recorded = self.admin(Role::Endorser)?.post("/v1/references", set)?;
        let version = proposed.version.context("a proposal without its version")?;
        let token = Token::from_file(&self.token_of("second-endorser", Role::Endorser)?)?;
        let second = Admin::connect(&self.join_file()?, Some(token))?;
        let path = format!("/v1/references/{}/{version}/approve", set.name);
        let _: Recorded = second.post(&path, &serde_json::json!({}))?;
        Ok(())
    }

    /// The command line of a person who holds this role, joined.
    pub fn cli(&self, role: Role) -> anyhow::Result<Cli> {
        let token = self.token(role)?;
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let cli = Cli::new(self.dir.path().join("desks").join(role.as_str()))?.with_token(token);
        cli.join(&self.join_path())?;
        Ok(cli)
    }

    /// Proposes and enforces the baseline, with some of its settings changed.
    pub fn enforce_baseline(&self, settings: &[(&str, serde_json::Value)]) -> anyhow::Result<()> {
        self.enforce("baseline", settings)
    }

    /// The same for another bundle of `policies/`: all its files but the tests, its settings changed.
    pub fn enforce(&self, bundle: &str, settings: &[(&str, serde_json::Value)]) -> anyhow::Result<()> {
        let directory = programs::project().join("policies").join(bundle);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))? {
            let path = entry?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if path.extension().is_some_and(|extension| extension == "rego") && !stem.ends_with("_test") {
                files.insert(format!("{stem}.rego"), fs::read_to_string(&path)?);
            }
        }
        let mut data: serde_json::Value = serde_json::from_slice(&fs::read(directory.join("data.json"))?)?;
        let all = data.get_mut("settings").and_then(|s| s.as_object_mut()).context("the bundle has no settings")?;
        for (name, value) in settings {
            all.insert((*name).to_owned(), value.clone());
        }
        files.insert("data.json".to_owned(), data.to_string());
        let proposed: Recorded = self.admin(Role::PolicyAuthor)?.post("/v1/policies", &PolicyFiles { files })?;
        let digest = proposed.digest.context("a proposal without a digest")?;
        let path = format!("/v1/policies/{digest}/enforce");
        let _: Recorded = self.admin(Role::PolicyApprover)?.post(&path, &serde_json::json!({}))?;
        Ok(())
    }

    /// The running process.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// SIGTERM, and waits for the orderly end.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.process.take().context("the vault does not run")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        Ok(child.wait()?)
    }

    /// SIGKILL: what a power cut does to a process.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends in order, and serves again.
    pub fn restart(&mut self) -> anyhow::Result<bool> {
        self.stop()?;
        self.serve()
    }

    fn start(&mut self) -> anyhow::Result<bool> {
        ensure!(self.process.is_none(), "the vault runs already");
        let log = File::options().append(true).create(true).open(self.log())?;
        let mut command = match &self.pins {
            None => bare(&programs::built("strongroomd")?),
            Some(pins) => {
                let mut command = bare(&programs::built("strongroomd-for-tests")?);
                command.arg(pins);
                command
            }
        };
        command.arg("serve").arg("--config").arg(self.configuration());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("starting strongroomd")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let line = first_line(stdout, self.output());
        match line.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("serving on ") => {
                self.process = Some(child);
                Ok(line.contains("(locked)"))
            }
            other => {
                let _ = child.kill();
                let status = child.wait()?;
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("strongroomd did not start ({status}, {other:?}):\n{}", last.join("\n"))
            }
        }
    }

    fn port_is_taken(&self) -> bool {
        let port = self.join_file().ok().and_then(|join| join.url.rsplit_once(':')?.1.parse().ok());
        port.is_some_and(|port| !ports::is_free(port))
    }

    /// Another port, in the configuration and in the join file.
    fn move_to(&self, port: u16) -> anyhow::Result<()> {
        let mut join = self.join_file()?;
        join.url = format!("https://127.0.0.1:{port}");
        self.configure("listen", &format!("\"127.0.0.1:{port}\""))?;
        self.configure("url", &format!("\"{}\"", join.url))?;
        Ok(fs::write(self.join_path(), serde_json::to_vec_pretty(&join)?)?)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Hands over the first line of `out`, and copies everything into a file until the process ends.
fn first_line(out: impl std::io::Read + Send + 'static, copy: PathBuf) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut copy = File::options().append(true).create(true).open(copy).ok();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(copy) = &mut copy {
                let _ = std::io::Write::write_all(copy, format!("{line}\n").as_bytes());
            }
            // Only the first is waited for.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Copies a directory's files; directories in it are not followed.
pub fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
