//! Processes that say they are others, and whatever else is no honest question.

use super::Rig;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
};
use strongroom::{
    Request,
    collect::{
        Attester, CollectError, Collector, Wanted,
        agent::{AgentAnswer, AgentRefusal, AgentRequest, read_frame, write_frame},
    },
};
use strongroom_protocol::{
    Bytes, Fixed,
    admin::Role,
    evidence::{Evidence, PcrSelection},
    limits, sha256,
};
use strongroom_tests::Member;

/// The devices of a node, opened behind its agent's back, by somebody who says that he is another.
pub(super) struct Devices {
    collector: Collector,
    caller: Option<Vec<u8>>,
}

impl Devices {
    pub(super) fn of(member: &Member) -> Self {
        let config = member.node.config().unwrap();
        let config = strongroom::collect::CollectorConfig { state_dir: member.cli.home().join("node"), ..config };
        Self { collector: Collector::open(&config).unwrap(), caller: None }
    }
}

impl Attester for Devices {
    fn caller(&self) -> Result<Option<Vec<u8>>, CollectError> {
        Ok(self.caller.clone())
    }

    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        self.collector.collect(statement, caller, wanted)
    }
}

/// An agent whose answers are passed on, but for one thing.
struct Passing<'a> {
    agent: &'a dyn Attester,
    caller: Vec<u8>,
}

impl Attester for Passing<'_> {
    fn caller(&self) -> Result<Option<Vec<u8>>, CollectError> {
        Ok(Some(self.caller.clone()))
    }

    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        self.agent.collect(statement, caller, wanted)
    }
}

/// These caller bytes with another field.
fn altered(bytes: &[u8], field: &str, value: Value) -> Vec<u8> {
    let mut caller: Value = serde_json::from_slice(bytes).unwrap();
    assert_ne!(caller[field], value);
    caller[field] = value;
    serde_json::to_vec(&caller).unwrap()
}

fn ask(stream: &mut UnixStream, request: &impl serde::Serialize) -> AgentAnswer {
    write_frame(stream, request, limits::AGENT_REQUEST).unwrap();
    read_frame(stream, limits::AGENT_ANSWER).unwrap()
}

fn who(stream: &mut UnixStream) -> (Vec<u8>, Fixed<16>) {
    match ask(stream, &AgentRequest::Caller {}) {
        AgentAnswer::Caller { caller, token } => (caller.0, token),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(answer: &AgentAnswer) -> AgentRefusal {
    match answer {
        AgentAnswer::Refused { code, message, .. } => {
            println!("the agent: [{}] {message}", code.as_str());
            *code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_that_sends_anothers_caller_bytes_gets_no_evidence() {
    let rig = Rig::new();
    rig.asset("taken-over");
    let room = rig.member().room(&rig.world.vault).unwrap();
    let agent = rig.agent.attester();
    let own = agent.caller().unwrap().unwrap();
    for (field, value) in
        [("uid", json!(4242)), ("pid", json!(1)), ("exe", json!({ "path": "/bin/good", "sha256": "aa" }))]
    {
        let liar = Passing { agent: &agent, caller: altered(&own, field, value) };
        let error = room.release(&liar, Request::new().writer("taken-over", 1)).err().unwrap();
        let mismatch = matches!(
            &error,
            strongroom::Error::Collect(CollectError::AgentRefused { code: AgentRefusal::CallerMismatch, .. })
        );
        assert!(mismatch, "{field}: {error}");
    }
    let honest = Passing { agent: &agent, caller: own };
    room.release(&honest, Request::new().writer("taken-over", 1)).unwrap().end().unwrap();
}

#[test]
fn a_renewal_is_of_the_process_that_the_lease_was_given_to() {
    let rig = Rig::new();
    rig.asset("renewed");
    let room = rig.member().room(&rig.world.vault).unwrap();
    let agent = rig.agent.attester();
    let own = agent.caller().unwrap().unwrap();
    let release = || room.release(&agent, Request::new().writer("renewed", 1)).unwrap();

    let lease = release();
    lease.reattest(&room, &agent).unwrap();
    // Whoever could open the TPM could have another process's bytes bound: the vault still tells them apart.
    let other = Devices { caller: Some(altered(&own, "pid", json!(1))), ..Devices::of(rig.member()) };
    let error = lease.reattest(&room, &other).unwrap_err();
    assert_eq!(error.problem().unwrap().reasons, ["lease_mismatch"], "{error}");
    // And a renewal of nobody, in process.
    let lease = release();
    let error = lease.reattest(&room, &Devices::of(rig.member())).unwrap_err();
    assert_eq!(error.problem().unwrap().reasons, ["caller_not_identified", "lease_mismatch"], "{error}");
    // The very same bytes are the same caller.
    let lease = release();
    lease.reattest(&room, &Devices { caller: Some(own), ..Devices::of(rig.member()) }).unwrap();
    lease.end().unwrap();
}

#[test]
fn what_a_child_sends_over_its_parents_connection_is_the_childs() {
    let rig = Rig::new();
    let mut stream = UnixStream::connect(rig.agent.socket()).unwrap();
    let (_, token) = who(&mut stream);
    let request = AgentRequest::Attest {
        token,
        statement: Bytes(b"{}".to_vec()),
        selection: PcrSelection::default_sha256(),
        ima_offset: 0,
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, &request, limits::AGENT_REQUEST).unwrap();
    let file = rig.agent.dir.path().join("frame");
    std::fs::write(&file, &frame).unwrap();
    let socket = OwnedFd::from(stream.try_clone().unwrap());
    let mut cat = super::shell(&format!("exec cat {}", file.display()));
    assert!(cat.stdout(Stdio::from(socket)).status().unwrap().success());
    assert_eq!(refused(&read_frame(&mut stream, limits::AGENT_ANSWER).unwrap()), AgentRefusal::NotTheCaller);
    // From the parent the same bytes are at least looked at.
    stream.write_all(&frame).unwrap();
    assert_eq!(refused(&read_frame(&mut stream, limits::AGENT_ANSWER).unwrap()), AgentRefusal::StatementRefused);
}

#[test]
fn an_agent_signs_no_enrolment_and_nothing_that_is_not_a_statement() {
    let rig = Rig::new();
    let mut stream = UnixStream::connect(rig.agent.socket()).unwrap();
    let (caller, token) = who(&mut stream);
    let caller_sha256 = Fixed(sha256(&caller));
    let enrolment = json!({
        "v": 1, "act": "enrol", "vault": rig.world.vault.admin(Role::Operator).unwrap().info().vault_id,
        "nonce": Fixed([2; 40]), "enrolment": Fixed([3; 16]), "ek_sha256": Fixed([4; 32]), "ak_name": Bytes(vec![0; 34]),
    });
    for statement in [enrolment, json!({ "v": 1, "caller": { "sha256": caller_sha256 } }), json!("sign this")] {
        let request = AgentRequest::Attest {
            token,
            statement: Bytes(serde_json::to_vec(&statement).unwrap()),
            selection: PcrSelection::default_sha256(),
            ima_offset: 0,
        };
        assert_eq!(refused(&ask(&mut stream, &request)), AgentRefusal::StatementRefused);
    }
    // A tag cannot be named at all.
    let tagged = json!({ "ask": "attest", "tag": "strongroom/v1/enrol", "token": token, "statement": "AA",
        "selection": { "bank": "sha256", "pcrs": [0] } });
    assert_eq!(refused(&ask(&mut stream, &tagged)), AgentRefusal::Malformed);
}

#[test]
fn frames_that_are_none_and_users_that_ask_too_often_are_turned_away() {
    let rig = Rig::with("0666", &["--requests-per-minute", "3"]);
    let answer = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(rig.agent.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        refused(&read_frame(&mut stream, limits::AGENT_ANSWER).unwrap())
    };
    assert_eq!(answer(b"\xff\xff\xff\xff"), AgentRefusal::TooLarge);
    assert_eq!(answer(b"\x02\0\0\0{}"), AgentRefusal::Malformed);
    let mut stream = UnixStream::connect(rig.agent.socket()).unwrap();
    who(&mut stream);
    who(&mut stream);
    let answer = ask(&mut stream, &AgentRequest::Caller {});
    let AgentAnswer::Refused { retry_after_ms: Some(after), .. } = &answer else { panic!("{answer:?}") };
    assert!((1..=20_000).contains(after), "{after}");
    assert_eq!(refused(&answer), AgentRefusal::TooMany);
}
