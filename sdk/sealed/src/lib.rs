//! The sealed file format, version 1.
