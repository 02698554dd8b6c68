//! How a process of this node gets evidence: from the agent, or from the devices themselves.

use super::{SOCKET, attester::AgentAttester};
use crate::{
    collector::{Attester, CollectorConfig},
    devices::Devices,
    error::CollectError,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// What `node.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NodeConfig {
    /// `{"agent": "/run/strongroom/agent.sock"}`: the agent owns the devices.
    Agent(AgentConfig),
    /// The devices, opened in process: for nodes that run one job only.
    Devices(CollectorConfig),
}

/// Where the agent listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The agent's socket.
    pub agent: PathBuf,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self { agent: SOCKET.into() }
    }
}

impl NodeConfig {
    /// What gives evidence on this node. An agent is connected to when it is first asked.
    pub fn attester(&self) -> Result<Arc<dyn Attester>, CollectError> {
        Ok(match self {
            Self::Agent(config) => Arc::new(AgentAttester::at(config.agent.clone())),
            Self::Devices(config) => Arc::new(Devices::open(config)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_reference::{keep_part, keys, table};

    #[test]
    fn the_page_of_node_configuration_is_generated() {
        let page = "docs/reference/configuration.md";
        let agent = keys(&schemars::schema_for!(AgentConfig).to_value()).unwrap();
        keep_part(page, "node.json with an agent", &table(&agent)).unwrap();
        let devices = keys(&schemars::schema_for!(CollectorConfig).to_value()).unwrap();
        keep_part(page, "node.json without an agent", &table(&devices)).unwrap();
    }

    #[test]
    fn a_configuration_is_one_of_two() {
        let agent: NodeConfig = serde_json::from_str(r#"{"agent":"/run/a.sock"}"#).unwrap();
        assert_eq!(agent, NodeConfig::Agent(AgentConfig { agent: "/run/a.sock".into() }));
        let devices = r#"{"tcti":"device:/dev/tpmrm0","state_dir":"/var/lib/strongroom-agent"}"#;
        assert!(matches!(serde_json::from_str(devices).unwrap(), NodeConfig::Devices(_)));
        for wrong in ["{}", r#"{"agent":"/a","tcti":"device:/dev/tpmrm0","state_dir":"/s"}"#, r#"{"agent":"/a","x":1}"#]
        {
            assert!(serde_json::from_str::<NodeConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
