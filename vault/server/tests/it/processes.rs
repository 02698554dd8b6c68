//! The program itself, as a service manager starts it: what it prints, where that cannot be printed,
//! and who may work on a vault's files.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};
use strongroom_server::{command::make, tls};

/// A vault on a disk.
struct OnDisk {
    directory: tempfile::TempDir,
    config: PathBuf,
}

/// A vault that serves.
struct Serving {
    child: Child,
    address: SocketAddr,
}

impl OnDisk {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "certificates are judged by the real clock")]
        let now = time::OffsetDateTime::now_utc();
        let dir = directory.path().join("vault");
        let made = make(&dir, "https://127.0.0.1:8443", "root", false, now).await.unwrap();
        let on_disk = Self { directory, config: made.config };
        on_disk.configure("listen = \"127.0.0.1:8443\"", "listen = \"127.0.0.1:0\"");
        on_disk.configure("metrics_listen = \"127.0.0.1:9464\"", "metrics_listen = \"\"");
        on_disk.configure("log_level = \"info\"", "log_level = \"debug\"");
        on_disk
    }

    fn configure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&self.config, text.replacen(from, to, 1)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("vault").join(name)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = strongroomd();
        command.args([name, "--config"]).arg(&self.config).stdin(Stdio::null());
        command
    }

    /// Serves, with its log going to `log`.
    fn serve(&self, log: impl Into<Stdio>) -> Serving {
        let mut child = self.command("serve").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("serving on ").and_then(|a| a.parse().ok());
        Serving { address: address.ok_or(line).unwrap(), child }
    }

    /// Status and body of an answer.
    fn ask(&self, serving: &Serving, method: &str, path: &str, body: &str) -> (u16, Value) {
        let token = fs::read_to_string(self.file("admin.token")).unwrap();
        let ca = fs::read(self.file("tls/ca.pem")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(tls::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = rustls::ClientConnection::new(Arc::new(client), "127.0.0.1".try_into().unwrap()).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, TcpStream::connect(serving.address).unwrap());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: vault\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            token.trim(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The connection may end without TLS's own goodbye.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(&answer).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Serving {
    /// Stops it as a service manager does; its exit code.
    fn stop(mut self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn strongroomd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_strongroomd"))
}

/// A disk that is full.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader went away.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_costs_no_request_and_no_orderly_end() {
    let vault = OnDisk::new().await;
    for log in [full(), closed()] {
        let serving = vault.serve(log);
        for _ in 0..20 {
            let (status, problem) = vault.ask(&serving, "GET", "/v1/nothing", "");
            assert_eq!((status, &problem["code"]), (404, &"not_found".into()));
        }
        assert_eq!(serving.stop(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_printed_ends_no_command_by_a_panic() {
    let vault = OnDisk::new().await;
    // Serving is what it is for: that nobody could be told is in the log.
    for out in [full(), closed()] {
        let mut child = vault.command("serve").stdout(out).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    }
    let other = vault.directory.path().join("other");
    let mut init = strongroomd();
    init.args(["init", "--dir"]).arg(&other);
    let mut completions = strongroomd();
    completions.args(["completions", "bash"]);
    let mut openapi = strongroomd();
    openapi.arg("openapi");
    for (what, mut command) in
        [("doctor", vault.command("doctor")), ("init", init), ("completions", completions), ("openapi", openapi)]
    {
        let run = command.stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{what}: {said}");
        assert!(said.contains("standard output") && !said.contains("panicked"), "{what}: {said}");
        // Nobody is told why, and the exit code says it still.
        assert_eq!(command.stdout(full()).stderr(full()).status().unwrap().code(), Some(1), "{what}");
        if what == "init" {
            assert!(other.join("join.json").exists(), "the vault was made");
            fs::remove_dir_all(&other).unwrap();
        }
        let run = command.stdout(closed()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{what}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_at_a_time_writes_a_vault() {
    let vault = OnDisk::new().await;
    let serving = vault.serve(Stdio::null());
    let recover = |out: &Path| {
        let mut command = vault.command("recover-admin");
        command.args(["--person", "ada", "--out"]).arg(out).output().unwrap()
    };
    let token = vault.directory.path().join("ada.token");
    for run in [vault.command("serve").output().unwrap(), recover(&token)] {
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("process {}", serving.child.id())), "{said}");
    }
    assert!(!token.exists());
    // Looking and copying go beside it.
    assert!(vault.command("doctor").output().unwrap().status.success());
    let copy = vault.directory.path().join("copy.db");
    assert!(vault.command("backup").arg("--to").arg(&copy).output().unwrap().status.success());
    assert_eq!(serving.stop(), Some(0));

    let run = recover(&token);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    fs::copy(&token, vault.file("admin.token")).unwrap();
    let serving = vault.serve(Stdio::null());
    assert_eq!(vault.ask(&serving, "GET", "/v1/tokens", "").0, 200, "the new token is an admin's");
    assert_eq!(vault.ask(&serving, "GET", "/readyz", "").0, 200, "the ledger goes on");
    // Killed outright it leaves no lock.
    drop(serving);
    assert_eq!(vault.serve(Stdio::null()).stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_leaves_what_is_there_to_be_read() {
    let vault = OnDisk::new().await;
    let reserve = ("reserve_bytes = 268435456", "reserve_bytes = 9223372036854775807");
    vault.configure(reserve.0, reserve.1);
    let doctor = vault.command("doctor").output().unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{}", String::from_utf8_lossy(&doctor.stdout));
    let serving = vault.serve(Stdio::null());
    let (status, problem) = vault.ask(&serving, "GET", "/readyz", "");
    assert_eq!((status, &problem["code"]), (503, &"ledger_unavailable".into()));
    assert_eq!(vault.ask(&serving, "GET", "/healthz", "").0, 200);
    assert_eq!(vault.ask(&serving, "GET", "/v1/tokens", "").0, 200, "reading goes on");
    let body = r#"{"person":"vera","roles":["auditor"],"expires_in":600}"#;
    let (status, problem) = vault.ask(&serving, "POST", "/v1/tokens", body);
    assert_eq!((status, &problem["code"]), (503, &"ledger_unavailable".into()));
    assert_eq!(serving.stop(), Some(0));
    vault.configure(reserve.1, reserve.0);
    let serving = vault.serve(Stdio::null());
    assert_eq!(vault.ask(&serving, "GET", "/readyz", "").0, 200);
    assert_eq!(vault.ask(&serving, "POST", "/v1/tokens", body).0, 200);
    assert_eq!(serving.stop(), Some(0));
}
