//! Bytes of Python's arrays, read in place while they are sealed.

use crate::errors::wrong_argument;
use pyo3::{buffer::PyBuffer, prelude::*};
use std::{collections::HashMap, ptr, ptr::NonNull};
use strongroom::{TensorBytes, TensorFile, TensorsError};

/// A name, an element type, a shape, and a contiguous buffer of bytes.
pub(crate) type Given = (String, String, Vec<usize>, PyBuffer<u8>);

/// Arrays that are kept in place, to be read without Python's lock.
pub(crate) struct Pinned {
    pub(crate) file: TensorFile<Bytes>,
    // After `file`, which reads them.
    _buffers: Vec<PyBuffer<u8>>,
}

impl Pinned {
    /// Takes the buffers over; nothing is copied.
    pub(crate) fn new(
        tensors: Vec<Given>,
        metadata: Option<HashMap<String, String>>,
    ) -> PyResult<Result<Self, TensorsError>> {
        let mut buffers = Vec::with_capacity(tensors.len());
        let mut parts = Vec::with_capacity(tensors.len());
        for (name, dtype, shape, buffer) in tensors {
            if !buffer.is_c_contiguous() {
                return Err(wrong_argument(format!("tensor `{name}` is not contiguous")));
            }
            let bytes = Bytes { start: NonNull::new(buffer.buf_ptr().cast::<u8>()), length: buffer.len_bytes() };
            parts.push((name, dtype, shape, bytes));
            buffers.push(buffer);
        }
        Ok(TensorFile::new(parts, metadata).map(|file| Self { file, _buffers: buffers }))
    }
}

/// The bytes of one array.
pub(crate) struct Bytes {
    start: Option<NonNull<u8>>,
    length: usize,
}

// SAFETY: the address is that of a buffer that `Pinned` holds; reading it needs no thread of its own.
unsafe impl Send for Bytes {}
// SAFETY: as above; it is only read.
unsafe impl Sync for Bytes {}

impl TensorBytes for Bytes {
    fn len(&self) -> usize {
        self.length
    }

    fn copy_to(&self, offset: usize, dest: &mut [u8]) {
        let inside = offset.checked_add(dest.len()).is_some_and(|end| end <= self.length);
        if let Some(start) = self.start.filter(|_| inside) {
            // SAFETY: the exporter keeps `length` bytes at `start` while its buffer is held, and the
            // range was checked; `dest` is Rust's own memory and cannot overlap. No reference is made
            // of the array: a program that writes it meanwhile seals a mixture, as it was told.
            unsafe { ptr::copy_nonoverlapping(start.as_ptr().add(offset), dest.as_mut_ptr(), dest.len()) };
        }
    }
}
