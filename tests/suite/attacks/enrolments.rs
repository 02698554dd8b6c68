//! Enrolments: somebody else's EK, somebody else's secret, a TPM that nobody vouches for.

use super::{refused, told, world};
use strongroom_collect::Enroller as _;
use strongroom_protocol::{
    Bytes, Code,
    challenge::Purpose,
    enrol::{ActivateRequest, EnrolChallenge, EnrolRequest},
};
use strongroom_tests::{Cli, Machine, Vault, Wire, member};

#[test]
fn an_identity_is_the_ek_that_can_open_the_credential() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let (victim, thief) = (world.nodes[0].devices().unwrap(), world.nodes[1].devices().unwrap());
    let (theirs, own) = (victim.identity().unwrap(), thief.identity().unwrap());
    let begin = |chain: &[Vec<u8>], ek: &[u8], ak: &[u8]| {
        let request = EnrolRequest {
            ek_certificate_chain: chain.iter().cloned().map(Bytes).collect(),
            ek_public: Bytes(ek.to_vec()),
            ak_public: Bytes(ak.to_vec()),
            requested_labels: [].into(),
            hostname: None,
        };
        wire.post("/v1/nodes", serde_json::to_vec(&request).unwrap()).unwrap()
    };
    // EK certificates are public: whoever has one gets a credential, and cannot open it.
    let challenge: EnrolChallenge =
        begin(&theirs.ek_certificate_chain, &theirs.ek_public, &own.ak_public).json().unwrap();
    let opened = thief.activate_credential(&challenge.credential_blob.0, &challenge.encrypted_secret.0);
    let error = opened.expect_err("another TPM's credential was opened");
    told("another node's EK with one's own AK, at one's own TPM", &format!("TPM: {error}"));
    let nonce = wire.nonce(Purpose::Enrol).unwrap();
    let quote = thief.enrolment_quote(wire.vault, nonce, challenge.enrolment, &wire.selection).unwrap();
    let activate =
        ActivateRequest { secret: Bytes(vec![0; 32]), statement: Bytes(quote.statement), quote: quote.quote };
    let path = format!("/v1/enrolments/{}/activate", challenge.enrolment);
    let reply = wire.post(&path, serde_json::to_vec(&activate).unwrap()).unwrap();
    // The statement names the thief's own EK, since the agent fills it in by itself.
    refused("an activation whose statement is of another EK", &reply, Code::Malformed);

    let challenge: EnrolChallenge = begin(&own.ek_certificate_chain, &own.ek_public, &own.ak_public).json().unwrap();
    let quote = thief.enrolment_quote(wire.vault, nonce, challenge.enrolment, &wire.selection).unwrap();
    let activate =
        ActivateRequest { secret: Bytes(vec![0; 32]), statement: Bytes(quote.statement), quote: quote.quote };
    let path = format!("/v1/enrolments/{}/activate", challenge.enrolment);
    let reply = wire.post(&path, serde_json::to_vec(&activate).unwrap()).unwrap();
    let problem = refused("a guessed activation secret", &reply, Code::EnrolmentRefused);
    assert_eq!(problem.row.as_deref(), Some("E5"));

    let reply = begin(&own.ek_certificate_chain, &theirs.ek_public, &own.ak_public);
    let problem = refused("a certificate of another EK", &reply, Code::EnrolmentRefused);
    assert_eq!(problem.row.as_deref(), Some("E3"));
    let reply = begin(&own.ek_certificate_chain, &own.ek_public, &own.ek_public);
    let problem = refused("a key that decrypts, as an AK", &reply, Code::EnrolmentRefused);
    assert_eq!(problem.row.as_deref(), Some("E4"));
    // Nothing of it touched the nodes that are enrolled.
    let states = world.vault.cli(strongroom_protocol::admin::Role::Operator).unwrap();
    let list = states.run(["node", "list"]).unwrap().done().unwrap().stdout;
    assert_eq!(list.matches("approved").count(), 2, "{list}");
}

#[test]
fn a_tpm_of_an_unknown_vendor_is_nobodys() {
    let [node] = member::boot(&Machine::default()).unwrap();
    let mut vault = Vault::init().unwrap();
    assert!(!vault.serve().unwrap());
    let cli = Cli::new(vault.beside("node")).unwrap();
    cli.join(&vault.join_path()).unwrap();
    let (tcti, log) = (node.tpm.tcti(), node.boot_log());
    let problem = cli.refused(["node", "enroll", "--tcti", &tcti, "--boot-log", log.to_str().unwrap()]).unwrap();
    told("a TPM whose vendor is not trusted", &format!("vault: {} {:?}", problem.code.as_str(), problem.detail));
    assert_eq!((problem.code, problem.row.as_deref()), (Code::EnrolmentRefused, Some("E2")));
    assert!(!cli.home().join("node.json").exists(), "it believes that it is enrolled");
}
