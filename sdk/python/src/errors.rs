//! Errors of the SDK as Python's exceptions: the classes are in `strongroom/errors.py`.

use pyo3::{IntoPyObject, prelude::*, types::PyDict};
use std::{error::Error as _, fmt::Write as _, io};
use strongroom::{Error, LeaseOver, TensorsError, memory::MemoryError, sealed::SealedError};

/// An exception in the making: its class's name, and what can be read of it.
struct Making<'py> {
    py: Python<'py>,
    class: &'static str,
    attributes: Bound<'py, PyDict>,
    failed: Option<PyErr>,
}

impl<'py> Making<'py> {
    fn new(py: Python<'py>, class: &'static str) -> Self {
        Self { py, class, attributes: PyDict::new(py), failed: None }
    }

    fn with(mut self, name: &str, value: impl IntoPyObject<'py>) -> Self {
        if let Err(error) = self.attributes.set_item(name, value) {
            self.failed.get_or_insert(error);
        }
        self
    }

    fn done(self, message: &str) -> PyErr {
        if let Some(failed) = self.failed {
            return failed;
        }
        let made = self
            .py
            .import("strongroom.errors")
            .and_then(|module| module.getattr(self.class))
            .and_then(|class| class.call((message,), Some(&self.attributes)));
        match made {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        }
    }
}

/// The exception that an error becomes.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let message = with_causes(error);
    if let Error::PatienceOver { waited, attempts, cause } = error {
        let over = Making::new(py, "PatienceOver").with("waited", waited.as_secs_f64()).with("attempts", *attempts);
        let over = over.done(&message);
        over.set_cause(py, Some(raise(py, cause)));
        return over;
    }
    describe(py, error).done(&message)
}

/// An argument that cannot be used.
pub(crate) fn wrong_argument(message: impl Into<String>) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(message.into())
}

fn describe<'py>(py: Python<'py>, error: &Error) -> Making<'py> {
    let plain = |class| Making::new(py, class);
    match error {
        Error::Refused(problem) => plain("Refused")
            .with("code", problem.code.as_str())
            .with("status", problem.status)
            .with("title", problem.title.as_str())
            .with("detail", problem.detail.as_deref())
            .with("field", problem.field.as_deref())
            .with("row", problem.row.as_deref())
            .with("reasons", problem.reasons.clone())
            .with("decision_id", problem.decision_id.map(|id| id.to_string()))
            .with("retry_after", problem.retry_after),
        Error::Unreachable { url, cause } => plain("Unreachable").with("url", url).with("cause", cause),
        Error::PatienceOver { .. } => plain("PatienceOver"),
        Error::Malformed(_) => plain("MalformedAnswer"),
        Error::Request(_) => plain("RequestError"),
        Error::NotBelieved(_) => plain("NotBelieved"),
        Error::Join(_) => plain("JoinError"),
        Error::Obligation(_) => plain("ObligationError"),
        Error::LeaseOver(LeaseOver::Expired) => plain("LeaseExpired"),
        Error::LeaseOver(LeaseOver::Revoked(reason)) => plain("LeaseRevoked").with("reason", reason.as_deref()),
        Error::LeaseOver(LeaseOver::Ended) => plain("LeaseEnded"),
        Error::NoKey(_) => plain("NoKey"),
        Error::Collect(_) => plain("CollectError"),
        Error::Memory(error) => memory(py, error),
        Error::Sealed(error) => sealed(py, error),
        Error::Tensors(error) => match error {
            TensorsError::NotSafetensors(_) => plain("NotSafetensors"),
            _ => plain("TensorsError"),
        },
        Error::Envelope(_) => plain("EnvelopeError"),
        Error::File { path, source } => {
            let class = match source.kind() {
                io::ErrorKind::NotFound => "FileMissing",
                io::ErrorKind::PermissionDenied => "FileForbidden",
                _ => "FileError",
            };
            plain(class).with("errno", source.raw_os_error()).with("filename", path.as_os_str())
        }
        Error::NotRegular(path) => {
            plain("NotRegularFile").with("errno", libc::EINVAL).with("filename", path.as_os_str())
        }
        Error::TokenExposed { path, mode } => plain("TokenExposed").with("path", path.as_os_str()).with("mode", *mode),
        Error::TokenMalformed(path) => plain("TokenMalformed").with("path", path.as_os_str()),
        Error::NoRandomness => plain("NoRandomness"),
    }
}

fn memory<'py>(py: Python<'py>, error: &MemoryError) -> Making<'py> {
    let plain = |class| Making::new(py, class);
    match error {
        MemoryError::NotEnoughMemory { needed, available, bound } => {
            plain("NotEnoughMemory").with("needed", *needed).with("available", *available).with("bound", *bound)
        }
        MemoryError::LockLimit { needed, locked, limit } => {
            plain("LockLimit").with("needed", *needed).with("locked", *locked).with("limit", *limit)
        }
        MemoryError::NoMemfdSecret { .. } => plain("NoMemfdSecret"),
        MemoryError::Forked => plain("ForkedError"),
        _ => plain("MemoryProtectionError"),
    }
}

fn sealed<'py>(py: Python<'py>, error: &SealedError) -> Making<'py> {
    let plain = |class| Making::new(py, class);
    match error {
        SealedError::NotSealed => plain("NotSealed"),
        SealedError::UnsupportedVersion { found } => plain("UnsupportedVersion").with("found", found),
        SealedError::Truncated { expected, actual } => {
            plain("Truncated").with("expected", *expected).with("actual", *actual)
        }
        SealedError::WrongKey => plain("WrongKey"),
        SealedError::HeaderTampered { what } => plain("HeaderTampered").with("what", *what),
        SealedError::IndexTampered { what } => plain("IndexTampered").with("what", *what),
        SealedError::ChunkTampered { chunk, offset } => {
            plain("ChunkTampered").with("chunk", *chunk).with("offset", *offset)
        }
        SealedError::HashMismatch { chunk } => plain("HashMismatch").with("chunk", *chunk),
        SealedError::HashesMissing => plain("HashesMissing"),
        SealedError::ObjectReplaced { what, expected, found } => {
            plain("ObjectReplaced").with("what", *what).with("expected", expected).with("found", found)
        }
        SealedError::KeyNotGranted { asset, version, object } => {
            plain("KeyNotGranted").with("asset", asset).with("version", *version).with("object", object.to_string())
        }
        SealedError::LimitExceeded { what, value, limit } => {
            plain("LimitExceeded").with("what", *what).with("value", *value).with("limit", *limit)
        }
        SealedError::OutOfRange { .. } => plain("OutOfRange"),
        SealedError::Cancelled => plain("Cancelled"),
        SealedError::Poisoned { why } => plain("Poisoned").with("why", *why),
        SealedError::LengthChanged { expected, actual } => {
            plain("LengthChanged").with("expected", *expected).with("actual", *actual)
        }
        SealedError::NotWritable { what } => plain("NotWritable").with("what", *what),
        SealedError::TargetExists { path } => plain("TargetExists").with("filename", path.as_os_str()),
        SealedError::DiskFull { source } => plain("DiskFull").with("errno", source.raw_os_error()),
        _ => plain("SealedError"),
    }
}

/// An error with what caused it, each cause said once.
fn with_causes(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            let _ = write!(message, ": {text}");
        }
        cause = error.source();
    }
    message
}
