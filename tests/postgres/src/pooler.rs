//! pgbouncer in front of a cluster, by transaction.

use crate::{
    Cluster, PASSWORD, USER,
    server::{Server, free_port, give_away, give_file},
};
use std::{fs, net::TcpStream, path::Path};
use tempfile::TempDir;

/// A pooler that runs.
pub struct Pooler {
    _server: Server,
    directory: TempDir,
    port: u16,
}

impl Pooler {
    /// Starts one: a few connections to each database, lent for a transaction at a time.
    pub fn before(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start(cluster, None)
    }

    /// One that asks for TLS, with this certificate and key (PEM), and for the role's password.
    pub fn with_tls(cluster: &Cluster, certificate: &str, key: &str) -> anyhow::Result<Self> {
        Self::start(cluster, Some((certificate, key)))
    }

    fn start(cluster: &Cluster, tls: Option<(&str, &str)>) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("strongroom-pgbouncer-").tempdir()?;
        give_away(directory.path())?;
        let (place, port) = (directory.path().display(), free_port()?);
        let (password, protection) = match tls {
            None => ("", "auth_type = trust\n".to_owned()),
            Some((certificate, key)) => {
                for (name, text) in [("server.pem", certificate), ("server.key", key)] {
                    give_file(&directory.path().join(name), text)?;
                }
                let protection = format!(
                    "auth_type = scram-sha-256\nclient_tls_sslmode = require\n\
                     client_tls_cert_file = {place}/server.pem\nclient_tls_key_file = {place}/server.key\n"
                );
                (PASSWORD, protection)
            }
        };
        give_file(&directory.path().join("users.txt"), &format!("\"{USER}\" \"{password}\"\n"))?;
        let configuration = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {place}\n{protection}auth_file = {place}/users.txt\npool_mode = transaction\n\
             max_client_conn = 500\ndefault_pool_size = 4\n",
            cluster.socket().display(),
            cluster.port()
        );
        fs::write(&configuration, text)?;
        let arguments = [configuration.display().to_string()];
        let server = Server::start(Path::new("/usr/sbin/pgbouncer"), &arguments, "KILL", directory.path())?;
        server.wait_until(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
        Ok(Self { _server: server, directory, port })
    }

    /// The directory of its Unix socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }

    /// Its port, on loopback and in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port
    }
}
