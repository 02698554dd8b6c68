//! A connection to a vault, as Python sees it.

use crate::{
    devices::{attester, read_json},
    errors::{raise, wrong_argument},
    held::Held,
    lease::{Lease, expected},
};
use pyo3::{prelude::*, types::PyDict};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use strongroom::{
    Error, Options, Patience, Request,
    collect::Attester,
    memory::{Owner, Protection, Weakening},
    open_input,
    protocol::{join::JoinFile, statement::ObjectRef},
    sealed::{self, Expected, Opening},
};

/// Longest time that an argument gives: more than a lease or a process lives, and no clock overflows.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// A connection to a vault that is believed.
#[pyclass(frozen, module = "strongroom._native")]
pub(crate) struct Room {
    vault: Arc<strongroom::Room>,
    attester: Arc<dyn Attester>,
    protection: Protection,
    owner: Owner,
}

/// Hardens the process, connects, and opens the devices that attest for it.
#[pyfunction]
#[pyo3(signature = (join_file, node_file, patience=60.0, accept_unlocked_memory=false))]
pub(crate) fn connect(
    py: Python<'_>,
    join_file: PathBuf,
    node_file: PathBuf,
    patience: f64,
    accept_unlocked_memory: bool,
) -> PyResult<Room> {
    let total = seconds("patience", patience)?;
    let mut protection = Protection::default();
    if accept_unlocked_memory {
        protection = protection.accepting(Weakening::UnlockedMemory);
    }
    let options = Options {
        protection: protection.clone(),
        patience: Patience { total, ..Patience::default() },
        ..Options::default()
    };
    let made = py.detach(|| -> Result<Room, Error> {
        let owner = Owner::current()?;
        let join: JoinFile = read_json(&join_file)?;
        let attester = attester(&node_file)?;
        let vault = Arc::new(strongroom::Room::connect(&join, options)?);
        Ok(Room { vault, attester, protection, owner })
    });
    made.map_err(|error| raise(py, &error))
}

/// What a sealed file says of itself without a key. None of it is authenticated.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let found = py.detach(|| -> Result<_, Error> { Ok(sealed::inspect(&open_input(&path)?)?) });
    let found = found.map_err(|error| raise(py, &error))?;
    let said = PyDict::new(py);
    said.set_item("asset", &found.header.asset)?;
    said.set_item("version", found.header.version)?;
    said.set_item("object", found.header.object.to_string())?;
    said.set_item("writer", found.header.writer.to_string())?;
    said.set_item("bytes", found.len)?;
    Ok(said)
}

#[pymethods]
impl Room {
    /// The vault's id.
    #[getter]
    fn vault_id(&self, py: Python<'_>) -> PyResult<String> {
        self.owner.check().map_err(|error| raise(py, &error.into()))?;
        Ok(self.vault.vault_id().to_string())
    }

    /// Asks for keys: of objects (asset, file, object id if it is known), of whole versions (`asset` or `asset@3`), and for
    /// writing (assets).
    #[pyo3(signature = (objects, versions, writers, keep=true))]
    fn lease(
        &self,
        py: Python<'_>,
        objects: Vec<(String, PathBuf, Option<String>)>,
        versions: Vec<String>,
        writers: Vec<String>,
        keep: bool,
    ) -> PyResult<Lease> {
        let versions = versions.iter().map(|name| split_version(name)).collect::<PyResult<Vec<_>>>()?;
        if objects.is_empty() && versions.is_empty() && writers.is_empty() {
            return Err(wrong_argument("a lease is for something: name files to read, versions, or assets to write"));
        }
        let objects = objects.into_iter().map(|(asset, path, object)| Ok((expected(asset, object)?, path)));
        let objects = objects.collect::<PyResult<Vec<_>>>()?;
        let held = py.detach(|| self.ask(&objects, &versions, &writers, keep));
        Ok(Lease::new(held.map_err(|error| raise(py, &error))?))
    }
}

impl Room {
    fn ask(
        &self,
        objects: &[(Expected, PathBuf)],
        versions: &[(&str, Option<u32>)],
        writers: &[String],
        keep: bool,
    ) -> Result<Arc<Held>, Error> {
        self.owner.check()?;
        let mut groups: BTreeMap<(&str, u32), Vec<ObjectRef>> = BTreeMap::new();
        for (expected, path) in objects {
            // What the file says is believed only where the caller expects it: before any key is asked for.
            let opening = Opening::start(open_input(path)?, expected)?;
            let header = opening.header();
            let object = ObjectRef { writer: header.writer, object: header.object };
            let group = groups.entry((expected.asset.as_str(), header.version)).or_default();
            if !group.contains(&object) {
                group.push(object);
            }
        }
        let read = objects.iter().map(|(expected, _)| expected.asset.as_str());
        let all = read.chain(versions.iter().map(|(asset, _)| *asset)).chain(writers.iter().map(String::as_str));
        let mut current = BTreeMap::new();
        for asset in all.collect::<BTreeSet<_>>() {
            current.insert(asset, self.vault.current(asset)?);
        }
        let newest = |asset: &str| {
            let found = current.get(asset).map(|current| current.version);
            found.ok_or_else(|| Error::Malformed(format!("no current version of {asset}")))
        };
        let mut request = Request::new();
        for ((asset, version), group) in groups {
            request = request.objects(asset, version, group);
        }
        for (asset, version) in versions {
            request = request.version(asset, version.map_or_else(|| newest(asset), Ok)?);
        }
        for asset in writers {
            request = request.writer(asset, newest(asset)?);
        }
        let lease = self.vault.release(self.attester.as_ref(), request)?;
        let assets = current.into_iter().map(|(asset, current)| (asset.to_owned(), current.integrity)).collect();
        let (room, attester) = (Arc::clone(&self.vault), Arc::clone(&self.attester));
        Held::new(room, attester, self.protection.clone(), assets, lease, keep)
    }
}

/// A duration out of Python's seconds.
pub(crate) fn seconds(name: &str, given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given).ok().filter(|time| *time <= LONGEST).ok_or_else(|| {
        let most = LONGEST.as_secs();
        wrong_argument(format!("{name} is a number of seconds from 0 to {most} (a year), not {given}"))
    })
}

/// `asset` or `asset@3`.
fn split_version(name: &str) -> PyResult<(&str, Option<u32>)> {
    match name.split_once('@') {
        None => Ok((name, None)),
        Some((asset, version)) => match version.parse() {
            Ok(version) => Ok((asset, Some(version))),
            Err(_) => Err(wrong_argument(format!("`{name}` is not `asset` or `asset@version`"))),
        },
    }
}
