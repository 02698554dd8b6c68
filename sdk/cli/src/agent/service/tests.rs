//! The agent over sockets, with devices that count what they are asked to sign.

use super::*;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    sync::{Condvar, mpsc},
};
use strongroom::{
    collect::agent::{read_frame, write_frame},
    protocol::{
        evidence::{Evidence, NvidiaGpuEvidence},
        sha256,
        statement::X_WING_PUBLIC_KEY,
    },
};

/// A statement and the caller that was bound with it.
type Signed = (Vec<u8>, Option<Vec<u8>>);

/// Devices that keep what they were asked to bind, and may be held up.
#[derive(Default)]
struct Devices {
    signed: Mutex<Vec<Signed>>,
    gate: Mutex<bool>,
    opened: Condvar,
    items: Mutex<Vec<Evidence>>,
}

/// The agent's half of them.
struct Lent(Arc<Devices>);

impl Attester for Lent {
    fn collect(&self, statement: &[u8], caller: Option<&[u8]>, _: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
        self.0.signed.lock().unwrap().push((statement.to_vec(), caller.map(<[u8]>::to_vec)));
        drop(self.0.opened.wait_while(self.0.gate.lock().unwrap(), |shut| *shut).unwrap());
        Ok(self.0.items.lock().unwrap().clone())
    }
}

impl Devices {
    fn shut(&self, shut: bool) {
        *self.gate.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    fn count(&self) -> usize {
        self.signed.lock().unwrap().len()
    }
}

const MANY: Rates = Rates { user: 10_000, all: 10_000 };

fn limits(rates: Rates) -> Limits {
    let patience = Patience { idle: Duration::from_mins(1), frame: Duration::from_secs(20) };
    Limits { rates, user_connections: 16, connections: 32, waiting: 2, patience }
}

struct Served {
    devices: Arc<Devices>,
    dir: tempfile::TempDir,
}

impl Served {
    fn with(limits: Limits) -> Self {
        let (devices, dir) = (Arc::new(Devices::default()), tempfile::tempdir().unwrap());
        let agent = Agent::new(Box::new(Lent(Arc::clone(&devices))), limits).unwrap();
        let listener = Listener::open(&dir.path().join("agent.sock"), 0o600).unwrap();
        agent.serve(listener).unwrap();
        Self { devices, dir }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("agent.sock")).unwrap()
    }
}

fn ask(stream: &mut UnixStream, request: &Value) -> AgentAnswer {
    write_frame(stream, request, limits::AGENT_REQUEST).unwrap();
    read_frame(stream, limits::AGENT_ANSWER).unwrap()
}

fn who(stream: &mut UnixStream) -> (Vec<u8>, Fixed<16>) {
    match ask(stream, &json!({ "ask": "caller" })) {
        AgentAnswer::Caller { caller, token } => (caller.0, token),
        other => panic!("{other:?}"),
    }
}

/// A release statement that names this caller.
fn statement(caller: Option<&[u8]>) -> Value {
    json!({
        "v": 1, "act": "release", "lease": null, "vault": Fixed([1; 32]), "nonce": Fixed([2; 40]),
        "client_random": Fixed([3; 16]),
        "recipient": { "kem": "x-wing", "public_key": Bytes(vec![4; X_WING_PUBLIC_KEY]) },
        "keys": [{ "asset": "minilm", "version": 1, "access": "read", "scope": "version" }],
        "job": null, "caller": caller.map(|bytes| json!({ "sha256": Fixed(sha256(bytes)) })),
    })
}

fn attest(token: Fixed<16>, statement: &Value) -> Value {
    let statement = Bytes(serde_json::to_vec(statement).unwrap());
    json!({ "ask": "attest", "token": token, "statement": statement, "selection": { "bank": "sha256", "pcrs": [0] } })
}

#[track_caller]
fn refused(answer: &AgentAnswer) -> AgentRefusal {
    match answer {
        AgentAnswer::Refused { code, .. } => *code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_statement_of_its_sender_is_bound_with_its_caller_bytes() {
    let served = Served::with(limits(MANY));
    let mut stream = served.connect();
    let (caller, token) = who(&mut stream);
    let facts: Value = serde_json::from_slice(&caller).unwrap();
    assert_eq!(facts["pid"], std::process::id());
    assert_eq!(facts["exe"]["path"], std::env::current_exe().unwrap().to_str().unwrap());
    let statement = statement(Some(&caller));
    assert!(matches!(ask(&mut stream, &attest(token, &statement)), AgentAnswer::Evidence { .. }));
    let signed = served.devices.signed.lock().unwrap().clone();
    assert_eq!(signed, [(serde_json::to_vec(&statement).unwrap(), Some(caller.clone()))]);
    // For the life of the process they stay the same, on every connection.
    assert_eq!(who(&mut served.connect()).0, caller);
}

#[test]
fn each_rule_refuses_what_it_alone_forbids() {
    let served = Served::with(limits(MANY));
    let mut stream = served.connect();
    let early = attest(Fixed([0; 16]), &statement(Some(b"x")));
    assert_eq!(refused(&ask(&mut stream, &early)), AgentRefusal::NotTheCaller, "before it is known who asks");
    let (caller, token) = who(&mut stream);
    let good = statement(Some(&caller));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut statement = good.clone();
        change(&mut statement);
        attest(token, &statement)
    };
    let enrolment = json!({ "v": 1, "act": "enrol", "vault": Fixed([1; 32]), "nonce": Fixed([2; 40]),
        "enrolment": Fixed([3; 16]), "ek_sha256": Fixed([4; 32]), "ak_name": Bytes(vec![0; 34]) });
    let mut selection = attest(token, &good);
    selection["selection"]["pcrs"] = json!([4, 0]);
    let (_, elsewhere) = who(&mut served.connect());
    for (what, request, code) in [
        ("an enrolment", attest(token, &enrolment), AgentRefusal::StatementRefused),
        ("an enrolment as a release", changed(&|s| s["act"] = "enrol".into()), AgentRefusal::StatementRefused),
        ("a field more", changed(&|s| s["more"] = 1.into()), AgentRefusal::StatementRefused),
        ("text", attest(token, &"sign this".into()), AgentRefusal::StatementRefused),
        ("no caller", attest(token, &statement(None)), AgentRefusal::CallerMismatch),
        ("another caller", attest(token, &statement(Some(b"{}"))), AgentRefusal::CallerMismatch),
        ("PCRs that are no selection", selection, AgentRefusal::StatementRefused),
        ("another connection's token", attest(elsewhere, &good), AgentRefusal::NotTheCaller),
    ] {
        assert_eq!(refused(&ask(&mut stream, &request)), code, "{what}");
    }
    assert_eq!(served.devices.count(), 0, "something was signed");
    assert!(matches!(ask(&mut stream, &attest(token, &good)), AgentAnswer::Evidence { .. }));
    for (act, statement) in [
        ("renew", changed(&|s| (s["act"], s["lease"]) = ("renew".into(), json!(Fixed([5; 16]))))),
        ("identify", changed(&|s| (s["act"], s["keys"]) = ("identify".into(), json!([])))),
    ] {
        assert!(matches!(ask(&mut stream, &statement), AgentAnswer::Evidence { .. }), "{act}");
    }
}

#[test]
fn many_items_are_passed_on_and_too_much_is_refused_by_name() {
    let served = Served::with(limits(MANY));
    let mut stream = served.connect();
    let (caller, token) = who(&mut stream);
    let request = attest(token, &statement(Some(&caller)));
    let item = |length| {
        Evidence::NvidiaGpu(NvidiaGpuEvidence { report: Bytes(vec![7; length]), certificates: vec![Bytes(vec![8; 9])] })
    };
    for (length, fits) in [(limits::GPU_REPORT, true), (2 * limits::GPU_REPORT, false)] {
        let items = vec![item(length); limits::EVIDENCE_ITEMS];
        served.devices.items.lock().unwrap().clone_from(&items);
        match ask(&mut stream, &request) {
            AgentAnswer::Evidence { evidence } => assert!(fits && evidence == items, "{length}"),
            AgentAnswer::Refused { code: AgentRefusal::Device, message, .. } => {
                assert!(!fits && message.contains("shorter logs"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    // The connection goes on.
    who(&mut stream);
}

#[test]
fn another_process_on_the_same_connection_is_not_the_caller() {
    let served = Served::with(limits(MANY));
    let mut stream = served.connect();
    let (caller, token) = who(&mut stream);
    let mut frame = Vec::new();
    write_frame(&mut frame, &attest(token, &statement(Some(&caller))), limits::AGENT_REQUEST).unwrap();
    let file = served.dir.path().join("frame");
    std::fs::write(&file, &frame).unwrap();
    let stdout = Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone().unwrap()));
    // What a child sends over what it inherited, token and statement and all, is the child's.
    assert!(Command::new("cat").arg(&file).stdout(stdout).status().unwrap().success());
    let answer = read_frame(&mut stream, limits::AGENT_ANSWER).unwrap();
    assert_eq!(refused(&answer), AgentRefusal::NotTheCaller);
    assert_eq!(served.devices.count(), 0);
    stream.write_all(&frame).unwrap();
    let answer: AgentAnswer = read_frame(&mut stream, limits::AGENT_ANSWER).unwrap();
    assert!(matches!(answer, AgentAnswer::Evidence { .. }), "the same bytes from the caller itself: {answer:?}");
}

#[test]
fn a_frame_of_two_senders_is_nobodys() {
    let served = Served::with(limits(MANY));
    let mut stream = served.connect();
    let file = served.dir.path().join("half");
    std::fs::write(&file, b"aller\"}").unwrap();
    stream.write_all(b"\x10\0\0\0{\"ask\":\"c").unwrap();
    let stdout = Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone().unwrap()));
    assert!(Command::new("cat").arg(&file).stdout(stdout).status().unwrap().success());
    assert_eq!(refused(&read_frame(&mut stream, limits::AGENT_ANSWER).unwrap()), AgentRefusal::Unidentified);
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let served = Served::with(Limits {
        patience: Patience { idle: Duration::from_mins(1), frame: Duration::from_millis(100) },
        ..limits(MANY)
    });
    for (bytes, code) in [
        (b"\x02\0\0\0{}".to_vec(), AgentRefusal::Malformed),
        (b"\x00\0\0\0".to_vec(), AgentRefusal::Malformed),
        (b"\x05\0\0\0[[[[[".to_vec(), AgentRefusal::Malformed),
        (b"\x02\0\0\0\xff\xfe".to_vec(), AgentRefusal::Malformed),
        (b"\xff\xff\xff\xff".to_vec(), AgentRefusal::TooLarge),
        (b"\x09\0\0\0half".to_vec(), AgentRefusal::TooSlow),
    ] {
        let mut stream = served.connect();
        stream.write_all(&bytes).unwrap();
        let answer = read_frame(&mut stream, limits::AGENT_ANSWER).unwrap();
        assert_eq!(refused(&answer), code, "{bytes:?}");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection goes on");
    }
    // And nobody else is harmed by it.
    who(&mut served.connect());
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let served = Served::with(limits(Rates { user: 3, all: 100 }));
    let mut stream = served.connect();
    for _ in 0..3 {
        who(&mut stream);
    }
    let answer = ask(&mut stream, &json!({ "ask": "caller" }));
    let AgentAnswer::Refused { code: AgentRefusal::TooMany, retry_after_ms: Some(after), .. } = answer else {
        panic!("{answer:?}")
    };
    assert!((1..=20_000).contains(&after), "{after}");
}

#[test]
fn only_so_many_wait_for_the_devices() {
    let served = Served::with(limits(MANY));
    served.devices.shut(true);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut stream, tell) = (served.connect(), tell.clone());
            scope.spawn(move || {
                let (caller, token) = who(&mut stream);
                let answer = ask(&mut stream, &attest(token, &statement(Some(&caller))));
                tell.send(matches!(answer, AgentAnswer::Evidence { .. })).unwrap();
            });
        }
        // Two hold the devices' queue; the third is turned away while they do.
        assert!(!told.recv().unwrap());
        served.devices.shut(false);
        assert!(told.recv().unwrap() && told.recv().unwrap());
    });
}

#[test]
fn connections_have_a_bound() {
    let served = Served::with(Limits { user_connections: 2, ..limits(MANY) });
    served.devices.shut(true);
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = served.connect();
            let (caller, token) = who(&mut stream);
            write_frame(&mut stream, &attest(token, &statement(Some(&caller))), limits::AGENT_REQUEST).unwrap();
            stream
        })
        .collect();
    while served.devices.count() < 2 {
        thread::yield_now();
    }
    let mut third = served.connect();
    assert_eq!(refused(&read_frame(&mut third, limits::AGENT_ANSWER).unwrap()), AgentRefusal::Busy);
    served.devices.shut(false);
    for mut stream in busy {
        let answer: AgentAnswer = read_frame(&mut stream, limits::AGENT_ANSWER).unwrap();
        assert!(matches!(answer, AgentAnswer::Evidence { .. }));
    }
    // Both are idle now, so that one of them makes room.
    who(&mut served.connect());
}

#[test]
fn a_listener_that_was_handed_over_must_listen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.sock");
    let other = UnixListener::bind(&path).unwrap();
    let error = Listener::open(&path, 0o600).err().unwrap();
    assert!(error.message.contains("listens here already"), "{}", error.message);
    drop(other);
}

#[test]
fn a_job_behind_an_agent_is_not_told_of_settings_that_it_does_not_have() {
    let device = "swtpm:host=localhost,port=2321".parse().unwrap();
    let late = CollectError::TpmTimeout { device, doing: "quoting", timeout: Duration::from_mins(1) };
    assert!(late.to_string().contains("node.json"));
    let said = for_the_job(&late);
    assert!(said.contains("quoting: no answer within 60 s") && said.contains("who runs this node"), "{said}");
    assert!(!said.contains("node.json"), "{said}");
}
