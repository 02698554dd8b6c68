//! `strongroom join`.

use crate::{
    context::{Context, read_json},
    output::{Answer, Exit, Failure},
};
use serde_json::json;
use std::path::PathBuf;
use strongroom::protocol::join::JoinFile;

/// Joins a vault.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom join vault/join.json")]
pub(crate) struct Join {
    /// The join file that `strongroomd init` wrote; it holds no secret, but get it from somebody whom you believe
    file: PathBuf,
    /// Replace a join file that is there already
    #[arg(long)]
    replace: bool,
}

impl Join {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let path = context.join_path();
        if path.exists() && !self.replace {
            return Err(Failure::usage(format!(
                "{} is there already: give --replace to join another vault",
                path.display()
            )));
        }
        let join: JoinFile = read_json(&self.file)?;
        let admin = context.connect(&join, None)?;
        let info = admin.info();
        let bytes = serde_json::to_vec_pretty(&join).map_err(|e| Failure::new(Exit::Machine, e.to_string()))?;
        context.write(&path, &bytes)?;
        let mut text = format!("joined the vault {} at {}\nwritten to {}\n", info.vault_id, join.url, path.display());
        if info.four_eyes_waived {
            text.push_str("this is a development vault: four eyes are waived\n");
        }
        Answer::new(
            &json!({ "vault_id": info.vault_id, "url": join.url, "path": path, "four_eyes_waived": info.four_eyes_waived }),
            text,
        )
    }
}
