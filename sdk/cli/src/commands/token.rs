//! `strongroom token`.

use super::{recorded, segment};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
    private_file::PrivateFile,
    times,
};
use clap::Subcommand;
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};
use strongroom::protocol::admin::{
    CreateToken, CreatedToken, Recorded, Role, RotateToken, RotatedToken, TokenState, TokenView,
};

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
    /// Put another token in the place of your own: the same person, roles and expiry, a new secret
    #[command(
        after_help = "Example:\n  strongroom token rotate --token-file alice.token\n\nThe file is replaced when the vault has answered. If the answer is lost, the old token is good for its grace, and an administrator makes a new one."
    )]
    Rotate {
        /// How long the old token stays good, at most an hour
        #[arg(long, default_value = "5m", value_name = "DURATION")]
        grace: String,
        /// End the old token at once: somebody may have read it
        #[arg(long, conflicts_with = "grace")]
        at_once: bool,
        /// Write the new token to this new file, and leave the old one
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
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
            Self::Rotate { grace, at_once, out } => {
                let grace = if at_once { 0 } else { times::seconds(&grace)? };
                rotate(context, grace, out)
            }
            Self::List => {
                let tokens: Vec<TokenView> = context.admin()?.get("/v1/tokens")?;
                let rows: Vec<_> = tokens
                    .iter()
                    .map(|t| {
                        let used = t.last_used_at.clone().unwrap_or_else(|| "-".to_owned());
                        [t.id.clone(), t.person.clone(), roles(&t.roles), state(t), used]
                    })
                    .collect();
                Answer::new(&tokens, table(["TOKEN", "PERSON", "ROLES", "VALID", "LAST USED"], &rows))
            }
        }
    }
}

/// The new secret goes where the old one was, or to a file of its own: the file first, since a token
/// that cannot be kept must not be made.
fn rotate(context: &Context, grace: u64, out: Option<PathBuf>) -> Result<Answer, Failure> {
    let admin = context.admin()?;
    let replaces = out.is_none();
    let path = out.unwrap_or_else(|| context.token_path());
    let mut file = PrivateFile::create(&path, replaces, ".strongroom.")?;
    let rotated: RotatedToken = admin.post("/v1/tokens/self/rotate", &RotateToken { grace })?;
    let token = zeroize::Zeroizing::new(rotated.token);
    file.write_all(token.as_bytes()).map_err(|source| Failure::file(&path, source))?;
    file.commit()?;
    Answer::new(
        &serde_json::json!({
            "id": rotated.id, "path": path, "expires_at": rotated.expires_at, "old_ends_at": rotated.old_ends_at,
        }),
        format!(
            "token {} written to {}\nit expires at {}, the old one ends at {}",
            rotated.id,
            path.display(),
            rotated.expires_at,
            rotated.old_ends_at
        ),
    )
}

/// Roles for people.
pub(super) fn roles(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
}

/// What a token is good for, for people.
pub(super) fn state(token: &TokenView) -> String {
    match (token.state, &token.replaced_by) {
        (TokenState::Active, _) => format!("until {}", token.expires_at),
        (TokenState::Replaced, Some(by)) => format!("until {}, replaced by {by}", token.expires_at),
        (TokenState::Replaced, None) => format!("until {}, replaced", token.expires_at),
        (TokenState::Expired, _) => "expired".to_owned(),
        (TokenState::Revoked, Some(by)) => format!("replaced by {by}"),
        (TokenState::Revoked, None) => "revoked".to_owned(),
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
        let all: Vec<_> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("there are the roles {}", all.join(", "))
    })
}
