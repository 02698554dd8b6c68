//! Guests of TDX: known by their platform, judged by the collateral that was imported.

use super::{ASSET, Estate, devices_of, values};
use crate::world::content;
use serde_json::{Value, json};
use std::{fs, sync::Arc};
use strongroom::{LeaseOver, Request};
use strongroom_collect::{CollectorConfig, Devices, LogSource};
use strongroom_protocol::{
    Bytes, NodeId,
    admin::{ReferenceValues, SnpValues, TdxValues},
    evidence::{Evidence, EvidenceKind},
    requirements::Register,
    sha256,
};
use strongroom_tests::{
    Makers, Vault, Wire,
    confidential::{Below, Served, TrustDomain, devices},
    wire::writer_key,
};

/// Tier 2 that names what the guests of these makers boot.
fn estate() -> Estate {
    let makers = Makers::new();
    let (mrtd, rtmrs) = makers.trust_domain(0xee).change(|domain| (domain.body.mrtd, domain.body.rtmrs));
    let one = |register: [u8; 48]| json!({ "one_of": [Register(register)] });
    let settings = json!({ "tcb_statuses": ["UpToDate"], "rtmrs": { "1": one(rtmrs[1]), "2": one(rtmrs[2]) } });
    let mrtds = [Register(mrtd)].into();
    let values = ReferenceValues { tdx: TdxValues { mrtds }, ..values(SnpValues::default()) };
    Estate::founded(Vault::init().unwrap(), makers, "tier2", &[("tdx", settings)], values)
}

impl Estate {
    /// A guest on a platform that an operator has registered.
    fn trust_domain(&self, platform: u8) -> (Arc<TrustDomain>, NodeId) {
        let guest = Arc::new(self.makers.trust_domain(platform));
        let node = self.import_by(&[guest.ppid()]);
        (guest, node)
    }
}

fn opened(guest: &Arc<TrustDomain>) -> Devices {
    devices_of(guest, &[EvidenceKind::Tdx])
}

#[test]
fn a_file_is_sealed_and_opened_in_a_trust_domain() {
    let estate = estate();
    let guest = Arc::new(estate.makers.trust_domain(0x71));
    let (cli, _served): (_, Served) = estate.desk("td-1", Arc::clone(&guest) as _);
    let enrolled: Value = cli.ask(["node", "enroll", "--hostname", "td-1", "--device", "tdx"]).unwrap();
    let line = enrolled["import"].as_str().unwrap();
    assert!(line.contains(&guest.ppid().to_string()), "{line}");
    let node = estate.import(line);
    let file = cli.home().join("weights");
    let plaintext = content(9, 1 << 20);
    fs::write(&file, &plaintext).unwrap();
    let seal = ["seal", file.to_str().unwrap(), "--asset", ASSET];

    // Nobody has imported yet what Intel says of such platforms.
    let problem = cli.refused(seal).unwrap();
    assert_eq!((problem.status, problem.row.as_deref()), (401, Some("T1")), "{problem:?}");
    estate.vault.import(vec![estate.makers.intel().published()]).unwrap();
    let sealed: Value = cli.ask(seal).unwrap();
    let opened: Value = cli.ask(["open", sealed["file"].as_str().unwrap(), "--asset", ASSET, "--digest"]).unwrap();
    assert_eq!(opened["sha256"], hex::encode(sha256(&plaintext)), "{opened}");

    // What an auditor is shown of the decisions: the guest, its platform, and what Intel says of it.
    let decided = estate.decided(node);
    assert_eq!(decided.len(), 2, "{decided:?}");
    for (decision, verdict) in decided {
        assert_eq!(verdict, "released");
        let claims = estate.decision(decision).input["claims"].clone();
        assert_eq!(claims["tdx"]["platform"]["ppid"], guest.ppid().value.as_str(), "{claims}");
        assert_eq!(claims["tdx"]["tcb"]["status"], "UpToDate", "{claims}");
        assert!(claims["tpm"].is_null() && claims["snp"].is_null(), "{claims}");
        let explained = estate.explained(decision);
        assert!(explained.contains("released") && explained.contains("in the ledger"), "{explained}");
    }
}

#[test]
fn each_thing_that_is_wrong_with_a_trust_domain_is_refused_by_itself() {
    let estate = estate();
    estate.vault.import(vec![estate.makers.intel().published()]).unwrap();
    let (guest, _) = estate.trust_domain(0x72);
    let devices = opened(&guest);
    estate.released(&devices);
    let honest = guest.change(|domain| (domain.body.clone(), domain.platform.clone()));
    let restore = || guest.change(|domain| (domain.body, domain.platform) = honest.clone());

    // The guest: debugged, of other firmware, of another kernel.
    guest.change(|domain| domain.body.attributes |= 1);
    estate.denied("a guest that may be debugged", &devices, "evidence_t1");
    restore();
    guest.change(|domain| domain.body.mrtd = [9; 48]);
    estate.denied("an MRTD that is in no set", &devices, "launch_mismatch");
    restore();
    guest.change(|domain| domain.body.rtmrs[2] = [9; 48]);
    estate.denied("another kernel", &devices, "evidence_t1");
    restore();
    // The platform: older than Intel calls up to date, one that nobody imported collateral of, one nobody registered.
    guest.change(|domain| domain.platform.cpu_svn = [1; 16]);
    estate.denied("firmware that is out of date", &devices, "evidence_t1");
    restore();
    guest.change(|domain| domain.platform.fmspc = vec![0xb0, 0xc0, 0x6f, 0, 0, 1]);
    estate.unbelieved("a platform without collateral", &devices, "T1");
    restore();
    guest.change(|domain| domain.platform.ppid = vec![0x7e; 16]);
    let problem = estate.refused("a platform that nobody registered", &devices);
    assert_eq!((problem.status, problem.decision_id), (401, None), "{problem:?}");
    restore();
    estate.released(&devices);

    // Revoked: by a list that is imported while the vault runs.
    let serial = guest.change(|domain| domain.serial.clone());
    estate.makers.intel().revoke(&serial);
    estate.vault.import(vec![estate.makers.intel().published()]).unwrap();
    estate.unbelieved("a platform whose PCK certificate is revoked", &devices, "T1");
    let (other, _) = estate.trust_domain(0x73);
    estate.released(&opened(&other));
}

#[test]
fn a_quote_is_of_one_statement_and_its_log_of_the_quote() {
    let estate = estate();
    estate.vault.import(vec![estate.makers.intel().published()]).unwrap();
    let (guest, _) = estate.trust_domain(0x74);
    let wire = Wire::to(&estate.vault.join_file().unwrap()).unwrap();
    let ask = || wire.ask(vec![writer_key(ASSET, 1)]).unwrap().attest(&wire, &opened(&guest)).unwrap();
    let (earlier, mut later) = (ask(), ask());
    let own = std::mem::replace(&mut later.evidence, earlier.evidence);
    let problem = wire.release(&later).unwrap().problem().unwrap();
    assert_eq!((problem.status, problem.row.as_deref(), problem.decision_id), (401, Some("T1"), None), "{problem:?}");
    later.evidence = own;
    assert_eq!(wire.release(&later).unwrap().status, 200);

    // The event log beside the quote, from a file, and one that tells of another boot.
    let (log, dir) = (guest.change(|domain| domain.ccel.bytes()), tempfile::tempdir().unwrap());
    let file = dir.path().join("ccel");
    let with_log = |log: &[u8]| {
        fs::write(&file, log).unwrap();
        let tcti = "device:/nonexistent".parse().unwrap();
        let (kinds, ccel) = (vec![EvidenceKind::Tdx], LogSource::File(file.clone()));
        let config = CollectorConfig { devices: kinds, ccel, ..CollectorConfig::new(tcti, "/nonexistent".into()) };
        let below: Arc<dyn Below> = Arc::clone(&guest) as _;
        devices(&below, &config).unwrap()
    };
    let decision = estate.released(&with_log(&log));
    let claims = estate.decision(decision).input["claims"].clone();
    println!("{}", claims["tdx"]["log"]);
    assert!(!claims["tdx"]["log"].is_null(), "{claims}");
    let mut other = guest.change(|domain| domain.ccel.clone());
    other.events.truncate(2);
    estate.denied("an event log of another boot", &with_log(&other.bytes()), "evidence_t1");
    // Without its end a quote is none.
    let mut cut = ask();
    let Some(Evidence::Tdx(item)) = cut.evidence.first_mut() else { unreachable!() };
    item.quote = Bytes(item.quote.0[..600].to_vec());
    let problem = wire.release(&cut).unwrap().problem().unwrap();
    assert_eq!((problem.status, problem.row.as_deref()), (401, Some("T1")), "{problem:?}");
}

#[test]
fn a_lease_of_a_trust_domain_is_renewed_by_its_quotes_and_ends_where_they_change() {
    let estate = estate();
    estate.vault.import(vec![estate.makers.intel().published()]).unwrap();
    let (guest, node) = estate.trust_domain(0x75);
    let (room, devices) = (estate.room(), opened(&guest));
    let lease = room.release(&devices, Request::new().writer(ASSET, 1)).unwrap();
    lease.reattest(&room, &devices).unwrap();
    // The same platform, and other software in the guest.
    guest.change(|domain| domain.body.rtmrs[2] = [9; 48]);
    let refused = lease.reattest(&room, &devices).unwrap_err();
    println!("a renewal after another kernel was booted → {refused}");
    assert_eq!(refused.problem().unwrap().reasons, ["evidence_t1"]);
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{:?}", lease.check());
    let ended = estate.records(node).iter().any(|record| record["details"]["lease_ended"].is_string());
    assert!(ended, "{:?}", estate.records(node));
}
