//! The agent of a confidential machine: it owns the devices, and its callers are bound into every report.

use super::{ASSET, Estate};
use serde_json::Value;
use std::{
    fs::{self, File},
    os::unix::net::UnixDatagram,
    process::Child,
    time::Duration,
};
use strongroom::Request;
use strongroom_collect::AgentAttester;

/// An agent that runs. It ends when this is dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_binds_its_caller_into_the_reports_of_processor_and_gpus() {
    let estate = Estate::of("tier3");
    let guest = estate.unregistered("gpu-1", 0xe1, &[1, 2]);
    let dir = tempfile::tempdir().unwrap();
    let (socket, notify, log) = (dir.path().join("agent.sock"), dir.path().join("notify"), dir.path().join("log"));
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut arguments = vec!["-v", "agent", "--device", "sev-snp", "--device", "nvidia-gpu", "--socket"];
    arguments.push(socket.to_str().unwrap());
    if fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() != "pid:[4026531836]" {
        arguments.push("--accept-namespaces");
    }
    let mut command = guest.cli.command(&arguments);
    let output = File::create(&log).unwrap();
    command.env("NOTIFY_SOCKET", &notify).stdout(output.try_clone().unwrap()).stderr(output);
    let _agent = Agent(command.spawn().unwrap());
    let mut word = [0; 64];
    let told = manager.recv(&mut word);
    assert!(told.is_ok(), "the agent did not get ready: {}", fs::read_to_string(&log).unwrap());

    // The node's own command line asks the agent, and says how the machine is registered: as one of several jobs.
    let enrol =
        ["--agent", socket.to_str().unwrap(), "node", "enroll", "--device", "sev-snp", "--device", "nvidia-gpu"];
    let told: Value = guest.cli.ask(enrol).unwrap();
    let line = told["import"].as_str().unwrap();
    assert!(!line.contains("--single-job"), "{line}");
    let node = estate.import(line);
    let room = estate.room();
    let lease = room.release(&AgentAttester::at(socket.clone()), Request::new().writer(ASSET, 1)).unwrap();
    let caller = estate.decision(lease.decision()).input["caller"].clone();
    println!("caller: {caller}");
    assert_eq!(caller["pid"], std::process::id(), "{caller}");
    lease.end().unwrap();

    // Without the agent nobody is named, and a node of several jobs gets nothing.
    let problem = room.release(&guest.devices(), Request::new().writer(ASSET, 1)).map(drop).unwrap_err();
    println!("past the agent → {problem}");
    assert_eq!(problem.problem().unwrap().reasons, ["caller_not_identified"]);
    assert!(estate.records(node).len() > 2);
}
