//! Jobs that get keys through the agent, and what policy makes of who they are.

use super::{Desk, Rig, digest, shell};
use crate::world::World;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    os::{fd::OwnedFd, unix::net::UnixListener},
    process::{Command, Stdio},
};
use strongroom::{
    Error, Request,
    collect::{AgentAttester, Attester as _, CollectError},
};
use strongroom_protocol::{DecisionId, admin::Role, audit::DecisionView, caller::Caller};
use strongroom_tests::{
    Cli,
    programs::{self, AS_NOBODY, NOBODY},
};

/// Seals the desk's file and opens it again; the decision that opened it.
fn seal_and_open(cli: &Cli, desk: &Desk, asset: &str) -> DecisionId {
    let sealed: Value = cli.ask(["seal", &desk.path("model"), "--asset", asset, "--replace"]).unwrap();
    let opened: Value = cli.ask(["open", sealed["file"].as_str().unwrap(), "--asset", asset, "--digest"]).unwrap();
    assert_eq!(opened["sha256"], digest(desk.dir.path().join("model").as_path()));
    serde_json::from_value(opened["decision"].clone()).unwrap()
}

fn decision(world: &World, id: DecisionId) -> DecisionView {
    world.vault.admin(Role::Auditor).unwrap().get(&format!("/v1/decisions/{id}")).unwrap()
}

/// The reason codes of a refused `seal`.
fn refused(cli: &Cli, desk: &Desk, asset: &str) -> Vec<String> {
    cli.refused(["seal", &desk.path("model"), "--asset", asset, "--replace"]).unwrap().reasons
}

#[test]
fn a_job_gets_keys_and_the_ledger_knows_which_job_it_was() {
    let rig = Rig::new();
    rig.asset("known");
    let desk = Desk::of(&rig);
    let (cli, uid) = if programs::is_root() { (desk.cli(&AS_NOBODY), NOBODY) } else { (desk.cli(&["env"]), getuid()) };
    let id = seal_and_open(&cli, &desk, "known");

    let view = decision(&rig.world, id);
    let caller: Caller = serde_json::from_value(view.input["caller"].clone()).unwrap();
    println!("the ledger's caller: {}", serde_json::to_string(&caller).unwrap());
    assert_eq!(caller.uid, uid);
    assert_eq!(caller.exe.path, desk.path("strongroom"));
    assert_eq!(caller.exe.sha256.as_deref(), Some(digest(desk.dir.path().join("strongroom").as_path()).as_str()));
    // The record has the hash of the very bytes that were bound.
    let bytes = strongroom_protocol::Fixed(strongroom_protocol::sha256(&caller.to_bytes().unwrap()));
    assert_eq!(view.record["details"]["caller_sha256"], json!(bytes), "{}", view.record);
    let explained =
        rig.world.vault.cli(Role::Auditor).unwrap().run(["explain", &id.to_string()]).unwrap().done().unwrap();
    let line = explained.stdout.lines().find(|line| line.trim_start().starts_with("caller")).unwrap().to_owned();
    assert!(line.contains(&format!("user {uid}")) && line.contains(&desk.path("strongroom")), "{line}");
    // The agent's own log names it, too.
    let log = rig.agent.log();
    assert!(log.contains("attested") && log.contains(&desk.path("strongroom")), "{log}");
}

#[test]
fn only_listed_programs_open_a_listed_asset() {
    let rig = Rig::new();
    let desk = Desk::of(&rig);
    let program = desk.dir.path().join("strongroom");
    for asset in ["by-program", "by-user", "open-to-all"] {
        rig.asset(asset);
    }
    rig.limit_callers(&json!({ "by-program": { "exe_sha256": [digest(&program)] }, "by-user": { "uids": [NOBODY] } }));
    let cli = desk.cli(&["env"]);
    seal_and_open(&cli, &desk, "by-program");

    // Another program, though it does the same: what is appended to an ELF file changes nothing but its digest.
    let changed = desk.dir.path().join("changed");
    fs::copy(&program, &changed).unwrap();
    fs::File::options().append(true).open(&changed).unwrap().write_all(b"changed").unwrap();
    let other = Cli::new(desk.dir.path().join("home")).unwrap().started_by(changed.clone(), &["env"]);
    assert_eq!(refused(&other, &desk, "by-program"), ["caller_not_allowed"]);
    seal_and_open(&other, &desk, "open-to-all");
    // The listed one after it was changed in its place, a moment after it was found good.
    fs::File::options().append(true).open(&program).unwrap().write_all(b"changed").unwrap();
    assert_eq!(refused(&cli, &desk, "by-program"), ["caller_not_allowed"]);

    if !programs::is_root() {
        return programs::skip("another user", "only root can be somebody else");
    }
    assert_eq!(refused(&cli, &desk, "by-user"), ["caller_not_allowed"], "root is not nobody");
    seal_and_open(&desk.cli(&AS_NOBODY), &desk, "by-user");
}

#[test]
fn in_process_evidence_of_a_node_with_an_agent_is_of_nobody() {
    let rig = Rig::new();
    rig.asset("in-process");
    let room = rig.member().room(&rig.world.vault).unwrap();
    let devices = super::liars::Devices::of(rig.member());
    let error = room.release(&devices, Request::new().writer("in-process", 1)).err().unwrap();
    assert_eq!(error.problem().unwrap().reasons, ["caller_not_identified"], "{error}");
    room.release(&rig.agent.attester(), Request::new().writer("in-process", 1)).unwrap().end().unwrap();
}

#[test]
fn a_run_job_is_confined_and_its_exit_code_is_its_own() {
    let rig = Rig::new();
    let desk = Desk::of(&rig);
    let cli = desk.cli(&["env"]);
    let script = "ulimit -c; ulimit -Hc; grep NoNewPrivs /proc/self/status; umask; echo $STRONGROOM_AGENT; exit 7";
    let ran = cli.run(["run", "--", "sh", "-c", script]).unwrap();
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[..4], ["0", "0", "NoNewPrivs:\t1", "0077"], "{}", ran.stdout);
    assert!(lines[4].starts_with("fd:"), "{}", ran.stdout);

    let ran = cli.run(["run", "--", "sh", "-c", "kill -TERM $$"]).unwrap();
    assert_eq!(ran.code, None, "the job's signal is not this process's");
    let ran = cli.run(["run", "--", "/no/such/program"]).unwrap();
    assert!(ran.code == Some(2) && ran.stderr.contains("/no/such/program"), "{:?}: {}", ran.code, ran.stderr);
}

#[test]
fn a_run_job_has_the_agent_though_its_socket_is_closed_to_it() {
    if !programs::is_root() {
        return programs::skip("the inherited socket", "only root can close a socket to a job");
    }
    let rig = Rig::with("0600", &[]);
    rig.asset("inherited");
    let desk = Desk::of(&rig);
    let seal = ["seal", &desk.path("model"), "--asset", "inherited"];
    let ran = desk.cli(&AS_NOBODY).run(seal).unwrap();
    println!("without the right to connect: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(4));
    assert!(ran.stderr.contains("permission denied") && ran.stderr.contains("group"), "{}", ran.stderr);

    // Root connects, and the job that it starts as nobody has that connection.
    let (program, home) = (desk.path("strongroom"), desk.path("home"));
    let mut arguments = vec!["run", "--"];
    arguments.extend(AS_NOBODY);
    arguments.extend([program.as_str(), "--home", &home, "--json"]);
    arguments.extend(seal);
    let ran = desk.cli(&["env"]).run(arguments).unwrap().done().unwrap();
    let sealed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let id: DecisionId = serde_json::from_value(sealed["decision"].clone()).unwrap();
    let caller: Caller = serde_json::from_value(decision(&rig.world, id).input["caller"].clone()).unwrap();
    assert_eq!((caller.uid, caller.exe.path), (NOBODY, program));
}

#[test]
fn a_node_enrols_by_its_agents_key() {
    let rig = Rig::new();
    // Another home on the same node, as root's at the enrolment: the AK is the agent's.
    let desk = Desk::of(&rig);
    let cli = desk.cli(&["env"]);
    for file in ["node.json", "enrolment"] {
        fs::remove_file(desk.dir.path().join("home").join(file)).unwrap();
    }
    let (tcti, log) = (rig.member().node.tpm.tcti(), rig.member().node.boot_log());
    let (state, socket) = (rig.member().cli.home().join("node"), rig.agent.socket());
    let enrolled: Value = cli
        .ask([
            "node",
            "enroll",
            "--tcti",
            &tcti,
            "--boot-log",
            log.to_str().unwrap(),
            "--state-dir",
            state.to_str().unwrap(),
            "--agent",
            socket.to_str().unwrap(),
        ])
        .unwrap();
    assert_eq!(enrolled["node"], json!(rig.member().id));
    let config: Value = serde_json::from_slice(&fs::read(desk.dir.path().join("home/node.json")).unwrap()).unwrap();
    assert_eq!(config, json!({ "agent": socket }));
}

#[test]
fn an_agent_without_its_key_does_not_serve() {
    let rig = Rig::new();
    let empty = tempfile::tempdir().unwrap();
    let (socket, state) = (empty.path().join("agent.sock"), empty.path().join("state"));
    let tcti = rig.member().node.tpm.tcti();
    let arguments =
        ["agent", "--tcti", &tcti, "--state-dir", state.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
    let ran = rig.member().cli.run(arguments.into_iter().chain(["--accept-namespaces"])).unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(!socket.exists());
    // And two agents do not share a socket.
    let shared = rig.agent.socket();
    let state = rig.member().cli.home().join("node");
    let arguments =
        ["agent", "--tcti", &tcti, "--state-dir", state.to_str().unwrap(), "--socket", shared.to_str().unwrap()];
    let ran = rig.member().cli.run(arguments.into_iter().chain(["--accept-namespaces"])).unwrap();
    assert!(ran.code == Some(2) && ran.stderr.contains("listens here already"), "{:?}: {}", ran.code, ran.stderr);
    assert!(rig.agent.attester().check().is_ok(), "the first agent's socket is gone");
}

#[test]
fn an_agent_keeps_few_capabilities_and_ends_in_order() {
    let mut rig = Rig::new();
    let pid = rig.agent.process.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    let effective = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    // CAP_DAC_OVERRIDE (1), CAP_DAC_READ_SEARCH (2), CAP_SYS_PTRACE (19).
    assert_eq!(effective & !(1 << 1 | 1 << 2 | 1 << 19), 0, "{effective:x}");
    assert_eq!((field("NoNewPrivs:"), field("Umask:")), ("1".to_owned(), "0077".to_owned()));
    assert!(shell(&format!("kill -TERM {pid}")).status().unwrap().success());
    let ended = rig.agent.process.wait().unwrap();
    assert_eq!(ended.code(), Some(0), "{}", rig.agent.log());
    assert!(!rig.agent.socket().exists(), "the socket is left over");
}

#[test]
fn an_agent_that_was_killed_is_missed_by_name_and_found_again() {
    let mut rig = Rig::new();
    rig.asset("killed");
    let room = rig.member().room(&rig.world.vault).unwrap();
    let attester = rig.agent.attester();
    let lease = room.release(&attester, Request::new().writer("killed", 1)).unwrap();
    let before = attester.caller().unwrap();
    rig.agent.kill();
    let error = lease.reattest(&room, &attester).unwrap_err();
    println!("an agent that was killed: {error}");
    assert!(matches!(&error, Error::Collect(CollectError::AgentMissing { .. })), "{error}");
    lease.check().unwrap();
    rig.agent.restart();
    assert_eq!(attester.caller().unwrap(), before, "the same process is another caller to a new agent");
    lease.reattest(&room, &attester).unwrap();
    lease.end().unwrap();
}

fn getuid() -> u32 {
    rustix::process::getuid().as_raw()
}

#[test]
fn a_service_managers_socket_is_served_and_stays() {
    let rig = Rig::new();
    rig.asset("activated");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("activated.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // As `sd_listen_fds(3)` has it: descriptor 3, and the process id that it is meant for.
    let arguments = rig.agent.arguments.join("' '").replace("agent.sock", "elsewhere.sock");
    let program = programs::built("strongroom").unwrap();
    let script = format!(
        "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ TSS2_LOG=all+NONE; exec '{}' '{arguments}'",
        program.display()
    );
    let start = || {
        let stdin = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
        Command::new("sh")
            .args(["-c", &script])
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let room = rig.member().room(&rig.world.vault).unwrap();
    // The connection waits in the socket's queue until the agent serves it.
    for _ in 0..2 {
        let mut agent = start();
        let attester = AgentAttester::at(socket.clone());
        room.release(&attester, Request::new().writer("activated", 1)).unwrap().end().unwrap();
        assert!(shell(&format!("kill -TERM {}", agent.id())).status().unwrap().success());
        assert_eq!(agent.wait().unwrap().code(), Some(0));
        assert!(socket.exists(), "the service manager's socket was removed");
    }
}
