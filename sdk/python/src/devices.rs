//! Who attests for this process.

use std::{
    io::Read,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use strongroom::{
    Error,
    collect::{AgentAddress, Attester, CollectError, NodeConfig, Wanted},
    open_input,
    protocol::evidence::Evidence,
};

/// Longest configuration file that is read, bytes.
const CONFIGURATION: u64 = 1 << 20;

/// What gives evidence on this node: the agent that a launcher names in the environment, what the node's
/// configuration says if there is one, or the agent at its usual place.
pub(crate) fn attester(node: &Path) -> Result<Arc<dyn Attester>, Error> {
    let address = AgentAddress::from_environment().map_err(|e| Error::Join(e.to_string()))?;
    let config: Option<NodeConfig> = if node.exists() { Some(read_json(node)?) } else { None };
    let attester = strongroom::attester(address.as_ref(), config.as_ref())?;
    Ok(Arc::new(InTurn { attester, turn: Mutex::new(()) }))
}

/// Reads a JSON file of a known type, with a cap.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = open_input(path)?;
    file.take(CONFIGURATION + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CONFIGURATION {
        return Err(Error::Join(format!("{}: over {CONFIGURATION} bytes", path.display())));
    }
    serde_json::from_slice(&bytes).map_err(|e| Error::Join(format!("{}: {e}", path.display())))
}

/// One at a time: a TPM without a resource manager serves one connection, and several threads and
/// keepers of a job ask at once.
struct InTurn {
    attester: Arc<dyn Attester>,
    turn: Mutex<()>,
}

impl Attester for InTurn {
    fn caller(&self) -> Result<Option<Vec<u8>>, CollectError> {
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.attester.caller()
    }

    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.attester.collect(statement, caller, wanted)
    }
}
