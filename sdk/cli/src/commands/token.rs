//! `strongroom token`.

use super::{recorded, segment};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
    times,
};
use clap::Subcommand;
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};
use strongroom::protocol::admin::{CreateToken, CreatedToken, Recorded, Role, TokenView};

/// Tokens.
#[derive(Subcommand)]
pub(crate) enum Token {
    /// Create a token and write it to a new file of mode 0600
    #[command(
        after_help = "Example:\n  strongroom token create --person alice --role custodian --expires-in 30d --out alice.token"
    )]
    Create {
        /// Whose it is: four eyes count persons, not tokens
        #[arg(long)]
        person: String,
        /// A role (repeat): admin, auditor, custodian, endorser, operator, policy-author, policy-approver
        #[arg(long = "role", required = true, value_parser = role)]
        roles: Vec<Role>,
        /// How long it lives
        #[arg(long, default_value = "30d")]
        expires_in: String,
        /// Where the token is written; it is never printed
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Revoke a token
    #[command(after_help = "Example:\n  strongroom token revoke TOKEN_ID")]
    Revoke {
        /// The token's id, as `token list` shows it
        id: String,
    },
    /// All tokens, without their secrets
    #[command(after_help = "Example:\n  strongroom token list")]
    List,
}

impl Token {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Create { person, roles, expires_in, out } => {
                let body = CreateToken { person, roles, expires_in: times::seconds(&expires_in)? };
                let admin = context.admin()?;
                // The file first: a token that cannot be kept must not be made.
                let failed = |source| Failure::file(&out, source);
                let mut file =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&out).map_err(failed)?;
                let created: CreatedToken = admin.post("/v1/tokens", &body).inspect_err(|_| {
                    let _ = fs::remove_file(&out);
                })?;
                let token = zeroize::Zeroizing::new(created.token);
                file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
                Answer::new(
                    &serde_json::json!({ "id": created.id, "person": body.person, "roles": body.roles, "path": out }),
                    format!("token {} of {} written to {}", created.id, body.person, out.display()),
                )
            }
            Self::Revoke { id } => {
                let answer: Recorded = context.admin()?.delete(&format!("/v1/tokens/{}", segment(&id)?))?;
                recorded(&format!("token {id} revoked"), &answer)
            }
            Self::List => {
                let tokens: Vec<TokenView> = context.admin()?.get("/v1/tokens")?;
                let rows: Vec<_> = tokens
                    .iter()
                    .map(|t| {
                        let roles: Vec<_> = t.roles.iter().map(|r| r.as_str()).collect();
                        let state = if t.revoked { "revoked".to_owned() } else { format!("until {}", t.expires_at) };
                        [t.id.clone(), t.person.clone(), roles.join(","), state]
                    })
                    .collect();
                Answer::new(&tokens, table(["TOKEN", "PERSON", "ROLES", "VALID"], &rows))
            }
        }
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
        let all: Vec<_> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("there are the roles {}", all.join(", "))
    })
}
