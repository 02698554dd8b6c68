//! Killed processes, a database that goes back in time, full disks.

mod disk;
mod kills;
mod rollback;
