//! An address that a failover moves from one server to another.

use crate::Database;
use std::{fs, os::unix::fs::symlink, path::PathBuf};
use tempfile::TempDir;

/// The port in the name of the address's socket.
const PORT: u16 = 5432;

/// A directory with a link to a server's Unix socket: a name that clients keep when the server changes.
pub struct Address {
    directory: TempDir,
    name: String,
}

impl Address {
    /// An address of this database's server.
    pub fn of(database: &Database) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("strongroom-address-").tempdir()?;
        let address = Self { directory, name: database.name.clone() };
        address.move_to(database)?;
        Ok(address)
    }

    /// From now on connections go to the server that this database is on. Those that are there stay.
    pub fn move_to(&self, database: &Database) -> anyhow::Result<()> {
        let next = self.directory.path().join("next");
        symlink(database.socket.join(socket(database.port)), &next)?;
        Ok(fs::rename(next, self.directory.path().join(socket(PORT)))?)
    }

    /// The database by way of this address.
    pub fn database(&self) -> Database {
        Database { socket: self.directory.path().to_owned(), port: PORT, name: self.name.clone() }
    }
}

/// A socket's name in its directory.
fn socket(port: u16) -> PathBuf {
    PathBuf::from(format!(".s.PGSQL.{port}"))
}
