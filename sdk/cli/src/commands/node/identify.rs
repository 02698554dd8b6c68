//! `strongroom node identify`.

use crate::{
    context::Context,
    output::{Answer, Failure},
};
use serde_json::json;
use strongroom::{Identified, Options};

/// `strongroom node identify` has no arguments: what is sent is what the node's configuration names.
#[derive(clap::Args)]
pub(crate) struct Identify {}

impl Identify {
    pub(super) fn run(context: &Context) -> Result<Answer, Failure> {
        let room = context.room(Options::default())?;
        let attester = context.attester()?;
        let Identified { node, added, decision } = room.identify(&*attester)?;
        let first = match added.len() {
            0 => format!("nothing was added: the record of node {node} lists all that its devices show"),
            count => format!("{count} came into the record of node {node}:"),
        };
        let lines = [vec![first], added.iter().map(ToString::to_string).collect(), vec![format!("record {decision}")]];
        Answer::new(&json!({ "node": node, "added": added, "record": decision }), lines.concat().join("\n"))
    }
}
