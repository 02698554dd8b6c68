//! Reports of the processor that protects a guest, by configfs-tsm: Linux' one interface for SEV-SNP and TDX
//! (`Documentation/ABI/testing/configfs-tsm-report`).
//!
//! A report is a directory of its own: made, written, read, removed. The kernel counts the writes, in
//! `generation`, and tells of a write that failed in no other way; so the count is compared before a
//! report is believed to be of what was written.

mod config_fs;

pub use config_fs::{ConfigFs, TSM_REPORTS};

use crate::{
    deadline::{Lost, Worker},
    device_error::DeviceError,
};
use rustix::io::Errno;
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use strongroom_protocol::evidence::EvidenceKind;

/// How long a report may take: the kernel itself waits half a minute for a host's quote.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);
/// Reports asked for while another is being made, or while somebody interferes.
const ATTEMPTS: u32 = 12;
/// The first pause of a busy device; each one after is twice as long, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_millis(640);
/// What names of our directories begin with; the namespace of the process, its id and a number follow.
const OURS: &str = "strongroom-";
/// A text attribute is a name or a number; sysfs gives a page at the most.
const TEXT: usize = 4096;
/// Tells the reports of one process apart.
static REPORTS: AtomicU32 = AtomicU32::new(0);
/// The namespace in which this process has its id, as the kernel numbers it: configfs is one for all containers, and
/// processes of two of them may have one id. 0 where it cannot be seen.
static NAMESPACE: LazyLock<u64> = LazyLock::new(|| fs::metadata("/proc/self/ns/pid").map_or(0, |found| found.ino()));

/// What a report takes of a file system. [`ConfigFs`] is the kernel's; a test has one of its own.
pub trait TsmFiles: Send + Sync {
    /// Where it is, for messages.
    fn path(&self) -> &Path;
    /// The directories that are there.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes a directory, in which the kernel lays its attributes.
    fn make(&self, name: &str) -> io::Result<()>;
    /// Removes it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Writes one attribute, by one write.
    fn write(&self, name: &str, attribute: &str, bytes: &[u8]) -> io::Result<()>;
    /// Reads one attribute: all of it, or a byte more than `most`.
    fn read(&self, name: &str, attribute: &str, most: usize) -> io::Result<Vec<u8>>;
}

/// Which report is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) device: EvidenceKind,
    /// As `provider` names it.
    pub(crate) provider: &'static str,
    /// The most that `outblob` may have, bytes.
    pub(crate) report: usize,
    /// The most that `auxblob` may have, bytes; `None` where it is of no use.
    pub(crate) aux: Option<usize>,
}

/// What the kernel gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// `outblob`.
    pub(crate) report: Vec<u8>,
    /// `auxblob`, unless it is empty or the provider has none.
    pub(crate) aux: Option<Vec<u8>>,
}

/// configfs-tsm, one report at a time.
pub(crate) struct TsmReports {
    files: Arc<dyn TsmFiles>,
    worker: Worker,
    pause: Duration,
}

impl TsmReports {
    pub(crate) fn over(files: Arc<dyn TsmFiles>) -> Self {
        Self { files, worker: Worker::new(TIMEOUT), pause: PAUSE }
    }

    /// As a test wants it: another deadline, and no pauses.
    #[cfg(test)]
    pub(crate) fn hurried(files: Arc<dyn TsmFiles>, timeout: Duration) -> Self {
        Self { files, worker: Worker::new(timeout), pause: Duration::ZERO }
    }

    /// Checks that reports of this kind are given here, without asking for one.
    pub(crate) fn check(&self, kind: Kind) -> Result<(), DeviceError> {
        self.run(kind, "looking who gives reports", move |files| {
            let place = Place::make(files)?;
            place.check_provider(kind.provider)
        })
    }

    /// A report with this `report_data`, asked for again where the device is busy or somebody interferes.
    pub(crate) fn report(&self, kind: Kind, data: [u8; 64]) -> Result<Report, DeviceError> {
        let first = self.pause;
        self.run(kind, "asking for a report", move |files| {
            let mut pause = first;
            let mut attempt = 1;
            loop {
                let error = match attempt_report(files, kind, &data) {
                    Ok(report) => return Ok(report),
                    Err(Attempt::Final(error)) => return Err(error),
                    Err(Attempt::Again(error)) if attempt == ATTEMPTS => return Err(error(attempt)),
                    Err(Attempt::Again(error)) => error(attempt),
                };
                tracing::debug!(%error, attempt, "asking for another report");
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST);
                attempt += 1;
            }
        })
    }

    fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        doing: &'static str,
        operation: impl FnOnce(&dyn TsmFiles) -> Result<T, DeviceError> + Send + 'static,
    ) -> Result<T, DeviceError> {
        let files = Arc::clone(&self.files);
        match self.worker.run(move || operation(&*files)) {
            Ok(done) => done,
            Err(Lost::TimedOut) => {
                Err(DeviceError::Timeout { device: kind.device, doing, timeout: self.worker.deadline() })
            }
            Err(Lost::NoThread) => Err(DeviceError::Tsm {
                path: self.files.path().to_owned(),
                doing,
                source: io::Error::other("no thread could do it"),
            }),
        }
    }
}

/// Why one attempt failed: for good, or worth another one, with what to say if that was the last.
enum Attempt {
    Final(DeviceError),
    Again(Box<dyn FnOnce(u32) -> DeviceError>),
}

impl From<DeviceError> for Attempt {
    fn from(error: DeviceError) -> Self {
        Self::Final(error)
    }
}

/// One report, in a directory of its own.
fn attempt_report(files: &dyn TsmFiles, kind: Kind, data: &[u8; 64]) -> Result<Report, Attempt> {
    let place = Place::make(files)?;
    place.check_provider(kind.provider)?;
    let before = place.generation()?;
    let mut writes = 0;
    if let Some(floor) = place.privilege_floor()? {
        place.write("privlevel", floor.as_bytes())?;
        writes += 1;
    }
    place.write("inblob", data)?;
    writes += 1;
    // The kernel takes a binary attribute over when it is closed, and its refusal is lost there: only the
    // count shows that what it signs is what was written.
    let expected = before.wrapping_add(writes);
    place.expect_generation(expected)?;
    let report = place.read("outblob", kind.report).map_err(|error| place.unread(error))?;
    let aux = match kind.aux.map(|most| place.read("auxblob", most)) {
        None => Vec::new(),
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Some(other) => other.map_err(|error| place.unread(error))?,
    };
    // And that nobody else wrote before it was read.
    place.expect_generation(expected)?;
    for (what, bytes, most) in
        [("the report", &report, kind.report), ("what lies beside it", &aux, kind.aux.unwrap_or(0))]
    {
        if bytes.len() > most {
            let expected = format!("at most {most}");
            return Err(DeviceError::Size { device: kind.device, what, length: bytes.len(), expected }.into());
        }
    }
    // Wherever a format has them. A directory that was removed and made again counts from the beginning.
    if !report.windows(data.len()).any(|part| part == data) {
        let (path, device) = (place.path(), kind.device);
        return Err(Attempt::Again(Box::new(move |attempts| DeviceError::TsmForeign { path, device, attempts })));
    }
    Ok(Report { report, aux: Some(aux).filter(|aux| !aux.is_empty()) })
}

/// A report's directory, removed when this is dropped.
struct Place<'a> {
    files: &'a dyn TsmFiles,
    name: String,
}

impl<'a> Place<'a> {
    fn make(files: &'a dyn TsmFiles) -> Result<Self, DeviceError> {
        clear_left_overs(files);
        let number = REPORTS.fetch_add(1, Ordering::Relaxed);
        let name = our_name(process::id(), number);
        let made = match files.make(&name) {
            // Numbers are not used twice: it is of a process that had our id in our namespace, died, and left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                files.remove(&name).and_then(|()| files.make(&name))
            }
            other => other,
        };
        match made {
            Ok(()) => Ok(Self { files, name }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(DeviceError::TsmMissing { path: files.path().to_owned() })
            }
            Err(error) => Err(failed(files, "making a report", error)),
        }
    }

    fn check_provider(&self, expected: &'static str) -> Result<(), DeviceError> {
        let found = self.text("provider")?;
        if found == expected {
            return Ok(());
        }
        let found = found.escape_default().to_string();
        Err(DeviceError::TsmProvider { path: self.path(), expected, found })
    }

    fn generation(&self) -> Result<u64, DeviceError> {
        let text = self.text("generation")?;
        text.parse().map_err(|_| DeviceError::Tsm {
            path: self.path(),
            doing: "reading generation",
            source: io::Error::new(ErrorKind::InvalidData, format!("`{}`", text.escape_default())),
        })
    }

    fn expect_generation(&self, expected: u64) -> Result<(), Attempt> {
        let found = self.text("generation")?;
        if found.parse() == Ok(expected) {
            return Ok(());
        }
        let (path, found) = (self.path(), found.escape_default().to_string());
        Err(Attempt::Again(Box::new(move |attempts| DeviceError::TsmContended { path, attempts, expected, found })))
    }

    /// The privilege level that the guest itself runs at, where that is not the highest: below a paravisor the
    /// kernel refuses what it does not get told. `None`: nothing to be written.
    fn privilege_floor(&self) -> Result<Option<String>, DeviceError> {
        match self.files.read(&self.name, "privlevel_floor", TEXT) {
            Ok(bytes) => {
                let floor = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                Ok(Some(floor).filter(|floor| floor != "0"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("reading privlevel_floor", error)),
        }
    }

    fn text(&self, attribute: &'static str) -> Result<String, DeviceError> {
        let doing = if attribute == "provider" { "reading provider" } else { "reading generation" };
        let bytes = self.files.read(&self.name, attribute, TEXT).map_err(|error| self.failed(doing, error))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    fn write(&self, attribute: &'static str, bytes: &[u8]) -> Result<(), Attempt> {
        let doing = if attribute == "inblob" { "writing inblob" } else { "writing privlevel" };
        self.files
            .write(&self.name, attribute, bytes)
            .map_err(|error| if is_busy(&error) { self.busy(error) } else { self.failed(doing, error).into() })
    }

    fn read(&self, attribute: &'static str, most: usize) -> io::Result<Vec<u8>> {
        self.files.read(&self.name, attribute, most)
    }

    /// A report or what lies beside it could not be read.
    fn unread(&self, error: io::Error) -> Attempt {
        if is_busy(&error) { self.busy(error) } else { self.failed("reading the report", error).into() }
    }

    fn busy(&self, source: io::Error) -> Attempt {
        let path = self.path();
        Attempt::Again(Box::new(move |attempts| DeviceError::TsmBusy { path, attempts, source }))
    }

    fn failed(&self, doing: &'static str, error: io::Error) -> DeviceError {
        failed(self.files, doing, error)
    }

    fn path(&self) -> PathBuf {
        self.files.path().to_owned()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.files.remove(&self.name) {
            tracing::warn!(name = self.name, %error, "a report was left behind");
        }
    }
}

fn failed(files: &dyn TsmFiles, doing: &'static str, source: io::Error) -> DeviceError {
    let path = files.path().to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied => DeviceError::TsmPermission { path, doing, source },
        _ if source.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => DeviceError::TsmWithoutProvider { path },
        _ => DeviceError::Tsm { path, doing, source },
    }
}

/// `EBUSY`: another quote is in flight. `EINTR`, `EAGAIN`: the driver gave way, and may be asked again.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// Removes the reports of processes that died over them: a driver that is loaded again finds no place beside them.
fn clear_left_overs(files: &dyn TsmFiles) {
    // What cannot be listed cannot be used either, and that is told by whoever tries.
    for name in files.names().unwrap_or_default() {
        if maker_of(&name).is_some_and(is_dead) && files.remove(&name).is_ok() {
            tracing::info!(name, "removed a report that a dead process had left behind");
        }
    }
}

/// The name of a directory of a process in our namespace.
fn our_name(pid: u32, number: u32) -> String {
    format!("{OURS}{}-{pid}-{number}", *NAMESPACE)
}

/// The process whose report it is; `None` for one that is not ours, or of another namespace.
fn maker_of(name: &str) -> Option<u32> {
    let (namespace, rest) = name.strip_prefix(OURS)?.split_once('-')?;
    let (pid, number) = rest.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok().filter(|_| *NAMESPACE != 0 && namespace.parse() == Ok(*NAMESPACE))
}

/// Fails to the safe side: what cannot be seen lives. Asked of processes in our own namespace only: of others, `/proc`
/// here shows none.
fn is_dead(pid: u32) -> bool {
    Path::new("/proc/self").exists() && matches!(Path::new("/proc").join(pid.to_string()).try_exists(), Ok(false))
}

#[cfg(test)]
pub(crate) mod kernel;
#[cfg(test)]
mod tests;
