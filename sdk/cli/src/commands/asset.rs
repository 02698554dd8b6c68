//! `strongroom asset`.

use super::{label, recorded, segment};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use strongroom::protocol::admin::{AssetView, CreateAsset, Integrity, Recorded, UpdateAsset};

/// Assets.
#[derive(Subcommand)]
pub(crate) enum Asset {
    /// Create an asset with key version 1
    #[command(
        after_help = "Example:\n  strongroom asset create minilm --jurisdiction DE --jurisdiction FR --reference-set gpu-nodes"
    )]
    Create(Create),
    /// Change an asset; what is given takes the place of all that was there
    #[command(
        after_help = "Example:\n  strongroom asset update minilm --reference-set gpu-nodes --reference-set gpu-nodes-2\n  strongroom asset update minilm --clear max-leases"
    )]
    Update(Update),
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

/// Arguments of `asset update`.
#[derive(clap::Args)]
pub(crate) struct Update {
    /// Its name
    name: String,
    /// All jurisdictions in which it may be opened (repeat)
    #[arg(long = "jurisdiction", value_name = "CC")]
    jurisdictions: Vec<String>,
    /// All reference sets, one of which a node must match (repeat)
    #[arg(long = "reference-set", value_name = "NAME")]
    reference_sets: Vec<String>,
    /// All labels that policy may read (repeat)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Most live leases at one time
    #[arg(long)]
    max_leases: Option<u32>,
    /// What it has none of any more (repeat)
    #[arg(long, value_enum, value_name = "WHAT")]
    clear: Vec<Clear>,
}

/// What an asset may be without.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Clear {
    Jurisdictions,
    ReferenceSets,
    Labels,
    MaxLeases,
}

impl Update {
    fn request(self) -> Result<UpdateAsset, Failure> {
        let cleared = |what| self.clear.contains(&what);
        let both = |what| Failure::usage(format!("give {what} or clear it, not both"));
        let list = |given: Vec<String>, what, option| match (given.is_empty(), cleared(what)) {
            (false, true) => Err(both(option)),
            (false, false) => Ok(Some(given)),
            (true, true) => Ok(Some(Vec::new())),
            (true, false) => Ok(None),
        };
        let jurisdictions = list(self.jurisdictions, Clear::Jurisdictions, "--jurisdiction")?;
        let reference_sets = list(self.reference_sets, Clear::ReferenceSets, "--reference-set")?;
        let labels = match (self.labels.is_empty(), cleared(Clear::Labels)) {
            (false, true) => return Err(both("--label")),
            (true, false) => None,
            _ => Some(self.labels.into_iter().collect()),
        };
        let max_leases = match (self.max_leases, cleared(Clear::MaxLeases)) {
            (Some(_), true) => return Err(both("--max-leases")),
            (None, false) => None,
            (given, _) => Some(given),
        };
        let request = UpdateAsset { labels, jurisdictions, reference_sets, max_leases };
        if request == UpdateAsset::default() {
            return Err(Failure::usage("nothing is to be changed: see --help"));
        }
        Ok(request)
    }
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
                let closed = |none: bool, what: &str| {
                    none.then(|| format!("without {what} the baseline policy opens it for nobody"))
                };
                recorded(&format!("asset {} created, with key version 1", asset.name), &answer).map(|answer| {
                    answer
                        .warn(closed(asset.jurisdictions.is_empty(), "--jurisdiction"))
                        .warn(closed(asset.reference_sets.is_empty(), "--reference-set"))
                })
            }
            Self::Update(update) => {
                let name = update.name.clone();
                let path = format!("/v1/assets/{}", segment(&name)?);
                let request = update.request()?;
                let answer: Recorded = context.admin()?.post(&path, &request)?;
                recorded(&format!("asset {name} changed; live leases follow at their next evidence"), &answer)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn update(change: impl FnOnce(&mut Update)) -> Result<UpdateAsset, Failure> {
        let mut update = Update {
            name: "minilm".to_owned(),
            jurisdictions: vec![],
            reference_sets: vec![],
            labels: vec![],
            max_leases: None,
            clear: vec![],
        };
        change(&mut update);
        update.request()
    }

    #[test]
    fn only_what_is_given_changes() {
        let of = |request: UpdateAsset| serde_json::to_value(request).unwrap();
        let sets = update(|u| u.reference_sets = vec!["a".to_owned(), "b".to_owned()]).ok().map(of);
        assert_eq!(sets, Some(serde_json::json!({ "reference_sets": ["a", "b"] })));
        let cleared = update(|u| u.clear = vec![Clear::MaxLeases, Clear::Jurisdictions, Clear::Labels]).ok().map(of);
        assert_eq!(cleared, Some(serde_json::json!({ "max_leases": null, "jurisdictions": [], "labels": {} })));
        assert!(update(|_| ()).is_err());
        assert!(update(|u| (u.max_leases, u.clear) = (Some(1), vec![Clear::MaxLeases])).is_err());
    }
}
