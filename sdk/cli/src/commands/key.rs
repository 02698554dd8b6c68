//! `strongroom key`.

use super::{recorded, segment};
use crate::{
    context::Context,
    output::{Answer, Failure},
};
use clap::Subcommand;
use strongroom::protocol::admin::Recorded;

/// Key versions.
#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make a new key version; older ones only open from then on
    #[command(after_help = "Example:\n  strongroom key rotate minilm")]
    Rotate {
        /// The asset
        asset: String,
    },
    /// Destroy a key version: what was sealed under it can never be opened again
    #[command(after_help = "Example:\n  strongroom key destroy minilm@1 --yes")]
    Destroy {
        /// The key version, as `asset@version`
        key: String,
        /// Yes, for good
        #[arg(long)]
        yes: bool,
    },
}

impl Key {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Rotate { asset } => {
                let answer: Recorded =
                    context.admin()?.post(&format!("/v1/assets/{}/keys", segment(&asset)?), &serde_json::json!({}))?;
                recorded(&format!("{asset}@{} is the active key version", answer.version.unwrap_or_default()), &answer)
            }
            Self::Destroy { key, yes } => {
                let (asset, version) = split(&key)?;
                if !yes {
                    return Err(Failure::usage(format!(
                        "what was sealed under {key} can never be opened again; give --yes if that is meant"
                    )));
                }
                let answer: Recorded =
                    context.admin()?.delete(&format!("/v1/assets/{}/keys/{version}", segment(asset)?))?;
                recorded(&format!("{key} is destroyed"), &answer)
            }
        }
    }
}

fn split(key: &str) -> Result<(&str, u32), Failure> {
    key.rsplit_once('@')
        .and_then(|(asset, version)| Some((asset, version.parse().ok()?)))
        .ok_or_else(|| Failure::usage(format!("`{key}` is not `asset@version`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_version_is_named_with_its_asset() {
        assert_eq!(split("minilm@3").unwrap(), ("minilm", 3));
        for wrong in ["minilm", "minilm@", "minilm@x", "minilm@-1"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
