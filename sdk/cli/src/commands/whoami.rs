//! `strongroom whoami`.

use super::token;
use crate::{
    context::Context,
    output::{Answer, Failure},
};
use strongroom::protocol::admin::TokenView;

/// Whose token this is, as the vault knows it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom whoami --token-file alice.token")]
pub(crate) struct WhoAmI {}

impl WhoAmI {
    pub(crate) fn run(context: &Context) -> Result<Answer, Failure> {
        let token: TokenView = context.admin()?.get("/v1/tokens/self")?;
        let text = [
            ("person", token.person.clone()),
            ("roles", token::roles(&token.roles)),
            ("token", token.id.clone()),
            ("state", token::state(&token)),
            ("expires", token.expires_at.clone()),
            ("created", token.created_at.clone().unwrap_or_else(|| "before such times were kept".to_owned())),
            ("last used", token.last_used_at.clone().unwrap_or_else(|| "not noted yet".to_owned())),
        ]
        .map(|(name, value)| format!("{name:<10} {value}"))
        .join("\n");
        Answer::new(&token, text)
    }
}
