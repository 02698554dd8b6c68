//! `strongroom asset`.

use super::{label, recorded};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use strongroom::protocol::admin::{AssetView, CreateAsset, Integrity, Recorded};

/// Assets.
#[derive(Subcommand)]
pub(crate) enum Asset {
    /// Create an asset with key version 1
    #[command(
        after_help = "Example:\n  strongroom asset create minilm --jurisdiction DE --jurisdiction FR --reference-set gpu-nodes"
    )]
    Create(Create),
    /// All assets
    #[command(after_help = "Example:\n  strongroom asset list")]
    List,
}

/// Arguments of `asset create`.
#[derive(clap::Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// A jurisdiction in which it may be opened (repeat); without one: nowhere
    #[arg(long = "jurisdiction", value_name = "CC")]
    jurisdictions: Vec<String>,
    /// A reference set, one of which a node must match (repeat); without one: no node does
    #[arg(long = "reference-set", value_name = "NAME")]
    reference_sets: Vec<String>,
    /// A label that policy may read
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Require a hash of each chunk: for readers that do not trust one another
    #[arg(long)]
    hashed: bool,
    /// Most live leases at one time
    #[arg(long)]
    max_leases: Option<u32>,
}

impl Asset {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Create(c) => {
                let asset = CreateAsset {
                    name: c.name,
                    labels: c.labels.into_iter().collect(),
                    jurisdictions: c.jurisdictions,
                    reference_sets: c.reference_sets,
                    integrity: if c.hashed { Integrity::Hashed } else { Integrity::Plain },
                    max_leases: c.max_leases,
                };
                let answer: Recorded = context.admin()?.post("/v1/assets", &asset)?;
                recorded(&format!("asset {} created, with key version 1", asset.name), &answer)
            }
            Self::List => {
                let assets: Vec<AssetView> = context.admin()?.get("/v1/assets")?;
                let rows: Vec<_> = assets
                    .iter()
                    .map(|view| {
                        let versions: Vec<_> =
                            view.versions.iter().map(|v| format!("{}:{}", v.version, serde_plain(&v.state))).collect();
                        [
                            view.asset.name.clone(),
                            versions.join(" "),
                            view.asset.jurisdictions.join(","),
                            view.asset.reference_sets.join(","),
                            view.created_at.clone(),
                        ]
                    })
                    .collect();
                Answer::new(&assets, table(["ASSET", "KEYS", "OPENED IN", "REFERENCES", "CREATED"], &rows))
            }
        }
    }
}

/// A value's word on the wire.
fn serde_plain(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
