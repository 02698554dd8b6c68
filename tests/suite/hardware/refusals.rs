//! What a vault says to a confidential machine that is not as it should be: guests of SEV-SNP with GPUs.

use super::{ASSET, Estate, Guest, KINDS, devices_of, said::told};
use strongroom::Request;
use strongroom_collect::Attester as _;
use strongroom_protocol::{
    Code,
    admin::Role,
    evidence::{Evidence, EvidenceKind},
};
use strongroom_tests::{Confidential, Machine, Member, Wire, confidential::Parts, member, wire::writer_key};

#[test]
fn each_thing_that_is_wrong_with_a_machine_is_refused_by_itself() {
    let estate = Estate::of("tier3");
    let (guest, _) = estate.registered("gpu-1", 0xb1, &[1, 2]);
    let (other, _) = estate.registered("gpu-2", 0xb2, &[3, 4]);
    let room = estate.room();
    let released = |guest: &Guest| room.release(&guest.devices(), Request::new().writer(ASSET, 1)).unwrap().end();
    released(&guest).unwrap();
    released(&other).unwrap();
    let honest = guest.machine.change(|parts| parts.snp.report.clone());
    let restore = || {
        guest.machine.change(|parts| parts.snp.report = honest.clone());
        guest.machine.change(Parts::certify);
    };

    // GPUs: another node's, one too few, one that can be debugged.
    let own = guest.machine.change(|parts| std::mem::replace(&mut parts.gpus[1], estate.makers.gpu(4)));
    estate.denied("a GPU of another node", &guest.devices(), "evidence_e7");
    guest.machine.change(|parts| parts.gpus.truncate(1));
    estate.denied("one GPU fewer than the record lists", &guest.devices(), "evidence_e7");
    guest.machine.change(|parts| parts.gpus.push(own));
    released(&guest).unwrap();
    // In DEVTOOLS mode firmware measures otherwise than NVIDIA's manifests say.
    let value = guest.machine.change(|parts| {
        let block = &mut parts.gpus[1].gpu.report.measurements[30];
        std::mem::replace(&mut block.value, vec![0xde; 48])
    });
    estate.denied("a GPU in DEVTOOLS mode", &guest.devices(), "evidence_g3");
    guest.machine.change(|parts| parts.gpus[1].gpu.report.measurements[30].value = value);
    released(&guest).unwrap();

    // The guest: debugged, of another image, older than the tier asks for.
    guest.machine.change(|parts| parts.snp.report.policy |= 1 << 19);
    estate.denied("a guest that may be debugged", &guest.devices(), "evidence_s7");
    restore();
    guest.machine.change(|parts| parts.snp.report.measurement = [9; 48]);
    estate.denied("another launch measurement", &guest.devices(), "launch_mismatch");
    restore();
    for (what, change) in [("older reported TCB", 0), ("older launch TCB", 1)] {
        guest.machine.change(|parts| {
            let report = &mut parts.snp.report;
            let older = [10, 0, 0, 0, 0, 0, 20, 0x88];
            if change == 0 {
                report.reported_tcb = older;
            } else {
                report.launch_tcb = older;
            }
            // AMD certifies the key for the reported TCB.
            parts.certify();
        });
        estate.denied(what, &guest.devices(), "evidence_s6");
        restore();
    }

    // Another chip is no node at all, or another one's.
    guest.machine.change(|parts| parts.snp.report.chip_id = [0xbe; 64]);
    guest.machine.change(Parts::certify);
    let problem = estate.refused("a chip that nobody registered", &guest.devices());
    assert_eq!((problem.code, problem.decision_id), (Code::NotEnrolled, None));
    guest.machine.change(|parts| parts.snp.report.chip_id = [0xb2; 64]);
    guest.machine.change(Parts::certify);
    estate.denied("the chip of another node beside one's own GPUs", &guest.devices(), "evidence_e7");
    restore();
    // A host that hides the chip names no machine.
    guest.machine.change(|parts| {
        parts.snp.report.chip_id = [0; 64];
        parts.snp.report.key_info |= 1 << 1;
    });
    let problem = estate.refused("a chip id that firmware masks", &guest.devices());
    assert_eq!(problem.decision_id, None, "{problem:?}");
    restore();
    released(&guest).unwrap();
}

#[test]
fn evidence_is_of_one_request_and_one_machine() {
    let estate = Estate::of("tier3");
    let (victim, _) = estate.registered("gpu-1", 0xb3, &[1]);
    let (thief, _) = estate.registered("gpu-2", 0xb4, &[2]);
    let wire = Wire::to(&estate.vault.join_file().unwrap()).unwrap();
    let ask = || wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let say = |what: &str, reply: &strongroom_tests::Reply| {
        let problem = reply.problem().unwrap();
        println!("{what:60} → {} {:?} {:?}", problem.status, problem.row, problem.reasons);
        problem
    };
    // Relayed: what an honest machine signed for its own statement.
    let theirs = ask().attest(&wire, &victim.devices()).unwrap();
    let mut mine = ask().attest(&wire, &thief.devices()).unwrap();
    let own = std::mem::replace(&mut mine.evidence, theirs.evidence.clone());
    let problem = say("evidence of an honest machine for its own statement", &wire.release(&mine).unwrap());
    assert_eq!((problem.code, problem.row.as_deref()), (Code::EvidenceRefused, Some("S9")));
    // Spliced: one's own processor, the other's GPU, each signed for this statement.
    let asking = ask();
    let bytes = asking.bytes().unwrap();
    let wanted = strongroom_collect::Wanted::whole(&wire.selection);
    let snp = thief.devices().collect(&bytes, None, wanted).unwrap();
    let gpu = victim.devices().collect(&bytes, None, wanted).unwrap();
    let spliced: Vec<Evidence> = vec![snp[0].clone(), gpu[1].clone()];
    let request = |evidence: Vec<Evidence>| {
        let mut request = mine.clone();
        request.statement = strongroom_protocol::Bytes(bytes.clone());
        request.evidence = evidence;
        request
    };
    let problem = say("one's own processor beside another's GPU", &wire.release(&request(spliced)).unwrap());
    assert_eq!((problem.code, problem.row.as_deref()), (Code::Denied, Some("E7")));
    // GPUs without the guest that collected them, and a guest twice.
    let asking = ask();
    let bytes = asking.bytes().unwrap();
    let items = thief.devices().collect(&bytes, None, wanted).unwrap();
    let request = |evidence: Vec<Evidence>| {
        let mut request = mine.clone();
        request.statement = strongroom_protocol::Bytes(bytes.clone());
        request.evidence = evidence;
        request
    };
    let problem = say("a GPU by itself", &wire.release(&request(vec![items[1].clone()])).unwrap());
    assert_eq!(problem.decision_id, None, "{problem:?}");
    let twice = vec![items[0].clone(), items[0].clone(), items[1].clone()];
    let problem = say("a guest twice", &wire.release(&request(twice)).unwrap());
    assert_eq!((problem.row.as_deref(), problem.decision_id), (Some("E7"), None), "{problem:?}");
    assert_eq!(own.len(), 2);
    assert_eq!(wire.release(&request(items)).unwrap().status, 200);
}

#[test]
fn a_tpm_alone_is_no_confidential_machine() {
    let estate = Estate::of("tier2");
    let [node] = member::boot(&Machine::default()).unwrap();
    // The vault reads its roots of TPMs when it starts.
    let mut estate = estate;
    estate.vault.trust(&node).unwrap();
    estate.vault.restart().unwrap();
    let member = Member::enrol(&estate.vault, node, "host").unwrap();
    member.approve(&estate.vault, "fra-1").unwrap();
    let room = member.room(&estate.vault).unwrap();
    let devices = member.devices().unwrap();
    let error = room.release(&devices, Request::new().writer(ASSET, 1)).map(drop).unwrap_err();
    let problem = told("a TPM alone under tier 2", &error);
    assert_eq!(problem.code, Code::Denied);
    assert!(!problem.reasons.is_empty(), "{problem:?}");

    // A guest on that host, whose record lists both: its own claims count, the host's do not.
    let machine = std::sync::Arc::new(estate.makers.machine(0xb5, &[]));
    let operator = estate.vault.cli(Role::Operator).unwrap();
    let add = ["node", "identity", "add", &member.id.to_string(), &machine.chip().to_string()];
    operator.run(add).unwrap().done().unwrap();
    let both = Both { host: devices, guest: devices_of(&machine, &[EvidenceKind::SevSnp]) };
    let lease = room.release(&both, Request::new().writer(ASSET, 1)).unwrap();
    let claims = estate.decision(lease.decision()).input["claims"].clone();
    assert!(claims["tpm"].is_null(), "the host's TPM speaks for the guest: {claims}");
    assert_eq!(claims["snp"]["chip_id"], machine.chip().value.as_str(), "{claims}");
    lease.end().unwrap();
}

/// A host's TPM beside a guest's processor.
struct Both {
    host: member::Devices,
    guest: strongroom_collect::Devices,
}

impl strongroom_collect::Attester for Both {
    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: strongroom_collect::Wanted<'_>,
    ) -> Result<Vec<Evidence>, strongroom_collect::CollectError> {
        let mut items = self.host.collect(statement, caller, wanted)?;
        items.extend(self.guest.collect(statement, caller, wanted)?);
        Ok(items)
    }
}

#[test]
fn a_machine_of_other_makers_is_not_believed() {
    let estate = Estate::of("tier3");
    let (guest, _) = estate.registered("gpu-1", 0xb6, &[1]);
    let strangers = strongroom_tests::Makers::new();
    let forged = strangers.machine(0xb6, &[1]);
    let original = guest.machine.change(|parts| {
        let forged = forged.change(|forged| std::mem::take(&mut forged.gpus));
        std::mem::replace(&mut parts.gpus, forged)
    });
    let problem = estate.refused("a GPU whose root nobody pinned", &guest.devices());
    assert_eq!(problem.row.as_deref(), Some("G2"), "{problem:?}");
    guest.machine.change(|parts| parts.gpus = original);
    assert_eq!(guest.machine.identities(), [guest.machine.chip(), Confidential::gpu(1)]);
    assert_eq!(
        guest.devices().collect(b"s", None, strongroom_collect::Wanted::whole(&estate.selection())).unwrap().len(),
        KINDS.len()
    );
}

impl Estate {
    fn selection(&self) -> strongroom_protocol::evidence::PcrSelection {
        Wire::to(&self.vault.join_file().unwrap()).unwrap().selection
    }
}
