//! False vaults, and statements that were meant for others.

use super::{ASSET, malformed, not_believed, refused, told, world};
use strongroom::{Error, Options, Room};
use strongroom_protocol::{Code, admin::VaultInfo, challenge::Purpose, join::JoinFile};
use strongroom_tests::{
    Intruder, Reply, Vault, Wire,
    wire::{self, writer_key},
};

fn connect(join: &JoinFile) -> Result<Room, Error> {
    Room::connect(join, Options::default())
}

#[test]
fn a_client_talks_to_the_pinned_vault_only() {
    let world = world();
    let mut other = Vault::init().unwrap();
    assert!(!other.serve().unwrap());
    let (pinned, foreign) = (world.vault.join_file().unwrap(), other.join_file().unwrap());

    let misled = JoinFile { url: foreign.url.clone(), tls_ca: foreign.tls_ca.clone(), ..pinned.clone() };
    not_believed("another vault at the pinned one's place", connect(&misled), "and the join file pins");
    let mixed = JoinFile { ledger_verifier_key: foreign.ledger_verifier_key.clone(), ..pinned.clone() };
    let error = connect(&mixed).err().unwrap();
    told("a join file with another vault's ledger key", &format!("client: {error}"));
    assert!(matches!(error, Error::Join(_)), "{error}");

    let intruder = Intruder::before(&pinned).unwrap();
    let unbelieved = JoinFile { url: intruder.join_file().url, ..pinned.clone() };
    let error = connect(&unbelieved).err().unwrap();
    told("a TLS certificate of another CA", &format!("client: {error}"));
    assert!(matches!(error, Error::NotBelieved(_)) && error.to_string().contains("TLS"), "{error}");

    // A terminator that says it is the pinned vault, over a vault that is not: nothing can be signed.
    let liar = Intruder::before(&foreign).unwrap();
    let claimed = Wire::to(&pinned).unwrap();
    let join = pinned.clone();
    liar.tamper(move |seen, upstream| {
        let reply = upstream.forward(seen)?;
        if seen.path != "/v1/vault" {
            return Ok(reply);
        }
        let mut info: VaultInfo = reply.json()?;
        info.vault_id = join.vault_ids[0];
        info.ledger_verifier_key.clone_from(&join.ledger_verifier_key);
        Ok(Reply { body: serde_json::to_vec(&info)?, ..reply })
    });
    let believed = liar.join_file();
    let misled = JoinFile { url: believed.url, tls_ca: believed.tls_ca, ..pinned.clone() };
    not_believed("another vault that takes the pinned one's id", connect(&misled), "and the join file pins");

    // The node's statement for one vault, sent to the other.
    let asking = claimed.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let request = asking.attest(&claimed, &world.node().devices().unwrap()).unwrap();
    let at_other = Wire::to(&foreign).unwrap();
    let problem = refused("a statement for another vault", &at_other.release(&request).unwrap(), Code::WrongVault);
    assert!(problem.detail.unwrap().contains(&foreign.vault_ids[0].to_string()));
    // The other's nonce in a statement for the pinned one.
    let mut asking = claimed.ask(vec![writer_key(ASSET, 1)]).unwrap();
    asking.statement.nonce = at_other.nonce(Purpose::Release).unwrap();
    let reply = asking.send(&claimed, &world.node().devices().unwrap()).unwrap();
    refused("a nonce of another vault", &reply, Code::NonceInvalid);
    // A vault that knows no nodes knows this one neither, whatever it signs.
    let asking = at_other.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let reply = asking.send(&at_other, &world.node().devices().unwrap()).unwrap();
    refused("a node of another vault", &reply, Code::NotEnrolled);
    assert!(other.stop().unwrap().success());
}

#[test]
fn what_is_not_json_of_the_protocol_is_malformed() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let request = |text: &str| wire.post("/v1/releases", text.as_bytes()).unwrap();
    malformed("a field given twice", &request(r#"{"statement":"AA","statement":"AA","evidence":[]}"#), "body");
    malformed(
        "a field given twice, deep inside",
        &request(r#"{"statement":"AA","evidence":[{"type":"tpm2","type":"tpm2"}]}"#),
        "body",
    );
    malformed("an unknown field", &request(r#"{"statement":"AA","evidence":[],"more":1}"#), "body");
    malformed("malformed base64", &request(r#"{"statement":"!!!!","evidence":[]}"#), "body");
    malformed("padded base64", &request(r#"{"statement":"AA==","evidence":[]}"#), "body");
    malformed("standard base64", &request(r#"{"statement":"+/+/","evidence":[]}"#), "body");
    malformed("evidence of an unknown kind", &request(r#"{"statement":"AA","evidence":[{"type":"oath"}]}"#), "body");
    malformed("a statement that is no JSON", &request(r#"{"statement":"AAAA","evidence":[]}"#), "statement");
    malformed("100,000 brackets", &request(&"[".repeat(100_000)), "body");
    malformed("half a body", &request(r#"{"statement":"#), "body");
    let (url, join) = ("/v1/releases", world.vault.join_file().unwrap());
    let plain = [("content-type".to_owned(), "text/plain".to_owned())];
    let agent = wire::agent(&join).unwrap();
    let reply = wire::send(&agent, "POST", &format!("{}{url}", join.url), &plain, b"{}".to_vec()).unwrap();
    malformed("JSON that says it is text", &reply, "content-type");
    let announced = wire.announce(url, (4 << 20) + 1).unwrap();
    refused("a body over 4 MiB, announced", &announced, Code::TooLarge);
    let bytes = |length: usize| strongroom_protocol::Bytes(vec![7; length]).to_string();
    let reply = request(&format!(r#"{{"statement":"{}","evidence":[]}}"#, bytes((1 << 20) + 1)));
    assert_eq!(refused("a statement over 1 MiB", &reply, Code::TooLarge).field.as_deref(), Some("statement"));
    let reply = request(&format!(r#"{{"statement":"AA","caller":"{}","evidence":[]}}"#, bytes((64 << 10) + 1)));
    assert_eq!(refused("caller bytes over 64 KiB", &reply, Code::TooLarge).field.as_deref(), Some("caller"));
}
