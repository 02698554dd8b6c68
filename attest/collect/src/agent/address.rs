//! Where the agent is: a socket's path, or a connected socket that a launcher left open.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where the agent listens unless configured otherwise.
pub const SOCKET: &str = "/run/strongroom/agent.sock";
/// The environment's variable that tells a job where the agent is; `strongroom run` sets it.
pub const VARIABLE: &str = "STRONGROOM_AGENT";

/// Where an agent is, written `/run/strongroom/agent.sock` or `fd:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAddress {
    /// A socket in the file system.
    Path(PathBuf),
    /// A connected socket, inherited under this number.
    Descriptor(i32),
}

/// Text that is not an agent's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an agent's address: write an absolute path, or `fd:N` with N from 3", .0.escape_debug())]
pub struct AddressError(String);

impl FromStr for AgentAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        if let Some(number) = text.strip_prefix("fd:") {
            // 0 to 2 are the standard streams, which belong to the program.
            let number = number.parse().ok().filter(|n| *n > 2 && format!("fd:{n}") == text);
            return number.map(Self::Descriptor).ok_or_else(wrong);
        }
        if text.starts_with('/') && !text.chars().any(char::is_control) {
            Ok(Self::Path(text.into()))
        } else {
            Err(wrong())
        }
    }
}

impl AgentAddress {
    /// What [`VARIABLE`] says; `None` if it is not set.
    ///
    /// # Errors
    /// It is set to something that is no address.
    pub fn from_environment() -> Result<Option<Self>, AddressError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a launcher has no other way to say which descriptor it left open"
        )]
        let text = std::env::var(VARIABLE);
        match text {
            Ok(text) => text.parse().map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(text)) => Err(AddressError(text.to_string_lossy().into_owned())),
        }
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_descriptor() {
        for text in ["/run/strongroom/agent.sock", "fd:3", "fd:17"] {
            assert_eq!(text.parse::<AgentAddress>().unwrap().to_string(), text);
        }
        for wrong in ["", "agent.sock", "fd:", "fd:0", "fd:2", "fd:-1", "fd:+3", "fd:03", "fd:3 ", "/run/\n", "unix:/a"]
        {
            assert!(wrong.parse::<AgentAddress>().is_err(), "{wrong:?}");
        }
    }
}
