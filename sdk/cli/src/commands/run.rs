//! `strongroom run`.

use crate::{
    context::Context,
    output::{Answer, Exit, Failure},
};
use rustix::{
    fs::Mode,
    io::{FdFlags, fcntl_setfd},
    process::{Resource, Rlimit, setrlimit, umask},
    thread::set_no_new_privs,
};
use std::{
    ffi::OsString,
    io::ErrorKind,
    os::{
        fd::AsRawFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::Command,
};
use strongroom::collect::{AgentAddress, CollectError, agent::VARIABLE};

/// Starts a job, in this very process, with what protects it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom run -- python3 train.py --epochs 3")]
pub(crate) struct Run {
    /// The job's program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    /// Returns only if the program cannot be started: from then on it is this process, so that its id,
    /// its signals and its exit code are the job's.
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::usage("which program is to be run?"));
        };
        let mut job = Command::new(program);
        job.args(arguments);
        let inherited = match context.agent_place()? {
            Some(AgentAddress::Path(path)) => {
                let socket = UnixStream::connect(&path).map_err(|source| {
                    strongroom::Error::from(match source.kind() {
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                            CollectError::AgentMissing { socket: path }
                        }
                        ErrorKind::PermissionDenied => CollectError::AgentPermission { socket: path },
                        _ => CollectError::AgentLost { socket: path, doing: "connecting", source },
                    })
                })?;
                fcntl_setfd(&socket, FdFlags::empty()).map_err(|e| machine("leaving the agent's socket open", e))?;
                job.env(VARIABLE, format!("fd:{}", socket.as_raw_fd()));
                Some(socket)
            }
            // Left open by whoever started us, and named in the environment already; or evidence is
            // collected in process, on a node that runs this one job.
            Some(AgentAddress::Descriptor(_)) | None => None,
        };
        confine()?;
        let error = job.exec();
        drop(inherited);
        let text = format!("{}: cannot be started: {error}", program.to_string_lossy());
        Err(Failure::new(if error.kind() == ErrorKind::NotFound { Exit::Usage } else { Exit::Machine }, text))
    }
}

/// No core dumps, no new rights, no files for others. The program inherits all three.
fn confine() -> Result<(), Failure> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|e| machine("setting the core limit to zero", e))?;
    set_no_new_privs(true).map_err(|e| machine("setting no_new_privs", e))?;
    umask(Mode::from_raw_mode(0o077));
    Ok(())
}

fn machine(what: &str, error: rustix::io::Errno) -> Failure {
    Failure::new(Exit::Machine, format!("{what}: {error}"))
}
