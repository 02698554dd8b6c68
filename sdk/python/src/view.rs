//! Plaintext in the arena, as a buffer that Python reads in place.

use crate::{errors::raise, forked::Place, held::Held};
use pyo3::{
    exceptions::{PyBufferError, PyValueError},
    ffi,
    prelude::*,
};
use std::{
    collections::HashMap,
    ffi::c_int,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use strongroom::{OpenObject, memory::SharedArena};

/// A name, an element type, a shape, and where the bytes begin and end.
type Found = (String, String, Vec<usize>, usize, usize);

/// The plaintext of one object, read-only. Arrays made of it hold it, it holds its lease, and its
/// memory stays mapped as long as any of them lives; once the lease is over they read zeros.
#[pyclass(frozen, module = "strongroom._native")]
pub(crate) struct View {
    // Before the lease: memory goes first, then who answers for it.
    memory: SharedArena,
    object: OpenObject,
    held: Arc<Held>,
    exports: AtomicUsize,
    _place: Place,
}

impl View {
    pub(crate) fn new(object: OpenObject, held: Arc<Held>) -> Result<Self, strongroom::Error> {
        let memory = object.memory()?;
        let place = Place::new(memory.address()?.addr().get(), memory.len());
        Ok(Self { memory, object, held, exports: AtomicUsize::new(0), _place: place })
    }
}

#[pymethods]
impl View {
    fn __len__(&self) -> usize {
        self.memory.len()
    }

    /// How many buffers of it are in use.
    #[getter]
    fn exports(&self) -> usize {
        self.exports.load(Ordering::Relaxed)
    }

    /// Raises unless the plaintext is here and the lease lives.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let zeroed = py.detach(|| self.held.check().and_then(|()| Ok(self.memory.is_zeroed()?)));
        if zeroed.map_err(|error| raise(py, &error))? {
            return Err(PyValueError::new_err("this was closed, and its plaintext zeroed"));
        }
        Ok(())
    }

    /// Zeroes the plaintext, for all who hold it. The lease goes on.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.memory.zero_now());
    }

    /// The tensors of a safetensors file, and its metadata.
    fn tensors(&self, py: Python<'_>) -> PyResult<(Vec<Found>, HashMap<String, String>)> {
        self.check(py)?;
        let found = py.detach(|| self.object.tensors());
        let found = found.map_err(|error| raise(py, &error))?;
        let tensors = found.tensors.into_iter();
        let tensors = tensors.map(|t| (t.name, t.dtype, t.shape, t.bytes.start, t.bytes.end)).collect();
        Ok((tensors, found.metadata))
    }

    /// The buffer protocol.
    ///
    /// # Safety
    /// Python passes a `view` that it may write, and releases it once.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill in"));
        }
        // SAFETY: Python passes a live `view`; the field is what it reads after an error.
        unsafe { (*view).obj = std::ptr::null_mut() };
        this.check(slf.py())?;
        let address = this.memory.address().map_err(|error| raise(slf.py(), &error.into()))?;
        let length =
            isize::try_from(this.memory.len()).map_err(|_| PyBufferError::new_err("longer than a buffer can be"))?;
        // SAFETY: `address` is good for `length` bytes for as long as this object lives, to which the
        // call takes a reference in `view`; read-only, so that nobody writes there but whoever zeroes
        // it. Python has no claim that bytes do not change under a buffer.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address.as_ptr().cast(), length, 1, flags) };
        if filled != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        this.exports.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The buffer protocol: a buffer is let go of.
    ///
    /// # Safety
    /// Called once for each buffer that was filled in.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.exports.fetch_sub(1, Ordering::Relaxed);
    }
}
