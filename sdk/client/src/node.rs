//! What gives evidence on this node.

use crate::Error;
use std::{path::Path, sync::Arc};
use strongroom_collect::{AgentAddress, AgentAttester, Attester, CollectError, NodeConfig, agent::SOCKET};
use strongroom_memory::inherited_descriptor;

/// What gives evidence on this node: the agent at `address` if there is one (`strongroom run` names it in
/// the environment, see [`AgentAddress::from_environment`]); else what `config` says; else the agent at its
/// usual place.
///
/// # Errors
/// [`CollectError::AgentMissing`] if there is nothing of the three; what opening devices says.
pub fn attester(address: Option<&AgentAddress>, config: Option<&NodeConfig>) -> Result<Arc<dyn Attester>, Error> {
    match (address, config) {
        (Some(AgentAddress::Path(path)), _) => Ok(Arc::new(AgentAttester::at(path.clone()))),
        (Some(AgentAddress::Descriptor(number)), _) => {
            let socket = inherited_descriptor(*number).map_err(|source| CollectError::AgentLost {
                socket: format!("fd:{number}").into(),
                doing: "taking over the inherited connection",
                source,
            })?;
            Ok(Arc::new(AgentAttester::over(socket)))
        }
        (None, Some(config)) => Ok(config.attester()?),
        (None, None) if Path::new(SOCKET).exists() => Ok(Arc::new(AgentAttester::at(SOCKET.into()))),
        (None, None) => Err(CollectError::AgentMissing { socket: SOCKET.into() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_open_is_named() {
        let error = attester(Some(&AgentAddress::Descriptor(1_000_000)), None).err().unwrap();
        assert!(error.to_string().contains("fd:1000000"), "{error}");
    }

    #[test]
    fn an_address_comes_before_a_configuration() {
        let address = AgentAddress::Path("/nonexistent/a.sock".into());
        let config = serde_json::from_str(r#"{"agent":"/nonexistent/b.sock"}"#).unwrap();
        let missing = |address: Option<&AgentAddress>| attester(address, Some(&config)).unwrap().caller().unwrap_err();
        assert!(missing(Some(&address)).to_string().contains("a.sock"));
        assert!(missing(None).to_string().contains("b.sock"));
    }
}
