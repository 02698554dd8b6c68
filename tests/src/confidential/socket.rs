//! A machine of this process, as another process finds it: one line of JSON asks, one answers.

use super::below::Below;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};
use strongroom_collect::{GpuReport, GpuState};
use strongroom_protocol::{Bytes, Fixed};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Provider,
    Report(Fixed<64>),
    Gpus(Fixed<32>),
    State,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Given {
    Provider(String),
    Report(Bytes, Bytes),
    Gpus(Vec<(Bytes, Bytes)>),
    State { gpus: u32, confidential: Option<bool>, dev_tools: Option<bool>, ready: Option<bool> },
}

/// Whoever asks at a machine's socket.
pub struct Beyond(PathBuf);

impl Beyond {
    /// The machine at this socket.
    pub fn at(socket: PathBuf) -> Self {
        Self(socket)
    }

    fn ask(&self, asked: &Asked) -> io::Result<Given> {
        let mut stream = UnixStream::connect(&self.0)?;
        writeln!(stream, "{}", serde_json::to_string(asked)?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Below for Beyond {
    fn provider(&self) -> io::Result<String> {
        match self.ask(&Asked::Provider)? {
            Given::Provider(name) => Ok(name),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn report(&self, data: [u8; 64]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        match self.ask(&Asked::Report(Fixed(data)))? {
            Given::Report(report, table) => Ok((report.0, table.0)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn gpus(&self, nonce: [u8; 32]) -> io::Result<Vec<GpuReport>> {
        let Given::Gpus(reports) = self.ask(&Asked::Gpus(Fixed(nonce)))? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let report =
            |(report, certificates): (Bytes, Bytes)| GpuReport { report: report.0, certificates: certificates.0 };
        Ok(reports.into_iter().map(report).collect())
    }

    fn state(&self) -> io::Result<GpuState> {
        match self.ask(&Asked::State)? {
            Given::State { gpus, confidential, dev_tools, ready } => {
                Ok(GpuState { gpus, confidential, dev_tools, ready })
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A machine that is served; not any more once this is dropped.
pub struct Served {
    socket: PathBuf,
    listener: UnixListener,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves this machine at a socket.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn of(machine: Arc<dyn Below>, socket: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let accepting = listener.try_clone()?;
        let thread = thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                // Whoever asks wrongly gets no answer, and says so.
                let _ = answer(&*machine, stream);
            }
        });
        Ok(Self { socket: socket.to_owned(), listener, thread: Some(thread) })
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

fn answer(machine: &dyn Below, mut stream: UnixStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    let given = match serde_json::from_str(&line)? {
        Asked::Provider => Given::Provider(machine.provider()?),
        Asked::Report(data) => {
            let (report, table) = machine.report(data.0)?;
            Given::Report(Bytes(report), Bytes(table))
        }
        Asked::Gpus(nonce) => {
            let reports = machine.gpus(nonce.0)?.into_iter();
            Given::Gpus(reports.map(|one| (Bytes(one.report), Bytes(one.certificates))).collect())
        }
        Asked::State => {
            let GpuState { gpus, confidential, dev_tools, ready } = machine.state()?;
            Given::State { gpus, confidential, dev_tools, ready }
        }
    };
    writeln!(stream, "{}", serde_json::to_string(&given)?)
}

impl Drop for Served {
    fn drop(&mut self) {
        // Wakes the thread up, even where the socket's directory is gone.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
