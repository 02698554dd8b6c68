//! Machines of Azure, each with a virtual TPM of its own that the released program opens: the envelope lies in an NV
//! index, and the key that it names quotes.

use super::{ASSET, Estate, shipped, values};
use crate::world::content;
use serde_json::{Value, json};
use std::fs;
use strongroom::{LeaseOver, Request};
use strongroom_protocol::{
    Bytes, NodeId, Problem,
    admin::{ReferenceValues, SnpValues},
    evidence::Evidence,
    requirements::Register,
    sha256,
};
use strongroom_tests::{
    Cli, Makers, Vault, Wire,
    confidential::{AzureMachine, Parts, set_tcb},
    wire::writer_key,
};

const VM: &str = "0A1B2C3D-1111-2222-3333-444455556601";
const OTHER_VM: &str = "0A1B2C3D-1111-2222-3333-444455556602";

/// Tier 2's settings for reports, with these launch measurements of paravisors.
fn settings(paravisors: &[[u8; 48]]) -> Value {
    let mut settings = shipped("tier2", "snp");
    settings["paravisors"] = paravisors.iter().map(|one| json!(Register(*one))).collect();
    settings
}

/// A vault that knows what these machines boot, their paravisor accepted.
fn estate(makers: Makers, machine: &AzureMachine) -> Estate {
    let measurements = [Register(machine.paravisor())].into();
    let pcrs = AzureMachine::pcrs(&[0, 2, 4, 7, 8, 9]);
    let values = ReferenceValues { pcrs, ..values(SnpValues { measurements }) };
    let settings = settings(&[machine.paravisor()]);
    Estate::founded(Vault::init().unwrap(), makers, "tier2", &[("snp", settings)], values)
}

impl Estate {
    /// The processor's certificate is imported, as Azure's evidence brings none from here, and the machine registered.
    fn azure(&self, machine: &AzureMachine) -> NodeId {
        self.vault.import(vec![machine.published()]).unwrap();
        self.import_by(&[machine.vm()])
    }
}

#[test]
fn a_file_is_sealed_and_opened_on_a_machine_of_azure_by_the_released_program() {
    let makers = Makers::new();
    let machine = makers.azure(VM, 0x81).unwrap();
    let estate = estate(makers, &machine);
    // No stand-in on this side: the program opens the vTPM and reads the envelope by itself.
    let cli = Cli::new(estate.vault.beside("azure")).unwrap();
    cli.join(&estate.vault.join_path()).unwrap();
    let tcti = machine.tpm.tcti();
    let enroll = ["node", "enroll", "--hostname", "vm-1", "--device", "azure-snp-vtpm", "--tcti", &tcti];
    let enrolled: Value = cli.ask(enroll).unwrap();
    let line = enrolled["import"].as_str().unwrap();
    println!("a machine of Azure is registered by: {line}");
    assert!(line.contains(&machine.vm().to_string()), "{line}");
    let node = estate.import(line);
    let file = cli.home().join("weights");
    let plaintext = content(11, 1 << 20);
    fs::write(&file, &plaintext).unwrap();
    let seal = ["seal", file.to_str().unwrap(), "--asset", ASSET];
    // Nobody has imported the processor's certificate yet.
    let problem: Problem = cli.refused(seal).unwrap();
    assert_eq!((problem.status, problem.row.as_deref()), (401, Some("S13")), "{problem:?}");
    estate.vault.import(vec![machine.published()]).unwrap();
    let sealed: Value = cli.ask(seal).unwrap();
    let opened: Value = cli.ask(["open", sealed["file"].as_str().unwrap(), "--asset", ASSET, "--digest"]).unwrap();
    assert_eq!(opened["sha256"], hex::encode(sha256(&plaintext)), "{opened}");

    let decided = estate.decided(node);
    assert_eq!(decided.len(), 2, "{decided:?}");
    for (decision, verdict) in decided {
        assert_eq!(verdict, "released");
        let claims = estate.decision(decision).input["claims"].clone();
        assert!(claims["tpm"].is_null() && claims["snp"].is_null(), "{claims}");
        assert_eq!(claims["azure"]["snp"]["measurement"], json!(Register(machine.paravisor())), "{claims}");
        assert!(claims["azure"]["vm_id"].as_str().unwrap().eq_ignore_ascii_case(VM), "{claims}");
        assert!(claims["azure"]["pcrs"]["4"].is_string(), "{claims}");
        let explained = estate.explained(decision);
        assert!(explained.contains("released") && explained.contains("in the ledger"), "{explained}");
    }
}

#[test]
fn each_thing_that_is_wrong_with_a_machine_of_azure_is_refused_by_itself() {
    let makers = Makers::new();
    let mut machine = makers.azure(VM, 0x82).unwrap();
    let estate = estate(makers, &machine);
    estate.azure(&machine);
    let devices = machine.devices().unwrap();
    estate.released(&devices);
    let honest = machine.change(|parts| parts.snp.report.clone());

    // Whoever has a processor of AMD's vouches for any vTPM; only a paravisor that policy names counts.
    machine.change(|parts| parts.snp.report.measurement = [0x66; 48]);
    machine.rewrite().unwrap();
    estate.unbelieved("another paravisor", &devices, "S12");
    let restore = |machine: &mut AzureMachine| {
        machine.change(|parts| parts.snp.report = honest.clone());
        machine.change(Parts::certify);
        machine.rewrite().unwrap();
    };
    restore(&mut machine);
    estate.released(&devices);
    estate.vault.enforce("tier2", &[("snp", shipped("tier2", "snp"))]).unwrap();
    estate.unbelieved("no paravisor named", &devices, "S12");
    estate.vault.enforce("tier2", &[("snp", settings(&[machine.paravisor()]))]).unwrap();
    estate.released(&devices);

    machine.change(|parts| parts.snp.report.policy |= 1 << 19);
    machine.rewrite().unwrap();
    estate.denied("a guest that may be debugged", &devices, "evidence_s7");
    restore(&mut machine);
    machine.change(|parts| {
        set_tcb(&mut parts.snp, [10, 0, 0, 0, 0, 0, 20, 0x88]);
        parts.certify();
    });
    estate.vault.import(vec![machine.published()]).unwrap();
    machine.rewrite().unwrap();
    estate.denied("older firmware below the paravisor", &devices, "evidence_s6");
    restore(&mut machine);
    // The guest itself is in the PCRs.
    let pcr = strongroom_tests::Event::of_data(4, 0x8000_0003, b"another boot loader".to_vec());
    let mut tpm = strongroom_tests::tpm_commands::connect(&machine.tpm.tcti()).unwrap();
    strongroom_tests::tpm_commands::extend(&mut tpm, pcr.pcr, pcr.digest).unwrap();
    drop(tpm);
    estate.denied("another boot loader", &devices, "reference_mismatch");
}

#[test]
fn envelope_and_quote_are_of_one_machine() {
    let makers = Makers::new();
    let (one, other) = (makers.azure(VM, 0x83).unwrap(), makers.azure(OTHER_VM, 0x84).unwrap());
    let estate = estate(makers, &one);
    estate.azure(&one);
    estate.azure(&other);
    let (devices, others) = (one.devices().unwrap(), other.devices().unwrap());
    estate.released(&devices);
    estate.released(&others);

    // The envelope of another machine, whose key this vTPM does not have: it would speak for that machine.
    one.put(&other.envelope()).unwrap();
    estate.unbelieved("the envelope of another machine", &devices, "Q1");
    one.rewrite().unwrap();
    estate.released(&devices);

    // The other way round: one's own envelope beside what another vTPM has quoted of the same statement.
    let wire = Wire::to(&estate.vault.join_file().unwrap()).unwrap();
    let asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let statement = Bytes(asking.bytes().unwrap());
    let own = asking.attest(&wire, &devices).unwrap();
    let wanted = strongroom_collect::Wanted::whole(&wire.selection);
    let quoted = strongroom_collect::Attester::collect(&others, &statement.0, None, wanted).unwrap();
    let (Some(Evidence::AzureSnpVtpm(mine)), Some(Evidence::AzureSnpVtpm(theirs))) =
        (own.evidence.first(), quoted.first())
    else {
        unreachable!()
    };
    let mut mixed = own.clone();
    let mut item = theirs.clone();
    item.hcl_report = mine.hcl_report.clone();
    mixed.evidence = vec![Evidence::AzureSnpVtpm(item)];
    let problem = wire.release(&mixed).unwrap().problem().unwrap();
    assert_eq!((problem.status, problem.row.as_deref(), problem.decision_id), (401, Some("Q1"), None), "{problem:?}");
    // What was quoted for an earlier statement, and what was signed for this one.
    let mut later = wire.ask(vec![writer_key(ASSET, 1)]).unwrap().attest(&wire, &devices).unwrap();
    let fresh = std::mem::replace(&mut later.evidence, own.evidence.clone());
    let problem = wire.release(&later).unwrap().problem().unwrap();
    assert_eq!((problem.status, problem.row.as_deref(), problem.decision_id), (401, Some("Q3"), None), "{problem:?}");
    later.evidence = fresh;
    assert_eq!(wire.release(&later).unwrap().status, 200);
}

#[test]
fn a_lease_of_a_machine_of_azure_is_of_one_start() {
    let makers = Makers::new();
    let mut machine = makers.azure(VM, 0x85).unwrap();
    let estate = estate(makers, &machine);
    let node = estate.azure(&machine);
    let (room, devices) = (estate.room(), machine.devices().unwrap());
    let lease = room.release(&devices, Request::new().writer(ASSET, 1)).unwrap();
    lease.reattest(&room, &devices).unwrap();
    machine.relaunch().unwrap();
    let refused = lease.reattest(&room, &devices).unwrap_err();
    println!("a renewal after the machine was started anew → {refused}");
    assert_eq!(refused.problem().unwrap().reasons, ["rebooted"]);
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{:?}", lease.check());
    // The machine that runs now may ask for itself.
    estate.released(&devices);
    assert_eq!(estate.records(node).pop().unwrap()["action"], "lease.ended");
}

/// An envelope is made at a start and binds no request: it is held against what the record saw before.
#[test]
fn the_envelope_of_an_earlier_start_the_key_of_another_machine_and_older_firmware_are_refused() {
    let makers = Makers::new();
    let (mut machine, impostor) = (makers.azure(VM, 0x86).unwrap(), makers.azure(VM, 0x86).unwrap());
    let estate = estate(makers, &machine);
    estate.azure(&machine);
    let devices = machine.devices().unwrap();
    estate.released(&devices);
    estate.denied("the key of another machine under this one's id", &impostor.devices().unwrap(), "evidence_s12");

    let first = machine.envelope();
    machine.relaunch_showing(&first).unwrap();
    estate.denied("the envelope of before the start", &devices, "evidence_s12");
    machine.rewrite().unwrap();
    estate.released(&devices);
    machine.relaunch_showing(&first).unwrap();
    estate.denied("the envelope of the start before the last", &devices, "evidence_s12");
    machine.rewrite().unwrap();
    estate.released(&devices);

    // Newer firmware than the tier asks for, and back to what would be enough.
    for (snp, reason) in [(29, None), (28, Some("evidence_s6"))] {
        machine.change(|parts| {
            set_tcb(&mut parts.snp, [10, 0, 0, 0, 0, 0, snp, 0x88]);
            parts.certify();
        });
        estate.vault.import(vec![machine.published()]).unwrap();
        machine.relaunch().unwrap();
        match reason {
            None => {
                estate.released(&devices);
            }
            Some(reason) => estate.denied("firmware that was rolled back", &devices, reason),
        }
    }
}
