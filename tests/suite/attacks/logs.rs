//! Logs beside an honest quote: lying, foreign, missing, too long. A log explains a quote and replaces nothing.

use super::{ASSET, Shared, refused};
use crate::world::World;
use serde_json::json;
use std::sync::Arc;
use strongroom_protocol::{Bytes, Code, Problem, evidence::Tpm2Evidence};
use strongroom_tests::{BootLog, Event, Machine, Wire, boot_events, bootlog::kind, ima, wire::writer_key};

static WORLD: Shared = Shared::new();

/// The boot loader's event that claims may not be made from once its type lies.
const PROGRAM: &str = "\\EFI\\debian\\grubx64.efi";

/// Two nodes whose quotes cover PCR 10, and so their IMA logs.
fn world() -> Arc<World> {
    WORLD.get(|| {
        let pcrs: Vec<u8> = (0..15).collect();
        let world = World::with::<2>(&[("pcr_selection", json!({ "bank": "sha256", "pcrs": pcrs }))]);
        world.asset(ASSET, |_| ());
        world
    })
}

/// A release to the first node, whose evidence is changed on its way.
fn changed(world: &World, change: impl FnOnce(&mut Tpm2Evidence)) -> strongroom_tests::Reply {
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let devices = world.node().devices().unwrap();
    let mut request = wire.ask(vec![writer_key(ASSET, 1)]).unwrap().attest(&wire, &devices).unwrap();
    let item = request.evidence[0].as_tpm2_mut().unwrap();
    change(item);
    wire.release(&request).unwrap()
}

/// Denied by this row, and recorded: the node did sign the quote for this request.
#[track_caller]
fn denied(attack: &str, row: &str, change: impl FnOnce(&mut Tpm2Evidence)) -> Problem {
    let problem = refused(attack, &changed(&world(), change), Code::Denied);
    assert_eq!(problem.row.as_deref(), Some(row), "{attack}: {problem:?}");
    assert!(problem.reasons.contains(&format!("evidence_{}", row.to_lowercase())), "{attack}: {problem:?}");
    assert!(problem.decision_id.is_some(), "{attack}: no decision");
    problem
}

/// The machine's own log, with its events changed.
fn lying(change: impl FnOnce(&mut Vec<Event>)) -> impl FnOnce(&mut Tpm2Evidence) {
    let mut log = Machine::default().boot_log();
    change(&mut log.events);
    let bytes = log.encode();
    move |item| item.boot_log = Some(Bytes(bytes))
}

fn position(events: &[Event], wanted: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(wanted).unwrap()
}

#[test]
fn an_honest_log_is_believed() {
    let reply = changed(&world(), |_| ());
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    // The same log, written down again by us: what the attacks change is all that they change.
    assert_eq!(changed(&world(), lying(|_| ())).status, 200);
}

/// Digests and their order are as the TPM holds them; only what the log says of them lies.
#[test]
fn types_and_data_that_lie_are_refused() {
    let secure_boot_off = |events: &mut Vec<Event>| {
        let at = position(events, |e| e.pcr == 7);
        events[at].data = boot_events::secure_boot_variable("SecureBoot", &[0]).data;
    };
    denied("a log that says Secure Boot is off", "L3", lying(secure_boot_off));
    let other_type = |events: &mut Vec<Event>| {
        let at = position(events, |e| e.pcr == 7 && e.kind == kind::SEPARATOR);
        events[at].kind = kind::EFI_ACTION;
    };
    denied("a separator that is called an action", "L3", lying(other_type));
    let no_action = |events: &mut Vec<Event>| {
        let at = position(events, |e| e.kind == kind::EFI_BOOT_SERVICES_DRIVER);
        events[at].kind = kind::NO_ACTION;
    };
    denied("a driver that is said to extend nothing", "L7", lying(no_action));
    let early = |events: &mut Vec<Event>| {
        let at = position(events, |e| e.kind == kind::EFI_BOOT_SERVICES_APPLICATION);
        events[at].kind = kind::S_CRTM_VERSION;
    };
    denied("a boot loader that is called firmware", "L3", lying(early));
    let hidden = |events: &mut Vec<Event>| {
        let at = position(events, |e| e.pcr == 5 && e.kind == kind::EFI_ACTION);
        events.swap(at, at + 1);
    };
    denied("steps in another order", "L5", lying(hidden));
}

#[test]
fn logs_that_do_not_lead_to_the_quote_are_refused() {
    let other = Machine { kernel_cmdline: "init=/bin/sh".into(), ..Machine::default() };
    denied("the log of another boot", "L7", |item| item.boot_log = Some(Bytes(other.boot_log().encode())));
    let forgotten = |events: &mut Vec<Event>| {
        let at = position(events, |e| String::from_utf8_lossy(&e.data).contains("configfile"));
        events.remove(at);
    };
    denied("a log without one command", "L7", lying(forgotten));
    let invented = |events: &mut Vec<Event>| events.push(boot_events::application(b"a loader", PROGRAM));
    denied("a log with one program more", "L5", lying(invented));
    denied("a log of nothing", "L3", |item| item.boot_log = Some(Bytes(BootLog::new(Vec::new()).encode())));
    let cut = Machine::default().boot_log().encode();
    denied("half a log", "L1", |item| item.boot_log = Some(Bytes(cut[..cut.len() / 2].to_vec())));
    denied("bytes that are no log", "L1", |item| item.boot_log = Some(Bytes(vec![0x5a; 4096])));
    let problem = refused("a quote without its log", &changed(&world(), |item| item.boot_log = None), Code::Denied);
    assert!(problem.reasons.contains(&"boot_log_missing".to_owned()), "{problem:?}");
}

/// Within the caps the worst log costs milliseconds: the time is shown, the benchmark measures it.
#[test]
fn logs_that_are_made_to_cost_are_refused() {
    let tiny = Event { pcr: 8, kind: kind::IPL, digest: [7; 32], data: Vec::new() };
    let many = BootLog::new(vec![tiny; 20_000]).encode();
    assert!(many.len() < 1 << 20);
    let start = std::time::Instant::now();
    denied("a log of twenty thousand events", "L1", |item| item.boot_log = Some(Bytes(many)));
    let long = Event::of_data(8, kind::IPL, vec![b'x'; (1 << 20) - 400]);
    denied("a log of one long event", "L3", |item| item.boot_log = Some(Bytes(BootLog::new(vec![long]).encode())));
    let entries: Vec<u8> = std::iter::repeat_n(ima::entry("/x", &[1; 32]), 20_000).flatten().collect();
    assert!(entries.len() < 2 << 20);
    denied("an IMA log of twenty thousand entries", "L8", |item| item.ima_log = Some(Bytes(entries)));
    println!("{:60} → {} ms in all", "three logs that are made to cost", start.elapsed().as_millis());
}

#[test]
fn ima_logs_are_believed_as_far_as_the_quote_goes() {
    let world = world();
    let own = |item: &Tpm2Evidence| item.ima_log.clone().unwrap().0;
    denied("an IMA log that was begun anew", "L8", |item| item.ima_log = Some(Bytes(ima::entry("/bin/sh", &[1; 32]))));
    denied("an IMA log with a byte changed", "L8", |item| {
        let mut log = own(item);
        let last = log.len() - 3;
        log[last] ^= 1;
        item.ima_log = Some(Bytes(log));
    });
    denied("an IMA log without its last entry", "L8", |item| {
        let log = own(item);
        item.ima_log = Some(Bytes(log[..log.len() - 10].to_vec()));
    });
    let others = std::fs::read(world.nodes[1].node.ima_log()).unwrap();
    world.nodes[0].node.ima().measure("/usr/bin/only-here", b"a program").unwrap();
    denied("the IMA log of another machine", "L8", |item| item.ima_log = Some(Bytes(others)));
    // What follows the quote is nobody's word: it does no harm, and it gives no claim.
    let reply = changed(&world, |item| {
        let longer = [own(item), ima::entry("/usr/bin/never-ran", &[9; 32])].concat();
        item.ima_log = Some(Bytes(longer));
    });
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let problem =
        refused("a quote of PCR 10 without its log", &changed(&world, |item| item.ima_log = None), Code::Denied);
    assert!(problem.reasons.contains(&"ima_log_missing".to_owned()), "{problem:?}");
}

/// A file that was written while it was measured: what ran is not known.
#[test]
fn ima_violations_are_refused() {
    let world =
        World::with::<1>(&[("pcr_selection", json!({ "bank": "sha256", "pcrs": (0..15).collect::<Vec<u8>>() }))]);
    world.asset(ASSET, |_| ());
    assert_eq!(changed(&world, |_| ()).status, 200);
    world.node().node.ima().violate("/var/lib/job/half-written").unwrap();
    let problem = refused("a violation in the IMA log", &changed(&world, |_| ()), Code::Denied);
    assert_eq!(problem.row.as_deref(), Some("L8"), "{problem:?}");
}
