//! Parts of a sealed file, into buffers of Python's.

use crate::{
    errors::{raise, wrong_argument},
    held::Held,
};
use pyo3::{buffer::PyBuffer, prelude::*, types::PyBytes};
use std::{slice, sync::Arc};
use strongroom::SealedFile;

/// A sealed file that is read in parts. What it reads goes to memory of the caller's choice, which is
/// not protected unless the caller sees to it.
#[pyclass(frozen, module = "strongroom._native")]
pub(crate) struct File {
    file: SealedFile,
    held: Arc<Held>,
}

impl File {
    pub(crate) fn new(file: SealedFile, held: Arc<Held>) -> Self {
        Self { file, held }
    }
}

#[pymethods]
impl File {
    fn __len__(&self) -> usize {
        usize::try_from(self.file.len()).unwrap_or(usize::MAX)
    }

    /// Raises unless it can be read.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.held.check().map_err(|error| raise(py, &error))
    }

    /// At most `size` bytes from `offset` on, copied to ordinary memory.
    fn read_at<'py>(&self, py: Python<'py>, offset: u64, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        self.check(py)?;
        let left = usize::try_from(self.file.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        PyBytes::new_with(py, size.min(left), |bytes| {
            let read = py.detach(|| self.file.read_at(offset, bytes));
            read.map(drop).map_err(|error| raise(py, &error))
        })
    }

    /// Fills a writable, contiguous buffer of bytes from `offset` on; how many there were.
    fn read_into(&self, py: Python<'_>, offset: u64, buffer: PyBuffer<u8>) -> PyResult<usize> {
        self.check(py)?;
        if buffer.readonly() || !buffer.is_c_contiguous() {
            return Err(wrong_argument("the buffer must be writable and contiguous"));
        }
        let length = buffer.len_bytes();
        if length == 0 {
            return Ok(0);
        }
        // SAFETY: the exporter keeps these bytes in place while `buffer` lives, which is beyond the
        // read; they are writable, and any value of theirs is a u8. That nobody else writes them
        // meanwhile is what every `readinto` asks of its caller.
        let bytes = unsafe { slice::from_raw_parts_mut(buffer.buf_ptr().cast::<u8>(), length) };
        py.detach(|| self.file.read_at(offset, bytes)).map_err(|error| raise(py, &error))
    }

    /// Forgets the keys of the file.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.file.close());
    }
}
