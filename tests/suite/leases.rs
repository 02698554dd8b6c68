//! Leases that end otherwise than their holder wishes: revoked by the dozen, behind a cut stream, by a
//! vault that is away, by a power cut.

mod endings;
mod measured;
mod outages;
mod switch;

use crate::world::{World, act};
use serde_json::{Value, json};
use strongroom::{Error, LeaseOver, OpenObject};
use strongroom_protocol::{LeaseId, admin::Role, lease::RevokeLease};

/// The records that the ledger has of a lease, the oldest first.
fn story(world: &World, lease: LeaseId) -> Vec<Value> {
    let lease = json!(lease);
    world.records(&[]).into_iter().filter(|record| record["lease"] == lease).collect()
}

fn over(object: &OpenObject) -> Option<LeaseOver> {
    match object.plaintext() {
        Ok(_) => None,
        Err(Error::LeaseOver(over)) => Some(over),
        Err(other) => panic!("{other}"),
    }
}

fn revoke(world: &World, lease: LeaseId) {
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    act(&custodian, &format!("/v1/leases/{lease}/revoke"), &RevokeLease { reason: "incident 17".into() });
}
