//! A lease on a machine whose IMA log grows, that runs what it must not, and that is booted again.

use super::{
    parts,
    site::{AGENT, ASSET, FILE, Site, done},
};
use serde_json::{Value, json};
use strongroom_protocol::{
    admin::{FileLists, Role},
    lease::{LeaseState, LeaseView},
};
use strongroom_tests::measured::{Guest, Software, root};

/// A job in the guest that holds a lease, and answers each line with one.
struct Job {
    heard: usize,
}

impl Job {
    /// Starts it; what it says first.
    fn start(guest: &mut Guest) -> (Self, Value) {
        done(guest, "rm -f /run/job.*; mkfifo /run/job.in");
        let arguments = format!("--join /run/state/join.json --agent {AGENT} --asset {ASSET} {FILE}");
        done(guest, &format!("{} {arguments} <>/run/job.in >/run/job.out 2>/run/job.err &", root::JOB));
        let mut job = Self { heard: 0 };
        let hello = job.hear(guest);
        (job, hello)
    }

    /// Has it attest its lease again.
    fn reattest(&mut self, guest: &mut Guest) -> Value {
        done(guest, "echo again >/run/job.in");
        self.hear(guest)
    }

    fn hear(&mut self, guest: &mut Guest) -> Value {
        self.heard += 1;
        let said = format!("[ $(wc -l </run/job.out) -ge {} ]", self.heard);
        let wait = format!("n=0; until {said}; do n=$((n + 1)); [ $n -lt 1000 ] || exit 1; usleep 50000; done");
        let ran = guest.run(&format!("{wait}; sed -n {}p /run/job.out", self.heard)).unwrap();
        assert_eq!(ran.code, Some(0), "{}", done(guest, "cat /run/job.err"));
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout))
    }
}

/// The lease as the vault lists it.
fn lease(site: &Site, hello: &Value) -> LeaseView {
    let custodian = site.vault.cli(Role::Custodian).unwrap();
    let all: Vec<LeaseView> = custodian.ask(["lease", "list", "--all"]).unwrap();
    all.into_iter().find(|view| json!(view.id) == hello["lease"]).unwrap()
}

#[test]
#[ignore = "long: `make test-long` runs it"]
fn a_forbidden_program_ends_a_lease_and_so_does_a_reboot() {
    let Some(parts) = parts("a_forbidden_program_ends_a_lease_and_so_does_a_reboot") else { return };
    let mut site = Site::found(&parts, &[]);
    let usual = Software::default();
    let mut guest = site.enrol(&usual);
    let forbidden = format!("sha256:{}", site.platform.another_sha256());
    let lists = FileLists { forbidden: [(forbidden.clone(), root::ANOTHER.into())].into(), ..FileLists::default() };
    site.refer_and_seal(&mut guest, Some(lists));

    let (mut job, hello) = Job::start(&mut guest);
    println!("the job in the guest: {hello}");
    assert_eq!(hello["sha256"], json!(site.digest()));
    let before = guest.ima_log().unwrap().len();
    assert_eq!(
        (hello["ima"]["offset"].as_u64().unwrap_or(0), &hello["ima"]["bytes"]),
        (0, &json!(before)),
        "the whole log"
    );
    let answer = job.reattest(&mut guest);
    assert_eq!(
        (&answer["renewed"], &answer["ima"]["bytes"]),
        (&json!(true), &json!(0)),
        "nothing was measured: {answer}"
    );
    // The log grows by what nobody forbids.
    done(&mut guest, &format!("cat {}", root::NOTE));
    let after = guest.ima_log().unwrap().len();
    assert!(after > before, "reading {} was not measured", root::NOTE);
    let answer = job.reattest(&mut guest);
    assert_eq!(answer["renewed"], json!(true), "{answer}");
    // Only what is new was sent, from where the vault has the log.
    assert_eq!(answer["ima"], json!({ "offset": before, "bytes": after - before }), "{answer}");
    assert_eq!(lease(&site, &hello).state, LeaseState::Live);
    println!("renewed twice; the log grew from {before} to {after} bytes between");

    // Somebody else's program, while the job holds its lease.
    done(&mut guest, &format!("{} --version", root::ANOTHER));
    let answer = job.reattest(&mut guest);
    println!("after {}: {answer}", root::ANOTHER);
    assert_eq!((&answer["renewed"], &answer["reasons"]), (&json!(false), &json!(["file_forbidden"])));
    assert_eq!(answer["readable"], json!(false), "the plaintext is gone");
    let explained = site.explain(answer["decision"].as_str().unwrap());
    println!("{explained}");
    assert!(explained.contains(root::ANOTHER) && explained.contains(&forbidden), "{explained}");
    assert_eq!(lease(&site, &hello).state, LeaseState::Revoked);
    guest.shut_down().unwrap();

    // The next boot has not run it. The lease of this one ends with it, though its keys could be brought over.
    let mut guest = site.boot(&usual);
    let (_, hello) = Job::start(&mut guest);
    assert_eq!(hello["sha256"], json!(site.digest()));
    guest.shut_down().unwrap();
    let mut guest = site.boot(&usual);
    assert_eq!(lease(&site, &hello).state, LeaseState::Live, "nobody has told the vault yet");
    let renew = format!(
        "{} --join /run/state/join.json --agent {AGENT} --asset {ASSET} --renew {} {FILE}",
        root::JOB,
        hello["lease"].as_str().unwrap()
    );
    let answer: Value = serde_json::from_str(&done(&mut guest, &renew)).unwrap();
    println!("after a reboot: {answer}");
    assert!(answer["reasons"].as_array().unwrap().contains(&json!("rebooted")), "{answer}");
    assert_eq!(answer["row"], json!("Q5"));
    println!("{}", site.explain(answer["decision"].as_str().unwrap()));
    assert_eq!(lease(&site, &hello).state, LeaseState::Revoked);
}
