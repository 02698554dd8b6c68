//! The node's agent, as nodes run it: the program itself, a software TPM, a vault, jobs that ask.

mod devices;
mod impostors;
mod jobs;
mod liars;
mod nobody;
mod units;

use crate::world::{REFERENCES, World, act, content};
use serde_json::{Value, json};
use std::{
    fs::{self, File, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use strongroom::collect::AgentAttester;
use strongroom_protocol::admin::{CreateAsset, Integrity, Role};
use strongroom_tests::{
    Cli, Member,
    programs::{self, NOBODY, bare, built},
    vault::copy_files,
};
use tempfile::TempDir;

/// An agent that runs. It ends when this is dropped.
struct Agent {
    process: Child,
    dir: TempDir,
    arguments: Vec<String>,
}

impl Agent {
    /// The agent of this node, with its AK, and a socket of this mode.
    fn of(member: &Member, mode: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut arguments: Vec<String> = ["--json", "-v", "agent", "--socket-mode", mode].map(str::to_owned).into();
        arguments.extend(["--tcti".to_owned(), member.node.tpm.tcti()]);
        arguments.extend(["--state-dir".to_owned(), path(member.cli.home().join("node"))]);
        arguments.extend(["--boot-log".to_owned(), path(member.node.boot_log())]);
        arguments.extend(["--ima-log".to_owned(), path(member.node.ima_log())]);
        arguments.extend(["--socket".to_owned(), path(dir.path().join("agent.sock"))]);
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        if fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() != "pid:[4026531836]" {
            arguments.push("--accept-namespaces".to_owned());
        }
        let process = start(&arguments, dir.path());
        Self { process, dir, arguments }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    fn attester(&self) -> AgentAttester {
        AgentAttester::at(self.socket())
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = start(&self.arguments, self.dir.path());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the agent and waits until it tells its service manager, which is this test, that it serves.
fn start(arguments: &[String], dir: &Path) -> Child {
    let notify = dir.join("notify");
    let _ = fs::remove_file(&notify);
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let log = File::options().append(true).create(true).open(dir.join("log")).unwrap();
    let mut command = bare(&built("strongroom").unwrap());
    command.args(arguments).env("NOTIFY_SOCKET", &notify).stdout(log.try_clone().unwrap()).stderr(log);
    let process = command.spawn().unwrap();
    let mut word = [0; 64];
    let told = manager.recv(&mut word);
    let log = fs::read_to_string(dir.join("log")).unwrap();
    let length = told.unwrap_or_else(|e| panic!("the agent did not get ready: {e}: {log}"));
    assert_eq!(&word[..length], b"READY=1");
    process
}

/// A vault, and a node that was approved as one whose agent alone opens its TPM.
struct Rig {
    world: World,
    agent: Agent,
}

impl Rig {
    fn new() -> Self {
        Self::with("0666", &[])
    }

    fn with(mode: &str, options: &[&str]) -> Self {
        let world = World::with::<1>(&[]);
        let member = world.node();
        let id = member.id.to_string();
        let operator = world.vault.cli(Role::Operator).unwrap();
        operator.run(["node", "approve", &id, "--site", "fra-1"]).unwrap().done().unwrap();
        let agent = Agent::of(member, mode, options);
        fs::write(member.cli.home().join("node.json"), json!({ "agent": agent.socket() }).to_string()).unwrap();
        Self { world, agent }
    }

    fn member(&self) -> &Member {
        self.world.node()
    }

    fn asset(&self, name: &str) {
        let asset = CreateAsset {
            name: name.into(),
            labels: [].into(),
            jurisdictions: vec!["DE".into()],
            reference_sets: vec![REFERENCES.into()],
            integrity: Integrity::Plain,
            max_leases: None,
        };
        act(&self.world.vault.admin(Role::Custodian).unwrap(), "/v1/assets", &asset);
    }

    /// Enforces the baseline with this table of callers, as an author and an approver do it.
    fn limit_callers(&self, callers: &Value) {
        let dir = tempfile::tempdir().unwrap();
        let baseline = programs::project().join("policies/baseline");
        copy_files(&baseline, dir.path()).unwrap();
        let mut data: Value = serde_json::from_slice(&fs::read(baseline.join("data.json")).unwrap()).unwrap();
        data["callers"] = callers.clone();
        fs::write(dir.path().join("data.json"), data.to_string()).unwrap();
        let author = self.world.vault.cli(Role::PolicyAuthor).unwrap();
        let proposed: Value = author.ask(["policy", "propose", dir.path().to_str().unwrap()]).unwrap();
        let digest = proposed["digest"].as_str().unwrap();
        let approver = self.world.vault.cli(Role::PolicyApprover).unwrap();
        approver.run(["policy", "enforce", digest]).unwrap().done().unwrap();
    }
}

/// A directory of a job's user: a file to seal, a home that knows vault and agent, a program of its own.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn of(rig: &Rig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let home = dir.path().join("home");
        copy_files(rig.member().cli.home(), &home).unwrap();
        fs::write(dir.path().join("model"), content(3, 100_000)).unwrap();
        fs::set_permissions(dir.path().join("model"), Permissions::from_mode(0o644)).unwrap();
        fs::copy(built("strongroom").unwrap(), dir.path().join("strongroom")).unwrap();
        if programs::is_root() {
            for path in fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).chain([home]) {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// This desk's program, started so.
    fn cli(&self, starter: &[&str]) -> Cli {
        Cli::new(self.dir.path().join("home")).unwrap().started_by(self.dir.path().join("strongroom"), starter)
    }
}

/// SHA-256 of a file, lower-case hex.
fn digest(path: &Path) -> String {
    hex::encode(strongroom_protocol::sha256(&fs::read(path).unwrap()))
}

/// A shell command that inherits nothing.
fn shell(script: &str) -> Command {
    let mut command = bare(Path::new("sh"));
    command.args(["-c", script]).stdin(Stdio::null());
    command
}
