//! `strongroom reference`.

use super::recorded;
use crate::{
    context::{Context, read_json},
    output::{Answer, Failure, table},
};
use clap::{ArgGroup, Subcommand};
use std::path::PathBuf;
use strongroom::protocol::{
    NodeId,
    admin::{RecordReference, Recorded, ReferenceView},
};

/// Reference values.
#[derive(Subcommand)]
pub(crate) enum Reference {
    /// Record a new version of a named set
    #[command(
        group(ArgGroup::new("source").required(true).args(["from_node", "values"])),
        after_help = "Example:\n  strongroom reference record gpu-nodes --from-node NODE_ID"
    )]
    Record {
        /// The set's name
        name: String,
        /// Take the PCR values that this node showed last
        #[arg(long, value_name = "NODE_ID", allow_hyphen_values = true)]
        from_node: Option<NodeId>,
        /// Take the values of a JSON file: {"bank": "sha256", "pcrs": {"0": "…"}}
        #[arg(long, value_name = "FILE")]
        values: Option<PathBuf>,
    },
    /// All versions of all sets
    #[command(after_help = "Example:\n  strongroom reference list")]
    List,
}

impl Reference {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Record { name, from_node, values } => {
                let values = values.map(|path| read_json(&path)).transpose()?;
                let body = RecordReference { name, from_node, values };
                let answer: Recorded = context.admin()?.post("/v1/references", &body)?;
                let version = answer.version.unwrap_or_default();
                recorded(&format!("reference set {}, version {version}, recorded", body.name), &answer)
            }
            Self::List => {
                let sets: Vec<ReferenceView> = context.admin()?.get("/v1/references")?;
                let rows: Vec<_> = sets
                    .iter()
                    .map(|set| {
                        let pcrs: Vec<_> = set.values.pcrs.0.keys().map(ToString::to_string).collect();
                        [
                            set.name.clone(),
                            set.version.to_string(),
                            pcrs.join(","),
                            set.recorded_at.clone(),
                            set.source.clone(),
                        ]
                    })
                    .collect();
                Answer::new(&sets, table(["SET", "VERSION", "PCRS", "RECORDED", "FROM"], &rows))
            }
        }
    }
}
