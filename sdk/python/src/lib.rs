//! The native part of the Python package `strongroom`.
//!
//! ```text
//! connect() ──> Room ──lease()──> Lease ──load()──> View  buffer over the arena; numpy reads it in place
//!                                   │  ├──open()──> File  parts of a sealed file, into Python's buffers
//!                                   │  ├──save()        tensors from their buffers, sealed
//!                                   │  └──seal()        a file, sealed
//!                                   └── Held  the Rust lease and its keeper; ends with its last holder
//! ```
//!
//! What Python sees is made of these in `python/strongroom`; `_native.pyi` has their types. To extend
//! it: a method here does one thing of the SDK with Python's lock released, errors go through
//! `errors::raise`, and anything that shows plaintext holds a `Held` and asks it first, so that it
//! fails in a forked child before it touches a lock or a page.
#![allow(unsafe_code, reason = "the buffer protocol hands out and takes addresses")]
#![warn(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::needless_pass_by_value, reason = "what Python passes arrives by value")]

mod devices;
mod errors;
mod file;
mod forked;
mod held;
mod lease;
mod progress;
mod room;
mod tensors;
mod view;

use pyo3::prelude::*;

/// The native part of strongroom; import strongroom instead.
#[pymodule(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<room::Room>()?;
    module.add_class::<lease::Lease>()?;
    module.add_class::<view::View>()?;
    module.add_class::<file::File>()?;
    module.add_function(wrap_pyfunction!(room::connect, module)?)?;
    module.add_function(wrap_pyfunction!(room::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(forked::after_fork_in_child, module)?)?;
    module.add_function(wrap_pyfunction!(live_leases, module)?)?;
    module.add_function(wrap_pyfunction!(end_all, module)?)
}

/// Ids of the leases of this process that live.
#[pyfunction]
fn live_leases(py: Python<'_>) -> Vec<String> {
    py.detach(held::live)
}

/// Ends every lease of this process.
#[pyfunction]
fn end_all(py: Python<'_>) {
    py.detach(held::end_all);
}
