//! The client's half, against agents that answer as a test tells them.

use super::*;
use std::{os::unix::net::UnixListener, thread::JoinHandle};
use strongroom_protocol::evidence::PcrSelection;

/// What a scripted agent does with one request.
enum Then {
    Answer(AgentAnswer),
    Raw(Vec<u8>),
    Unasked(AgentAnswer),
    Close,
}

struct Scripted {
    path: PathBuf,
    thread: JoinHandle<Vec<AgentRequest>>,
    _dir: tempfile::TempDir,
}

/// An agent that does these things with these connections, in order, and tells what it was asked.
fn scripted(connections: Vec<Vec<Then>>) -> Scripted {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = thread::spawn(move || {
        let mut asked = Vec::new();
        for connection in connections {
            let (mut stream, _) = listener.accept().unwrap();
            for then in connection {
                let then = match then {
                    Then::Close => break,
                    Then::Unasked(answer) => {
                        write_frame(&mut stream, &answer, limits::AGENT_ANSWER).unwrap();
                        break;
                    }
                    then => then,
                };
                asked.push(read_frame(&mut stream, limits::AGENT_REQUEST).unwrap());
                match then {
                    Then::Answer(answer) => write_frame(&mut stream, &answer, limits::AGENT_ANSWER).unwrap(),
                    Then::Raw(bytes) => stream.write_all(&bytes).unwrap(),
                    Then::Close | Then::Unasked(_) => unreachable!(),
                }
            }
        }
        asked
    });
    Scripted { path, thread, _dir: dir }
}

fn caller(token: u8) -> Then {
    Then::Answer(AgentAnswer::Caller { caller: Bytes(b"caller".to_vec()), token: Fixed([token; 16]) })
}

fn evidence() -> Then {
    Then::Answer(AgentAnswer::Evidence { evidence: Vec::new() })
}

fn refused(code: AgentRefusal) -> Then {
    Then::Answer(AgentAnswer::Refused { code, message: "no".to_owned(), retry_after_ms: Some(1) })
}

fn collect(attester: &AgentAttester) -> Result<usize, CollectError> {
    attester
        .collect(b"statement", Some(b"caller"), Wanted::whole(&PcrSelection::default_sha256()))
        .map(|items| items.len())
}

fn token_of(request: &AgentRequest) -> Option<u8> {
    match request {
        AgentRequest::Caller {} => None,
        AgentRequest::Attest { token, .. } => Some(token.0[0]),
    }
}

#[test]
fn evidence_is_asked_for_with_the_token_of_this_connection() {
    let agent = scripted(vec![vec![caller(1), evidence()], vec![caller(2), evidence()]]);
    let attester = AgentAttester::at(agent.path);
    assert_eq!(attester.caller().unwrap().unwrap(), b"caller");
    assert_eq!(collect(&attester).unwrap(), 0);
    // Between two pieces of evidence nothing stays connected.
    assert_eq!(collect(&attester).unwrap(), 0);
    let asked: Vec<_> = agent.thread.join().unwrap().iter().map(token_of).collect();
    assert_eq!(asked, [None, Some(1), None, Some(2)]);
}

#[test]
fn the_agent_is_told_how_much_of_the_log_the_vault_has() {
    let agent = scripted(vec![vec![caller(1), evidence()], vec![caller(2), evidence()]]);
    let attester = AgentAttester::at(agent.path);
    let selection = PcrSelection::default_sha256();
    for ima_offset in [0, 70_000] {
        let wanted = Wanted { selection: &selection, ima_offset };
        attester.collect(b"statement", Some(b"caller"), wanted).unwrap();
    }
    let asked = agent.thread.join().unwrap();
    let offsets: Vec<u64> = asked
        .iter()
        .filter_map(|request| match request {
            AgentRequest::Attest { ima_offset, .. } => Some(*ima_offset),
            AgentRequest::Caller {} => None,
        })
        .collect();
    assert_eq!(offsets, [0, 70_000]);
    // An agent of an earlier version knows no such field: it is only sent where it says something.
    let whole = serde_json::to_string(&asked[1]).unwrap();
    assert!(!whole.contains("ima_offset") && serde_json::to_string(&asked[3]).unwrap().contains("70000"));
}

#[test]
fn an_agent_that_was_restarted_is_asked_again() {
    let agent = scripted(vec![vec![caller(1), Then::Close], vec![caller(2), evidence()]]);
    let attester = AgentAttester::at(agent.path);
    attester.caller().unwrap();
    assert_eq!(collect(&attester).unwrap(), 0);
    let asked: Vec<_> = agent.thread.join().unwrap().iter().map(token_of).collect();
    assert_eq!(asked, [None, None, Some(2)]);
}

#[test]
fn an_agent_that_goes_away_each_time_is_an_error() {
    let agent = scripted(vec![vec![caller(1), Then::Close], vec![Then::Close]]);
    let attester = AgentAttester::at(agent.path);
    attester.caller().unwrap();
    assert!(matches!(collect(&attester), Err(CollectError::AgentLost { .. })));
    agent.thread.join().unwrap();
    // Nobody listens any more.
    assert!(matches!(collect(&attester), Err(CollectError::AgentMissing { .. })));
}

#[test]
fn an_inherited_connection_is_kept_and_made_again_by_its_path() {
    let agent = scripted(vec![vec![caller(1), evidence(), evidence(), Then::Close], vec![caller(2), evidence()]]);
    let attester = AgentAttester::over(UnixStream::connect(&agent.path).unwrap().into());
    for _ in 0..3 {
        assert_eq!(collect(&attester).unwrap(), 0);
    }
    let asked: Vec<_> = agent.thread.join().unwrap().iter().map(token_of).collect();
    assert_eq!(asked, [None, Some(1), Some(1), None, Some(2)]);
}

#[test]
fn a_forked_child_makes_a_connection_of_its_own() {
    let agent = scripted(vec![vec![caller(1)], vec![caller(2), evidence()]]);
    let attester = AgentAttester::at(agent.path);
    attester.caller().unwrap();
    // As a child finds it.
    attester.link.lock().unwrap().as_mut().unwrap().owner ^= 1;
    assert_eq!(collect(&attester).unwrap(), 0);
    let asked: Vec<_> = agent.thread.join().unwrap().iter().map(token_of).collect();
    assert_eq!(asked, [None, None, Some(2)]);
}

#[test]
fn what_belongs_to_a_parent_is_asked_for_anew_once() {
    let stale = refused(AgentRefusal::NotTheCaller);
    let agent = scripted(vec![vec![caller(1), stale], vec![caller(2), refused(AgentRefusal::NotTheCaller)]]);
    let attester = AgentAttester::at(agent.path);
    attester.caller().unwrap();
    let error = collect(&attester).unwrap_err();
    assert!(matches!(error, CollectError::AgentRefused { code: AgentRefusal::NotTheCaller, .. }), "{error}");
    agent.thread.join().unwrap();
}

#[test]
fn a_busy_agent_is_asked_again_and_another_refusal_is_final() {
    let agent = scripted(vec![
        vec![refused(AgentRefusal::Busy)],
        vec![caller(1), refused(AgentRefusal::TooMany)],
        vec![caller(2), refused(AgentRefusal::CallerMismatch)],
    ]);
    let error = collect(&AgentAttester::at(agent.path)).unwrap_err();
    assert!(matches!(error, CollectError::AgentRefused { code: AgentRefusal::CallerMismatch, .. }), "{error}");
    assert!(error.to_string().contains("caller_mismatch"), "{error}");
    agent.thread.join().unwrap();
}

#[test]
fn an_agent_that_turns_a_connection_away_is_asked_again() {
    let busy = AgentAnswer::Refused { code: AgentRefusal::Busy, message: "full".to_owned(), retry_after_ms: Some(1) };
    let agent = scripted(vec![vec![Then::Unasked(busy)], vec![caller(1), evidence()]]);
    assert_eq!(collect(&AgentAttester::at(agent.path)).unwrap(), 0);
    agent.thread.join().unwrap();
}

#[test]
fn what_is_no_agent_is_named() {
    for raw in [b"\xff\xff\xff\xffx".to_vec(), b"\x02\0\0\0{}".to_vec()] {
        let agent = scripted(vec![vec![Then::Raw(raw)]]);
        assert!(matches!(collect(&AgentAttester::at(agent.path)), Err(CollectError::AgentMalformed { .. })));
        agent.thread.join().unwrap();
    }
    // Evidence where the caller should be, and the other way round.
    let agent = scripted(vec![vec![evidence()], vec![caller(1), caller(1)]]);
    let attester = AgentAttester::at(agent.path);
    assert!(matches!(attester.caller(), Err(CollectError::AgentMalformed { .. })));
    assert!(matches!(collect(&attester), Err(CollectError::AgentMalformed { .. })));
    agent.thread.join().unwrap();
}

#[test]
fn without_a_caller_nothing_is_asked() {
    let attester = AgentAttester::at("/nonexistent/agent.sock".into());
    let selection = PcrSelection::default_sha256();
    assert!(matches!(
        attester.collect(b"s", None, Wanted::whole(&selection)),
        Err(CollectError::AgentNeedsCaller { .. })
    ));
    assert!(matches!(attester.check(), Err(CollectError::AgentMissing { .. })));
}
