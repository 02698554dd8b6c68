//! End-to-end suites and the harness of real stand-ins.
