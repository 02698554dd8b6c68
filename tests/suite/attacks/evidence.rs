//! Evidence: relayed, spliced, relabelled, of something else, too much.

use super::{ASSET, evidence_refused, malformed, refused, world};
use crate::world::World;
use strongroom_collect::{Attester as _, Wanted};
use strongroom_protocol::{
    Bytes, Code,
    evidence::{Evidence, PcrMap, PcrSelection, Tpm2Evidence},
    release::ReleaseRequest,
};
use strongroom_tests::{Asking, Wire, wire::writer_key};

fn ask(wire: &Wire) -> Asking {
    wire.ask(vec![writer_key(ASSET, 1)]).unwrap()
}

fn quote(request: &ReleaseRequest) -> Tpm2Evidence {
    let item = request.evidence[0].as_tpm2().unwrap();
    item.clone()
}

/// Attested by the first node, then changed.
fn changed(world: &World, wire: &Wire, change: impl FnOnce(&mut Tpm2Evidence)) -> strongroom_tests::Reply {
    let mut request = ask(wire).attest(wire, &world.node().devices().unwrap()).unwrap();
    let mut item = quote(&request);
    change(&mut item);
    request.evidence = vec![Evidence::Tpm2(item)];
    wire.release(&request).unwrap()
}

#[test]
fn evidence_is_of_this_request_and_of_one_node() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let (honest, thief) = (world.nodes[0].devices().unwrap(), world.nodes[1].devices().unwrap());
    let victims = ask(&wire).attest(&wire, &honest).unwrap();
    let mine = ask(&wire);
    let request =
        |evidence| ReleaseRequest { statement: Bytes(mine.bytes().unwrap()), caller: None, job_token: None, evidence };
    let relayed = request(victims.evidence.clone());
    evidence_refused("evidence of an honest node for its own statement", &wire.release(&relayed).unwrap(), "Q3");
    // The same, collected for a caller: the tag is another.
    let bytes = mine.bytes().unwrap();
    let for_caller = honest.collect(&bytes, Some(b"{}"), Wanted::whole(&wire.selection)).unwrap();
    evidence_refused("evidence that was collected for a caller", &wire.release(&request(for_caller)).unwrap(), "Q3");

    let own = mine.attest(&wire, &thief).unwrap();
    let both = request(vec![victims.evidence[0].clone(), own.evidence[0].clone()]);
    evidence_refused("evidence of two nodes together", &wire.release(&both).unwrap(), "E7");
    let twice = request(vec![own.evidence[0].clone(), own.evidence[0].clone()]);
    malformed("the same evidence twice", &wire.release(&twice).unwrap(), "evidence");
    malformed("no evidence", &wire.release(&request(vec![])).unwrap(), "evidence");
    let spliced = Tpm2Evidence { ak: quote(&victims).ak, ..quote(&own) };
    let reply = wire.release(&request(vec![Evidence::Tpm2(spliced)])).unwrap();
    evidence_refused("one node's quote in the other's name", &reply, "Q1");
    let values = Tpm2Evidence { pcrs: quote(&victims).pcrs, ..quote(&own) };
    // Both machines booted the same: values of equal machines are equal, and that is no attack.
    assert_eq!(wire.release(&request(vec![Evidence::Tpm2(values)])).unwrap().status, 200);
    let unknown = Tpm2Evidence { ak: strongroom_protocol::Fixed([1; 32]), ..quote(&own) };
    refused(
        "a quote of an AK that nobody enrolled",
        &wire.release(&request(vec![Evidence::Tpm2(unknown)])).unwrap(),
        Code::NotEnrolled,
    );
}

#[test]
fn a_quote_is_taken_as_it_was_signed() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let last = |bytes: &mut Bytes| *bytes.0.last_mut().unwrap() ^= 1;
    evidence_refused("a changed quote", &changed(&world, &wire, |q| last(&mut q.message)), "Q1");
    evidence_refused("a changed signature", &changed(&world, &wire, |q| last(&mut q.signature)), "Q1");
    evidence_refused("no signature", &changed(&world, &wire, |q| q.signature.0.clear()), "Q1");
    // What the node did sign for this request, with values that are not what it signed, is a decision.
    let reply = changed(&world, &wire, |q| {
        let values = &mut q.pcrs.values.0;
        let (zero, one) = (values[&0].clone(), values[&1].clone());
        values.insert(0, one);
        values.insert(1, zero);
    });
    let problem = refused("PCR values relabelled: 0 for 1", &reply, Code::Denied);
    assert_eq!(
        (problem.row.as_deref(), problem.reasons.as_slice()),
        (Some("Q7"), ["evidence_q7".to_owned()].as_slice())
    );
    let reply = changed(&world, &wire, |q| {
        let values = std::mem::take(&mut q.pcrs.values.0);
        let shifted = values.into_iter().map(|(index, value)| (if index < 9 { index + 15 } else { index - 9 }, value));
        q.pcrs.values = PcrMap(shifted.collect());
    });
    let problem = refused("PCR values shifted to other indices", &reply, Code::Denied);
    assert_eq!(problem.row.as_deref(), Some("Q6"));
    let reply = changed(&world, &wire, |q| {
        q.pcrs.values.0.insert(9, Bytes(vec![7; 32]));
    });
    assert_eq!(refused("another value for PCR 9", &reply, Code::Denied).row.as_deref(), Some("Q7"));

    // CVE-2024-29039's class: other PCRs are quoted, and presented under the wanted labels.
    let asking = ask(&wire);
    let statement = asking.bytes().unwrap();
    let quoted =
        PcrSelection { pcrs: vec![8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], ..wire.selection.clone() };
    let mut evidence = world.node().devices().unwrap().collect(&statement, None, Wanted::whole(&quoted)).unwrap();
    let item = evidence[0].as_tpm2_mut().unwrap();
    let values = std::mem::take(&mut item.pcrs.values.0).into_values();
    item.pcrs.values = PcrMap(wire.selection.pcrs.iter().copied().zip(values).collect());
    let request = ReleaseRequest { statement: Bytes(statement), caller: None, job_token: None, evidence };
    let problem =
        refused("a quote of PCRs 8 to 21 under the labels 0 to 14", &wire.release(&request).unwrap(), Code::Denied);
    assert_eq!(problem.row.as_deref(), Some("Q6"));
}

#[test]
fn evidence_has_caps() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let asking = ask(&wire);
    let mut request = asking.attest(&wire, &world.node().devices().unwrap()).unwrap();
    let item = quote(&request);
    let small = Tpm2Evidence { boot_log: None, ..item.clone() };
    request.evidence = vec![Evidence::Tpm2(small); 33];
    let problem = refused("33 items of evidence", &wire.release(&request).unwrap(), Code::TooLarge);
    assert_eq!(problem.field.as_deref(), Some("evidence"));
    let mut too_much = |attack: &str, field: &str, change: &dyn Fn(&mut Tpm2Evidence)| {
        let mut item = item.clone();
        change(&mut item);
        request.evidence = vec![Evidence::Tpm2(item)];
        let problem = refused(attack, &wire.release(&request).unwrap(), Code::TooLarge);
        assert_eq!(problem.field.as_deref(), Some(field), "{attack}");
    };
    too_much("a boot log over 1 MiB", "evidence.boot_log", &|q| q.boot_log = Some(Bytes(vec![0; (1 << 20) + 1])));
    too_much("an IMA log over 2 MiB", "evidence.ima_log", &|q| q.ima_log = Some(Bytes(vec![0; (2 << 20) + 1])));
    too_much("a quote over 8 KiB", "evidence.message", &|q| q.message = Bytes(vec![0; (8 << 10) + 1]));
    too_much("a signature over 8 KiB", "evidence.signature", &|q| q.signature = Bytes(vec![0; (8 << 10) + 1]));
    // None of it burnt the nonce: the honest request goes through.
    request.evidence = vec![Evidence::Tpm2(item)];
    assert_eq!(wire.release(&request).unwrap().status, 200);
}
