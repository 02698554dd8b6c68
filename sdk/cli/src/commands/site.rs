//! `strongroom site`.

use super::recorded;
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use strongroom::protocol::admin;

/// Sites.
#[derive(Subcommand)]
pub(crate) enum Site {
    /// Create a site
    #[command(after_help = "Example:\n  strongroom site create fra-1 --jurisdiction DE")]
    Create {
        /// Its name
        name: String,
        /// Where it is: ISO 3166-1 alpha-2
        #[arg(long)]
        jurisdiction: String,
    },
    /// All sites
    #[command(after_help = "Example:\n  strongroom site list")]
    List,
}

impl Site {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Create { name, jurisdiction } => {
                let site = admin::Site { name, jurisdiction };
                let answer = context.admin()?.post("/v1/sites", &site)?;
                recorded(&format!("site {} created in {}", site.name, site.jurisdiction), &answer)
            }
            Self::List => {
                let sites: Vec<admin::Site> = context.admin()?.get("/v1/sites")?;
                let rows: Vec<_> = sites.iter().map(|s| [s.name.clone(), s.jurisdiction.clone()]).collect();
                Answer::new(&sites, table(["SITE", "IN"], &rows))
            }
        }
    }
}
