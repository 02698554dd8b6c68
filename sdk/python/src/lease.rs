//! A lease as Python sees it.

use crate::{
    errors::{raise, wrong_argument},
    file::File,
    held::Held,
    progress::watched,
    room::seconds,
    tensors::{Given, Pinned},
    view::View,
};
use pyo3::{exceptions::PyTypeError, prelude::*};
use std::{collections::HashMap, path::PathBuf, sync::Arc};
use strongroom::{
    Ending, Error, open_input,
    protocol::ObjectId,
    sealed::{Expected, Metadata, ReadAt, inspect},
};

/// The time-limited right to hold keys.
#[pyclass(frozen, module = "strongroom._native")]
pub(crate) struct Lease {
    held: Arc<Held>,
}

impl Lease {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held }
    }

    /// Seals from anything that can be read at positions.
    fn seal_from(
        &self,
        py: Python<'_>,
        source: &(impl ReadAt + Send + ?Sized),
        target: Target,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let mut spec = self.held.with(py, |lease| lease.write_spec(&target.asset))?;
        spec.hashes = self.held.hashed(&target.asset);
        spec.metadata = Metadata { name: target.name, media_type: target.media_type, ..Metadata::default() };
        let total = source.len().map_err(|source| Error::File { path: target.path.clone(), source });
        let total = total.map_err(|error| raise(py, &error))?;
        let written = watched(py, total, progress, |progress| {
            self.held.lease()?.seal_file(source, &target.path, target.replace, &spec, target.threads, progress)
        })?;
        Ok(written.object.to_string())
    }
}

/// Where to seal to.
struct Target {
    path: PathBuf,
    asset: String,
    replace: bool,
    threads: usize,
    name: Option<String>,
    media_type: Option<String>,
}

#[pymethods]
impl Lease {
    /// Its id.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        self.held.with(py, |lease| Ok(lease.id().to_string()))
    }

    /// The decision that granted it.
    #[getter]
    fn decision_id(&self, py: Python<'_>) -> PyResult<String> {
        self.held.with(py, |lease| Ok(lease.decision().to_string()))
    }

    /// What policy obliges its holder to do, as JSON.
    #[getter]
    fn obligations(&self, py: Python<'_>) -> PyResult<String> {
        self.held.with(py, |lease| Ok(lease.obligations().to_string()))
    }

    /// How keys and plaintext are held, as JSON.
    #[getter]
    fn handling(&self, py: Python<'_>) -> PyResult<String> {
        let handling = self.held.with(py, |lease| Ok(serde_json::to_string(lease.handling())))?;
        handling.map_err(|e| wrong_argument(e.to_string()))
    }

    /// Raises if it is over.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.held.with(py, |lease| Ok(lease.check()?))
    }

    /// Proves possession now.
    fn renew(&self, py: Python<'_>) -> PyResult<()> {
        self.held.with(py, strongroom::Lease::renew)
    }

    /// Prolongs it on fresh evidence now.
    fn reattest(&self, py: Python<'_>) -> PyResult<()> {
        let (room, attester) = (Arc::clone(&self.held.room), Arc::clone(&self.held.attester));
        self.held.with(py, |lease| lease.reattest(&room, attester.as_ref()))
    }

    /// Has `callback(over, left)` called when it is about to end: `before` seconds before its expiry, with
    /// `None` and the seconds left, and when it is over, with the exception that uses raise from then on. Not
    /// when its holder ends it.
    fn on_ending(&self, py: Python<'_>, callback: Py<PyAny>, before: f64) -> PyResult<()> {
        let before = seconds("before", before)?;
        if !callback.bind(py).is_callable() {
            return Err(PyTypeError::new_err(format!("{} cannot be called", callback.bind(py).repr()?)));
        }
        let tell = move |ending: Ending| {
            // Not while the interpreter ends: there is nobody left to tell.
            let _ = Python::try_attach(|py| {
                let over = ending.over.map(|over| raise(py, &over.into()).into_value(py));
                if let Err(error) = callback.call1(py, (over, ending.left.as_secs_f64())) {
                    error.write_unraisable(py, Some(callback.bind(py)));
                }
            });
        };
        self.held.with(py, |lease| {
            lease.on_ending(tell, before);
            Ok(())
        })
    }

    /// Zeroes keys and plaintext, then tells the vault.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.held.end()).map_err(|error| raise(py, &error))
    }

    /// Opens a whole file in protected memory.
    #[pyo3(signature = (path, asset, object=None, threads=0, progress=None))]
    fn load(
        &self,
        py: Python<'_>,
        path: PathBuf,
        asset: String,
        object: Option<String>,
        threads: usize,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<View> {
        let expected = expected(asset, object)?;
        let hashed = self.held.hashed(&expected.asset);
        let total = py.detach(|| -> Result<u64, Error> {
            self.held.lease()?;
            Ok(inspect(&open_input(&path)?)?.len)
        });
        let total = total.map_err(|error| raise(py, &error))?;
        let protection = &self.held.protection;
        let opened = watched(py, total, progress, |progress| {
            self.held.lease()?.open_file(&path, &expected, hashed, threads, protection, progress)
        })?;
        View::new(opened, Arc::clone(&self.held)).map_err(|error| raise(py, &error))
    }

    /// Opens a file for reading parts of it.
    #[pyo3(signature = (path, asset, object=None))]
    fn open(&self, py: Python<'_>, path: PathBuf, asset: String, object: Option<String>) -> PyResult<File> {
        let expected = expected(asset, object)?;
        let hashed = self.held.hashed(&expected.asset);
        let file = self.held.with(py, |lease| lease.open_parts(&path, &expected, hashed, &self.held.protection))?;
        Ok(File::new(file, Arc::clone(&self.held)))
    }

    /// Seals tensors straight from their buffers; the object's id.
    #[pyo3(signature = (tensors, metadata, path, asset, replace=false, threads=0, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn save(
        &self,
        py: Python<'_>,
        tensors: Vec<Given>,
        metadata: Option<HashMap<String, String>>,
        path: PathBuf,
        asset: String,
        replace: bool,
        threads: usize,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let pinned = Pinned::new(tensors, metadata)?.map_err(|error| raise(py, &error.into()))?;
        let media_type = Some("application/vnd.safetensors".to_owned());
        let target = Target { path, asset, replace, threads, name: None, media_type };
        self.seal_from(py, &pinned.file, target, progress)
    }

    /// Seals a file; the object's id.
    #[pyo3(signature = (source, path, asset, replace=false, threads=0, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn seal(
        &self,
        py: Python<'_>,
        source: PathBuf,
        path: PathBuf,
        asset: String,
        replace: bool,
        threads: usize,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let file = py.detach(|| open_input(&source)).map_err(|error| raise(py, &error))?;
        let name = source.file_name().map(|name| name.to_string_lossy().into_owned());
        let target = Target { path, asset, replace, threads, name, media_type: None };
        self.seal_from(py, &file, target, progress)
    }
}

/// What the caller wants to open, and not what a file says of itself.
pub(crate) fn expected(asset: String, object: Option<String>) -> PyResult<Expected> {
    let object: Option<ObjectId> =
        object.map(|text| text.parse().map_err(|e| wrong_argument(format!("object `{text}`: {e}")))).transpose()?;
    Ok(Expected { asset, version: None, object })
}
