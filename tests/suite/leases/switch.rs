//! The kill switch, and the smaller ones: from the command to zeroed memory.

use super::over;
use crate::{
    sealing::{open, read_lease, seal_once},
    world::{World, content, eventually},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use strongroom::{Keeper, Lease, LeaseOver, OpenObject, Options, Request, Room, collect::Attester};
use strongroom_protocol::{
    Code,
    admin::{KeyState, Role},
    lease::{LeaseView, RevokedLeases},
};
use strongroom_tests::programs;

/// Clients that hold plaintext when the switch is thrown.
const CLIENTS: usize = 50;
/// Plaintext of each, bytes.
const PLAINTEXT: usize = 256 << 10;

/// One client of the vault, with its own connections.
struct Client {
    lease: Lease,
    opened: OpenObject,
    address: u64,
    keeper: Keeper,
}

/// This process's memory as the kernel shows it to its owner. Not to be had without privileges by a
/// process that has made itself undumpable, as the SDK does.
fn memory() -> Option<File> {
    File::open("/proc/self/mem").ok()
}

/// Whether what stood at this address is gone: zeros, or no memory at all.
fn gone(memory: &File, address: u64) -> bool {
    let mut seen = [0; 4096];
    memory.read_exact_at(&mut seen, address).is_err() || seen == [0; 4096]
}

#[test]
fn the_kill_switch_reaches_the_memory_of_fifty_clients() {
    let world = World::with::<1>(&[("max_leases_per_node", json!(100)), ("renew_after", json!(300))]);
    world.asset("all", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let memory = memory();
    let devices = Arc::new(world.node().devices().unwrap());
    let plaintext = content(5, PLAINTEXT);
    seal_once(&world.node().room(&world.vault).unwrap(), devices.as_ref(), "all", 1, &plaintext, &file);
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let room = Arc::new(Room::connect(&world.vault.join_file().unwrap(), Options::default()).unwrap());
            let lease = read_lease(&room, devices.as_ref(), "all", &file).unwrap();
            let opened = open(&lease, "all", &file).unwrap();
            let address = opened.plaintext().unwrap().as_ptr() as u64;
            let keeper = lease.keep(room, Arc::clone(&devices) as Arc<_>);
            Client { lease, opened, address, keeper }
        })
        .collect();
    // The way of looking works: it sees what is there.
    if let Some(memory) = &memory {
        let mut seen = vec![0; PLAINTEXT];
        for client in &clients {
            memory.read_exact_at(&mut seen, client.address).unwrap();
            assert!(seen == plaintext, "the plaintext is not where it was looked for");
        }
    }
    eventually("fifty streams", || clients.iter().all(|client| client.keeper.is_listening()).then_some(()));

    let operator = world.vault.cli(Role::Operator).unwrap();
    let refused = operator.run(["lease", "revoke", "--all", "--reason", "a drill"]).unwrap();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(clients.iter().all(|client| client.lease.check().is_ok()), "nothing is revoked without --yes");

    let start = Instant::now();
    let (answer, commanded, mut zeroed) = thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut zeroed = vec![None; CLIENTS];
            while zeroed.iter().any(Option::is_none) {
                assert!(start.elapsed() < Duration::from_secs(30), "some were not reached: {zeroed:?}");
                for (client, zeroed) in clients.iter().zip(&mut zeroed).filter(|(_, zeroed)| zeroed.is_none()) {
                    let is_gone = match &memory {
                        Some(memory) => gone(memory, client.address),
                        None => over(&client.opened).is_some(),
                    };
                    *zeroed = is_gone.then(|| start.elapsed());
                }
                thread::sleep(Duration::from_micros(500));
            }
            zeroed.into_iter().flatten().collect::<Vec<_>>()
        });
        let answer: RevokedLeases = operator.ask(["lease", "revoke", "--all", "--yes", "--reason", "a drill"]).unwrap();
        (answer, start.elapsed(), looking.join().unwrap())
    });
    zeroed.sort_unstable();
    println!(
        "revocation of {CLIENTS} clients, by {}: the command took {commanded:?}; from its start to zeroed memory \
         {:?} (first), {:?} (median), {:?} (last)",
        if memory.is_some() { "/proc/self/mem" } else { "the SDK's own view" },
        zeroed[0],
        zeroed[CLIENTS / 2],
        zeroed[CLIENTS - 1],
    );
    assert_eq!(answer.leases, CLIENTS as u64);
    assert_eq!(answer.decrypt_only, Vec::<String>::new(), "none held more than its object's key");
    for client in &clients {
        assert_eq!(over(&client.opened), Some(LeaseOver::Revoked(Some("a drill".into()))));
    }
    let record = world.records(&["--action", "lease.revoked"]).pop().unwrap();
    assert_eq!((&record["actor"]["kind"], &record["actor"]["id"]), (&json!("person"), &json!("operator")));
    assert_eq!(
        (&record["details"]["reason"], &record["details"]["leases_closed"]),
        (&json!("a drill"), &json!(CLIENTS))
    );
    let live: Vec<LeaseView> = operator_list(&world);
    assert!(live.is_empty(), "{live:?}");
}

/// Clients that go on asking while the switch is thrown.
const BUSY: usize = 8;

/// One of them: it keeps what it is given, until it was denied twice. The reasons of its denials.
fn ask_until_denied(
    world: &World,
    devices: &dyn Attester,
    granted: &AtomicUsize,
    held: &Mutex<Vec<Lease>>,
) -> Vec<String> {
    let room = Room::connect(&world.vault.join_file().unwrap(), Options::default()).unwrap();
    let mut reasons = Vec::new();
    while reasons.len() < 2 {
        match room.release(devices, Request::new().writer("busy", 1)) {
            Ok(lease) => {
                held.lock().unwrap().push(lease);
                granted.fetch_add(1, Ordering::SeqCst);
            }
            // Some are taken back before they were delivered.
            Err(strongroom::Error::LeaseOver(_)) => {}
            Err(error) => match error.problem() {
                Some(problem) if problem.code == Code::PossessionRefused => {}
                Some(problem) => reasons.extend(problem.reasons.clone()),
                None => panic!("{error}"),
            },
        }
    }
    reasons
}

/// The switch takes back what is held, and those who are still allowed to ask again. A policy that releases
/// nothing, enforced before it, keeps it so.
#[test]
fn the_kill_switch_stays_thrown_once_a_policy_releases_nothing() {
    let world = World::with::<1>(&[("max_leases_per_node", json!(1000))]);
    world.asset("busy", |_| ());
    // Prepared before there is an incident; it takes one command to put it in force.
    let closed = programs::project().join("policies/closed");
    let author = world.vault.cli(Role::PolicyAuthor).unwrap();
    let proposed: Value = author.ask(["policy", "propose", closed.to_str().unwrap()]).unwrap();
    let digest = proposed["digest"].as_str().unwrap();
    let (approver, operator) =
        (world.vault.cli(Role::PolicyApprover).unwrap(), world.vault.cli(Role::Operator).unwrap());
    let revoke_all =
        || -> RevokedLeases { operator.ask(["lease", "revoke", "--all", "--yes", "--reason", "incident 17"]).unwrap() };

    let (granted, held) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let devices = world.node().devices().unwrap();
    let more = || {
        let before = granted.load(Ordering::SeqCst);
        eventually("more releases", || (granted.load(Ordering::SeqCst) > before + 2).then_some(()));
    };
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..BUSY).map(|_| scope.spawn(|| ask_until_denied(&world, &devices, &granted, &held))).collect();
        more();
        assert!(revoke_all().leases > 0);
        // Who is allowed to has new leases at once.
        more();
        assert!(!operator_list(&world).is_empty());

        approver.run(["policy", "enforce", digest]).unwrap().done().unwrap();
        let taken = revoke_all();
        for client in clients {
            let reasons = client.join().unwrap();
            assert!(reasons.iter().all(|reason| reason == "closed"), "{reasons:?}");
        }
        println!(
            "{BUSY} clients asked on: {} releases, the second switch took {}",
            granted.load(Ordering::SeqCst),
            taken.leases
        );
    });
    let live = operator_list(&world);
    assert!(live.is_empty(), "{live:?}");
    let held = held.into_inner().unwrap();
    assert!(held.iter().all(|lease| lease.renew().is_err()), "a lease outlived the switch");

    world.vault.enforce_baseline(&[("max_leases_per_node", json!(999))]).unwrap();
    let room = world.node().room(&world.vault).unwrap();
    room.release(&devices, Request::new().writer("busy", 1)).unwrap().end().unwrap();
}

fn operator_list(world: &World) -> Vec<LeaseView> {
    world.vault.cli(Role::Custodian).unwrap().ask(["lease", "list"]).unwrap()
}

#[test]
fn leases_are_taken_by_asset_by_node_and_by_site_and_listed_by_pages() {
    let world = World::with::<2>(&[]);
    world.asset("one", |asset| drop(asset.labels.insert("version_scope".into(), "allowed".into())));
    world.asset("two", |_| ());
    let rooms: Vec<_> = world.nodes.iter().map(|n| (n.room(&world.vault).unwrap(), n.devices().unwrap())).collect();
    let writing =
        |node: usize, asset: &str| rooms[node].0.release(&rooms[node].1, Request::new().writer(asset, 1)).unwrap();
    let (custodian, operator) = (world.vault.cli(Role::Custodian).unwrap(), world.vault.cli(Role::Operator).unwrap());
    let ended = |lease: &Lease| lease.renew().is_err();

    let whole = rooms[0].0.release(&rooms[0].1, Request::new().version("one", 1)).unwrap();
    let other = writing(0, "two");
    let answer: RevokedLeases = custodian.ask(["lease", "revoke", "--asset", "one", "--reason", "r"]).unwrap();
    assert_eq!((answer.leases, answer.decrypt_only), (1, vec!["one@1".to_owned()]));
    assert!(ended(&whole) && !ended(&other));
    let ran = operator.run(["lease", "revoke", "--asset", "two", "--reason", "r"]).unwrap();
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("custodian"), "{}", ran.stderr);

    // Nothing new is sealed under what was held whole, and the command says so before it asks for a key.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain"), b"x").unwrap();
    let decided = || world.records(&["--action", "release.decided", "--asset", "one"]).len();
    let before = decided();
    let plain = dir.path().join("plain");
    let ran = world.nodes[0].cli.run(["seal".as_ref(), plain.as_os_str(), "--asset".as_ref(), "one".as_ref()]).unwrap();
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("strongroom key rotate one"), "{}", ran.stderr);
    assert_eq!(decided(), before, "a denial was recorded for what the command could know");
    assert_eq!(rooms[0].0.current("one").unwrap().state, KeyState::DecryptOnly);

    let elsewhere = writing(1, "two");
    let node = world.nodes[0].id.to_string();
    let answer: RevokedLeases = operator.ask(["lease", "revoke", "--node", &node, "--reason", "r"]).unwrap();
    assert_eq!(answer.leases, 1);
    assert!(ended(&other) && !ended(&elsewhere));
    let answer: RevokedLeases = operator.ask(["lease", "revoke", "--site", "fra-1", "--reason", "r"]).unwrap();
    assert_eq!(answer.leases, 1);
    assert!(ended(&elsewhere));

    let all: Vec<LeaseView> = custodian.ask(["lease", "list", "--all"]).unwrap();
    assert_eq!(all.len(), 3);
    let first: Vec<LeaseView> = custodian.ask(["lease", "list", "--all", "--limit", "2"]).unwrap();
    assert_eq!(first, all[..2]);
    let after = all[1].id.to_string();
    let rest: Vec<LeaseView> = custodian.ask(["lease", "list", "--all", "--after", &after]).unwrap();
    assert_eq!(rest, all[2..]);
    let revocations: Vec<Value> = world.records(&["--action", "lease.revoked"]);
    assert_eq!(revocations.len(), 3);
}
