//! Where this client keeps what it knows: join file, node configuration, AK, token.

use crate::{
    OpenDevices,
    output::{Exit, Failure},
    private_file::PrivateFile,
    work::given,
};
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use strongroom::{
    Admin, Error, Options, Patience, Room, Token,
    collect::{AgentAddress, Attester, CollectorConfig, Devices, NodeConfig, agent::SOCKET},
    protocol::{EnrolmentId, join::JoinFile},
};

/// Longest configuration file that is read, bytes.
const CONFIGURATION: u64 = 1 << 20;
/// Most patience with a vault of which nothing is wanted but a sign of life.
const GLANCE: Duration = Duration::from_secs(5);

/// What every command may need.
pub(crate) struct Context {
    home: PathBuf,
    token_file: Option<PathBuf>,
    agent: Option<AgentAddress>,
    pub(crate) json: bool,
    patience: Patience,
    open_devices: OpenDevices,
}

impl Context {
    pub(crate) fn new(
        home: Option<PathBuf>,
        token_file: Option<PathBuf>,
        agent: Option<AgentAddress>,
        json: bool,
        patience: Patience,
        open_devices: OpenDevices,
    ) -> Result<Self, Failure> {
        let home = match home {
            Some(home) => home,
            None if rustix::process::geteuid().is_root() => PathBuf::from("/etc/strongroom"),
            None => std::env::home_dir()
                .map(|home| home.join(".config/strongroom"))
                .ok_or_else(|| Failure::usage("there is no home directory: give --home DIR"))?,
        };
        // What is written there names files, and has to name the same ones from every directory.
        let home = absolute(&home)?;
        Ok(Self { home, token_file, agent, json, patience, open_devices })
    }

    pub(crate) fn join_path(&self) -> PathBuf {
        self.home.join("join.json")
    }

    pub(crate) fn node_path(&self) -> PathBuf {
        self.home.join("node.json")
    }

    pub(crate) fn token_path(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| self.home.join("token"))
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.home.join("node")
    }

    pub(crate) fn join_file(&self) -> Result<JoinFile, Failure> {
        let path = self.join_path();
        if !is_there(&path)? {
            return Err(Failure::usage(format!(
                "{} is not there: run `strongroom join FILE` with the file that `strongroomd init` wrote",
                path.display()
            )));
        }
        read_json(&path)
    }

    pub(crate) fn room(&self, options: Options) -> Result<Room, Failure> {
        Ok(Room::connect(&self.join_file()?, Options { patience: self.patience, ..options })?)
    }

    /// For commands that ask the vault as a person or a machine that administers.
    pub(crate) fn admin(&self) -> Result<Admin, Failure> {
        let path = match &self.token_file {
            Some(given) if !is_there(given)? => {
                return Err(Failure::usage(format!("token file {} is not there", given.display())));
            }
            Some(given) => given.clone(),
            None => self.home.join("token"),
        };
        if !is_there(&path)? {
            return Err(Failure::usage(format!(
                "this command needs a token: give --token-file FILE, or put it into {} (mode 0600)",
                path.display()
            )));
        }
        self.connect(&self.join_file()?, Some(Token::from_file(&path)?))
    }

    /// For commands that need nothing but the vault.
    pub(crate) fn anonymous(&self) -> Result<Admin, Failure> {
        self.connect(&self.join_file()?, None)
    }

    /// The same for a look at the vault, which is not to take as long as work may.
    pub(crate) fn glance(&self) -> Result<Admin, Failure> {
        let patience = Patience { total: self.patience.total.min(GLANCE), ..self.patience };
        Admin::connect_patiently(&self.join_file()?, None, patience).map_err(|error| match error {
            // More patience is no remedy for whoever looks what is wrong.
            Error::PatienceOver { cause, .. } => Failure::from(*cause),
            other => other.into(),
        })
    }

    /// Asks the vault of a join file who it is.
    pub(crate) fn connect(&self, join: &JoinFile, token: Option<Token>) -> Result<Admin, Failure> {
        Ok(Admin::connect_patiently(join, token, self.patience)?)
    }

    /// How this node gets evidence, where that was configured.
    pub(crate) fn node_config(&self) -> Result<Option<NodeConfig>, Failure> {
        let path = self.node_path();
        if !is_there(&path)? {
            return Ok(None);
        }
        let config = read_json(&path)?;
        if let NodeConfig::Devices(devices) = &config {
            self.check_state_dir(&path, &devices.state_dir)?;
        }
        Ok(Some(config))
    }

    /// Refuses a place of the AK that depends on where the command was started, and names one that
    /// belongs to another home.
    fn check_state_dir(&self, config: &Path, state_dir: &Path) -> Result<(), Failure> {
        let own = self.state_dir();
        if state_dir.is_relative() {
            return Err(Failure::usage(format!(
                "{}: `state_dir` is {}, which is another directory wherever you are: write its absolute path, such as {}",
                config.display(),
                state_dir.display(),
                own.display()
            )));
        }
        if state_dir != own && own.exists() {
            tracing::warn!(
                "{} names {} for this node's AK, not {}: if this home was copied, the AK is the original's",
                config.display(),
                state_dir.display(),
                own.display()
            );
        }
        Ok(())
    }

    /// The agent that was named, by argument or environment.
    pub(crate) fn agent(&self) -> Option<&AgentAddress> {
        self.agent.as_ref()
    }

    /// Where this node's agent is; `None` on a node whose evidence is collected in process.
    pub(crate) fn agent_place(&self) -> Result<Option<AgentAddress>, Failure> {
        Ok(match (&self.agent, self.node_config()?) {
            (Some(address), _) => Some(address.clone()),
            (None, Some(NodeConfig::Agent(config))) => Some(AgentAddress::Path(config.agent)),
            (None, Some(NodeConfig::Devices(_))) => None,
            (None, None) => Some(AgentAddress::Path(SOCKET.into())),
        })
    }

    pub(crate) fn enrolment_path(&self) -> PathBuf {
        self.home.join("enrolment")
    }

    /// The enrolment of this machine, to ask after.
    pub(crate) fn enrolment(&self) -> Result<EnrolmentId, Failure> {
        let path = self.enrolment_path();
        if !is_there(&path)? {
            return Err(not_enrolled(&path));
        }
        let text = String::from_utf8_lossy(&read_capped(&path, 64)?).into_owned();
        text.trim().parse().map_err(|e| Failure::usage(format!("{}: {e}", path.display())))
    }

    /// What gives evidence on this node.
    pub(crate) fn attester(&self) -> Result<Arc<dyn Attester>, Failure> {
        let config = self.node_config()?;
        if self.agent.is_none() && config.is_none() && !Path::new(SOCKET).exists() {
            return Err(not_enrolled(&self.node_path()));
        }
        if let (None, Some(NodeConfig::Devices(devices))) = (&self.agent, &config) {
            return Ok(Arc::new(self.open_devices(devices)?));
        }
        Ok(strongroom::attester(self.agent.as_ref(), config.as_ref())?)
    }

    /// The devices that a configuration names, in this process.
    pub(crate) fn open_devices(&self, config: &CollectorConfig) -> Result<Devices, Error> {
        Ok((self.open_devices)(config)?)
    }

    /// Writes a file of the home directory, whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |source| Failure::file(path, source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.home).map_err(failed)?;
        // Under a hidden name of its own first: two commands may write at one time.
        let mut file = PrivateFile::create(path, true, ".strongroom.")?;
        file.write_all(bytes).map_err(failed)?;
        file.commit()
    }
}

/// Whether a file is there. What this user may not look at is not taken for missing.
pub(crate) fn is_there(path: &Path) -> Result<bool, Failure> {
    path.try_exists().map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            Exit::Usage,
            format!(
                "{}: this user may not look there: run this as the user whose directory it is, or give --home a \
                 directory of your own",
                path.display()
            ),
        ),
        _ => Failure::file(path, error),
    })
}

/// The same path from every directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|source| Failure::file(path, source))
}

fn not_enrolled(missing: &Path) -> Failure {
    Failure::usage(format!(
        "{} is not there, and no agent listens at {SOCKET}: this machine is not enrolled; run `strongroom node enroll`",
        missing.display()
    ))
}

/// Reads a JSON file of a known type, with a cap.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let bytes = read_capped(path, CONFIGURATION)?;
    strongroom::protocol::objects::from_slice(&bytes).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))
}

/// Reads a regular file of at most `limit` bytes. A pipe or a device might never end, or never begin.
pub(crate) fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(Failure::usage(format!("{}: not a regular file", path.display()))),
        _ => read_capped(path, limit),
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = given(path)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, limit + 1), &mut bytes)
        .map_err(|source| Failure::file(path, source))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(Exit::Usage, format!("{}: over {limit} bytes", path.display())));
    }
    Ok(bytes)
}
