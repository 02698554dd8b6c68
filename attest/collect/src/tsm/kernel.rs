//! A kernel for tests: lays its attributes into a directory tree, counts writes, makes reports, and misbehaves as told.

use super::{ConfigFs, TsmFiles};
use std::{
    collections::VecDeque,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, mpsc},
};

/// What the next report meets, once each, in order.
pub(crate) enum Mischief {
    /// `outblob` fails so.
    Outblob(i32),
    /// `inblob` is refused when it is closed, so that nobody is told.
    LostWrite,
    /// Somebody else writes, after this process wrote and before it reads.
    ForeignWrite,
    /// Somebody else removed the report, made it anew and wrote as often, so that the count shows nothing.
    Exchanged,
    /// `outblob` is not answered until the sender is dropped.
    Hang(mpsc::Receiver<()>),
    /// Nothing.
    None,
}

/// How a kernel answers.
pub(crate) struct Kernel {
    pub(crate) files: ConfigFs,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) provider: &'static str,
    /// Before the data that was written: the rest of a report.
    pub(crate) prefix: Vec<u8>,
    pub(crate) aux: Option<Vec<u8>>,
    pub(crate) floor: Option<&'static str>,
    /// What `make` fails with.
    pub(crate) refuses: Option<i32>,
    pub(crate) mischief: Mutex<VecDeque<Mischief>>,
    /// What was written, as `attribute=bytes`.
    pub(crate) written: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Kernel {
    /// A guest with reports of this length; the last 64 bytes are `inblob`.
    pub(crate) fn of(provider: &'static str, length: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            files: ConfigFs::at(dir.path().to_owned()),
            dir,
            provider,
            prefix: vec![0x5a; length.saturating_sub(64)],
            aux: None,
            floor: None,
            refuses: None,
            mischief: Mutex::default(),
            written: Mutex::default(),
        }
    }

    pub(crate) fn meeting(self, mischief: impl IntoIterator<Item = Mischief>) -> Arc<Self> {
        self.mischief.lock().unwrap().extend(mischief);
        Arc::new(self)
    }

    /// The directories that are there now.
    pub(crate) fn left(&self) -> Vec<String> {
        self.files.names().unwrap()
    }

    fn lay(&self, name: &str, attribute: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name).join(attribute), bytes).unwrap();
    }

    fn count(&self, name: &str) {
        let before: u64 =
            String::from_utf8(self.files.read(name, "generation", 64).unwrap()).unwrap().trim_end().parse().unwrap();
        self.lay(name, "generation", format!("{}\n", before + 1).as_bytes());
    }
}

impl TsmFiles for Kernel {
    fn path(&self) -> &Path {
        self.files.path()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }

    fn make(&self, name: &str) -> io::Result<()> {
        if let Some(code) = self.refuses {
            return Err(io::Error::from_raw_os_error(code));
        }
        self.files.make(name)?;
        self.lay(name, "generation", b"0\n");
        self.lay(name, "provider", format!("{}\n", self.provider).as_bytes());
        self.lay(name, "inblob", b"");
        if let Some(floor) = self.floor {
            self.lay(name, "privlevel_floor", format!("{floor}\n").as_bytes());
            self.lay(name, "privlevel", b"");
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // The attributes go with their directory.
        for entry in fs::read_dir(self.dir.path().join(name))? {
            fs::remove_file(entry?.path())?;
        }
        self.files.remove(name)
    }

    fn write(&self, name: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.write(name, attribute, bytes)?;
        self.written.lock().unwrap().push((attribute.to_owned(), bytes.to_vec()));
        let mut mischief = self.mischief.lock().unwrap();
        if attribute == "inblob" && matches!(mischief.front(), Some(Mischief::LostWrite)) {
            mischief.pop_front();
            return Ok(());
        }
        self.count(name);
        if attribute == "inblob" {
            self.lay(name, "outblob", &[self.prefix.as_slice(), bytes].concat());
            if let Some(aux) = &self.aux {
                self.lay(name, "auxblob", aux);
            }
        }
        Ok(())
    }

    fn read(&self, name: &str, attribute: &str, most: usize) -> io::Result<Vec<u8>> {
        if attribute == "outblob" {
            let met = self.mischief.lock().unwrap().pop_front();
            match met {
                Some(Mischief::Outblob(code)) => return Err(io::Error::from_raw_os_error(code)),
                Some(Mischief::ForeignWrite) => {
                    self.lay(name, "outblob", &[self.prefix.as_slice(), &[0xee; 64]].concat());
                    self.count(name);
                }
                Some(Mischief::Exchanged) => {
                    self.lay(name, "outblob", &[self.prefix.as_slice(), &[0xee; 64]].concat());
                }
                Some(Mischief::Hang(end)) => {
                    let _ = end.recv();
                }
                Some(Mischief::LostWrite | Mischief::None) | None => {}
            }
        }
        self.files.read(name, attribute, most)
    }
}
