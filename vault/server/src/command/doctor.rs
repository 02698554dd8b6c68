//! `strongroomd doctor`: what is wrong, and what to do about it.

use super::{init::UNFINISHED, output, system_time};
use crate::{
    clock::rfc3339,
    config::{BackendKind, Config, url_host},
    endorsements::{Endorsements, ends::ending},
    start::{self, IdentitySigner, TAIL, new_vault, unprotected},
    tls,
    trust::Trust,
};
use anyhow::Result;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Serialize;
use std::{
    fmt::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use strongroom_attest::Pins;
use strongroom_keys::{Custody, KeyTree};
use strongroom_ledger::{SignedCheckpoint, VerifierKey};
use strongroom_memory::{KeyPages, Protection};
use strongroom_store::{Backend, Sequencer, StoreError};
use time::OffsetDateTime;

/// Seconds that the database's clock may differ from the system's.
const CLOCK_TOLERANCE: i64 = 5;
/// Days before its end at which a certificate is reported.
const EXPIRY_WARNING: i64 = 14;
/// Endorsements of which it is said that they end.
const ENDING: usize = 20;

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// The database's own signed checkpoint, where it is not the one that is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn ok(&mut self, name: &'static str, finding: impl Into<String>) {
        self.0.push(Check { name, verdict: Verdict::Ok, finding: finding.into(), remedy: None, checkpoint: None });
    }
    fn warn(&mut self, name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) {
        self.push(name, Verdict::Warning, finding.into(), remedy.into(), None);
    }
    fn fail(&mut self, name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) {
        self.push(name, Verdict::Failed, finding.into(), remedy.into(), None);
    }
    fn push(
        &mut self,
        name: &'static str,
        verdict: Verdict,
        finding: String,
        remedy: String,
        checkpoint: Option<String>,
    ) {
        self.0.push(Check { name, verdict, finding, remedy: Some(remedy), checkpoint });
    }
    fn holds(&self) -> bool {
        !self.0.iter().any(|c| matches!(c.verdict, Verdict::Failed))
    }
}

pub(super) async fn run(path: &Path, pins: Pins, json: bool) -> Result<ExitCode> {
    let config = Config::load(path)?;
    let report = examine(path, &config, pins, system_time()).await;
    if json {
        output::json(&report.0)?;
    } else {
        let mut text = String::new();
        for check in &report.0 {
            let mark = match check.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Failed => "FAILED ",
            };
            let _ = writeln!(text, "{mark}  {:<12} {}", check.name, check.finding);
            if let Some(remedy) = &check.remedy {
                let _ = writeln!(text, "                      -> {remedy}");
            }
            if let Some(checkpoint) = &check.checkpoint {
                let _ = writeln!(text, "                      the database's own signed checkpoint:\n{checkpoint}");
            }
        }
        output::text(text)?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(path: &Path, config: &Config, pins: Pins, now: OffsetDateTime) -> Report {
    let mut report = Report::default();
    modes(config, &mut report);
    beside(path, &mut report);
    unfinished(path, &mut report);
    certificates(config, now, &mut report);
    authority(config, now, &mut report);
    memory(&mut report);
    if config.four_eyes.waived {
        report.warn(
            "four eyes",
            "waived",
            "remove `waived = true` from [four_eyes] before this vault holds anything real",
        );
    } else {
        report.ok("four eyes", "in force");
    }
    match start::open_store_as_it_is(config).await {
        Ok(store) => {
            report.ok("database", place(config));
            let imported = endorsements(&*store, pins, now, &mut report).await;
            roots(config, imported, now, &mut report);
            database(config, &store, now, &mut report).await;
        }
        Err(error) => {
            roots(config, None, now, &mut report);
            let remedy = match error.downcast_ref() {
                Some(StoreError::Schema { found, wanted }) if found < wanted => {
                    "make a backup with the program that wrote it, then start `strongroomd serve` of this version"
                }
                Some(StoreError::Schema { .. }) => "use the newer program that wrote it",
                Some(StoreError::ReadOnly(_)) => "connect to the primary, or let the database take writes again",
                Some(StoreError::Volatile(_)) => "change that setting of the database: a commit has to be on its disk",
                _ => "correct [store], or run `strongroomd init`",
            };
            report.fail("database", format!("{error:#}"), remedy);
        }
    }
    report
}

/// Where the database is.
fn place(config: &Config) -> String {
    match config.store.backend {
        BackendKind::Sqlite => config.store.path.display().to_string(),
        BackendKind::Postgres => config.store.postgres.options().place(),
    }
}

/// Secrets that others may read are not secrets.
fn modes(config: &Config, report: &mut Report) {
    let mut secrets = vec![("root key", &config.custody.path), ("TLS key", &config.server.tls_key)];
    let password = &config.store.postgres.password_file;
    match config.store.backend {
        BackendKind::Sqlite => secrets.push(("database", &config.store.path)),
        BackendKind::Postgres if !password.as_os_str().is_empty() => secrets.push(("database password", password)),
        BackendKind::Postgres => {}
    }
    for (name, path) in secrets {
        match std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777) {
            Ok(mode) if mode.trailing_zeros() >= 6 => {
                report.ok("file modes", format!("{name}: {} is {mode:o}", path.display()));
            }
            Ok(mode) => report.fail(
                "file modes",
                format!("{name}: {} is {mode:o}: others may read it", path.display()),
                format!("chmod 600 {}; if others did read it, replace it", path.display()),
            ),
            Err(error) => report.fail(
                "file modes",
                format!("{name}: {}: {error}", path.display()),
                "correct the path in the configuration",
            ),
        }
    }
}

/// The configuration, and the first token where it still lies beside it.
fn beside(path: &Path, report: &mut Report) {
    const NAME: &str = "file modes";
    let mode = |path: &Path| std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777);
    // That others may not write it was checked before it was believed.
    if mode(path).is_ok_and(|mode| mode & 0o024 != 0) {
        report.warn(
            NAME,
            format!("configuration: others may read {}, or its group may write it", path.display()),
            format!("chmod 600 {}: it holds no secrets, but says where they lie", path.display()),
        );
    }
    let token = directory(path).join("admin.token");
    if let Ok(mode) = mode(&token)
        && mode & 0o077 != 0
    {
        report.fail(
            NAME,
            format!("first token: {} is {mode:o}: others may read it", token.display()),
            "revoke that token, and make another: `strongroom token revoke`, `strongroom token create`",
        );
    }
}

/// What an `init` that was killed left behind: it holds a root key, though of no vault.
fn unfinished(path: &Path, report: &mut Report) {
    let vault = directory(path);
    let parent = vault.canonicalize().ok().and_then(|d| d.parent().map(Path::to_owned));
    for place in std::iter::once(vault).chain(parent) {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                report.warn(
                    "init",
                    format!("{} is what an init that was killed left", entry.path().display()),
                    format!("if no `strongroomd init` is running: rm -r {}", entry.path().display()),
                );
            }
        }
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn certificates(config: &Config, now: OffsetDateTime, report: &mut Report) {
    const NAME: &str = "TLS";
    let remedy = "put a certificate chain and its key where [server] tls_certificate and tls_key say";
    if let Err(error) = tls::server_config(&config.server.tls_certificate, &config.server.tls_key) {
        return report.fail(NAME, format!("{error:#}"), remedy);
    }
    let chain =
        CertificateDer::pem_file_iter(&config.server.tls_certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for certificate in chain.unwrap_or_default() {
        let Some(end) = tls::not_after(&certificate) else {
            report.fail(NAME, "a certificate of the chain cannot be read", remedy);
            continue;
        };
        let days = (end - now).whole_days();
        if end <= now {
            report.fail(
                NAME,
                format!("a certificate of the chain expired on {}", end.date()),
                "replace it, and restart",
            );
        } else if days < EXPIRY_WARNING {
            report.warn(NAME, format!("a certificate of the chain expires in {days} days"), "replace it, and restart");
        } else {
            report.ok(NAME, format!("TLS 1.3 with X25519MLKEM768; certificate until {}", end.date()));
        }
    }
}

/// What join files tell clients to believe: certificates, and those that the server's chain leads to.
fn authority(config: &Config, now: OffsetDateTime, report: &mut Report) {
    const NAME: &str = "TLS CA";
    let path = config.server.tls_ca.display();
    let mut roots = rustls::RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(&config.server.tls_ca).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let added = match read {
        Ok(authorities) => authorities.into_iter().try_for_each(|ca| roots.add(ca)).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let remedy = "put the CA's certificate (PEM) where [server] tls_ca says";
    match added {
        Err(error) => return report.fail(NAME, format!("{path}: {error}"), remedy),
        Ok(()) if roots.is_empty() => return report.fail(NAME, format!("{path} holds no certificate"), remedy),
        Ok(()) => {}
    }
    match tls::believed(&config.server.tls_certificate, roots, url_host(&config.server.url).unwrap_or_default(), now) {
        Ok(()) => report.ok(NAME, format!("{path}: who believes it believes the server's certificate")),
        Err(error) => report.warn(
            NAME,
            format!("clients that are given {path} do not believe the server's certificate: {error:#}"),
            "give [server] tls_ca and url that go with the certificate, and hand out join files with them",
        ),
    }
}

/// TPM vendors' roots: those of the directory, and as many as were `imported`, where the database can say.
fn roots(config: &Config, imported: Option<usize>, now: OffsetDateTime, report: &mut Report) {
    let directory = config.attestation.ek_roots.display().to_string();
    match Trust::load(&config.attestation.ek_roots, &config.attestation.crls) {
        Err(error) => report.fail("roots", format!("{error:#}"), "remove or replace that file"),
        Ok(trust) => {
            for crl in trust.expired(now.unix_timestamp()) {
                report.fail(
                    "roots",
                    format!(
                        "the revocation list {} is out of date: no TPM of its issuer is enrolled",
                        crl.path.display()
                    ),
                    "get the vendor's newer one, and restart",
                );
            }
            match (trust.anchors.roots_sha256().count(), imported) {
                (0, None | Some(0)) => report.warn(
                    "roots",
                    if imported.is_some() {
                        "no TPM vendor's root, in the directory or imported: no node can be enrolled by its TPM"
                    } else {
                        "no TPM vendor's root in the directory; those that were imported could not be looked at"
                    },
                    format!(
                        "put the vendors' root certificates (PEM) into {directory}, or pin and import them: strongroom \
                         endorsement pin propose, endorsement import"
                    ),
                ),
                (n, imported) => report.ok(
                    "roots",
                    format!(
                        "{n} roots, {} intermediates, {} CRLs; {} roots imported",
                        trust.anchors.intermediates(),
                        trust.crls.len(),
                        imported.map_or("an unknown number of".to_owned(), |imported| imported.to_string())
                    ),
                ),
            }
        }
    }
}

/// What vendors publish about their hardware: whether it counts, and how long. Gives how many TPM vendors' roots
/// count.
async fn endorsements(store: &dyn Backend, pins: Pins, now: OffsetDateTime, report: &mut Report) -> Option<usize> {
    const NAME: &str = "endorsements";
    let current = match Endorsements::new(pins).load(store).await {
        Ok(current) => current,
        Err(error) => {
            report.fail(NAME, error.to_string(), "repair the database");
            return None;
        }
    };
    for (name, why) in &current.left_out {
        report.fail(NAME, format!("{name} is not used: {why}"), "import what vouches for it, or remove it");
    }
    let ending = ending(&current, now.unix_timestamp());
    for row in ending.iter().take(ENDING) {
        let until = rfc3339(row.until);
        let remedy = "fetch a newer one (`strongroom endorsement fetch`), and import it";
        if row.until < now.unix_timestamp() {
            let finding = format!("{} ended on {until}: what it vouches for is refused", row.name);
            report.fail(NAME, finding, remedy);
        } else {
            report.warn(NAME, format!("{} ends on {until}", row.name), remedy);
        }
    }
    if ending.len() > ENDING {
        let finding = format!("{} more end within 14 days", ending.len() - ENDING);
        report.warn(NAME, finding, "`strongroom endorsement check` names them all");
    }
    if ending.is_empty() && current.left_out.is_empty() {
        report.ok(NAME, format!("{}, none ends within 14 days", current.rows.len()));
    }
    Some(current.tpm.roots_sha256().count())
}

fn memory(report: &mut Report) {
    match KeyPages::new(&Protection::default()) {
        Ok(pages) => report.ok("key pages", pages.kind().as_str()),
        Err(error) => report.fail("key pages", error.to_string(), "give the service what the message names"),
    }
    match strongroom_memory::harden_process() {
        Ok(_) => report.ok("process", "no core dumps, no tracing by the same user"),
        Err(error) => {
            report.fail("process", error.to_string(), "allow prctl(PR_SET_DUMPABLE) and setrlimit(RLIMIT_CORE)");
        }
    }
}

async fn database(config: &Config, store: &Arc<dyn Backend>, now: OffsetDateTime, report: &mut Report) {
    match store.now().await {
        Ok(seconds) if (seconds - now.unix_timestamp()).abs() <= CLOCK_TOLERANCE => {
            report.ok("clock", "the database's agrees with the system's");
        }
        Ok(seconds) => report.fail(
            "clock",
            format!("the database's differs from the system's by {} s", seconds - now.unix_timestamp()),
            "synchronise clocks: nonces and leases are judged by the database's",
        ),
        Err(error) => report.fail("clock", error.to_string(), "repair the database"),
    }
    match store.check_writable().await {
        // That the ledger went back in time is said of the ledger.
        Ok(()) | Err(StoreError::Rollback { .. }) => report.ok("disk", "there is room for the ledger"),
        Err(error) => report.fail(
            "disk",
            error.to_string(),
            "make room, or lower [store] reserve_bytes: until then nothing is released or changed",
        ),
    }
    let row = match start::vault_row(&**store, config).await {
        Ok(row) => row,
        Err(error) => {
            return report.fail("vault", format!("{error:#}"), "correct the configuration, or run `strongroomd init`");
        }
    };
    let root = match start::custody(config).and_then(|custody| custody.unlock()) {
        Ok(root) => root,
        Err(error) => {
            return report.fail(
                "custody",
                error.to_string(),
                "the vault stays locked until custody yields the root key",
            );
        }
    };
    let keys = match KeyTree::unlock(unprotected(root), &new_vault(&row)) {
        Ok(keys) => Arc::new(keys),
        Err(error) => return report.fail("custody", error.to_string(), "restore the root key of this vault"),
    };
    report.ok("custody", format!("file; the root key is that of vault {}", keys.vault_id()));
    ledger(config, store, keys, row.ledger_origin, report).await;
}

async fn ledger(config: &Config, store: &Arc<dyn Backend>, keys: Arc<KeyTree>, origin: String, report: &mut Report) {
    const NAME: &str = "ledger";
    let remedy = "stop, keep database and checkpoint file as they are, and compare them with an auditor's export";
    let key = match VerifierKey::new(origin, *keys.identity().public_key()) {
        Ok(key) => key,
        Err(error) => return report.fail(NAME, error.to_string(), remedy),
    };
    if !config.ledger.outside_checkpoint.exists() {
        let path = config.ledger.outside_checkpoint.display();
        let finding = format!("there is no {path}: a restored database could not be told from the true one");
        return gone_back(finding, &**store, &key, report).await;
    }
    let (outside, replica) = (config.ledger.outside_checkpoint.clone(), config.server.replica.clone());
    let signer = Arc::new(IdentitySigner(keys));
    let sequencer = Sequencer::look(Arc::clone(store), signer, key.clone(), outside, replica).await;
    let checked = match sequencer {
        Ok(sequencer) => sequencer.verify_tail(TAIL).await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(Some(head)) => {
            report.ok(NAME, format!("{} entries; the last {TAIL} hash to the signed checkpoint", head.size));
        }
        Ok(None) => report.fail(NAME, "it is empty", remedy),
        Err(error @ StoreError::Rollback { .. }) => gone_back(error.to_string(), &**store, &key, report).await,
        Err(error) => report.fail(NAME, error.to_string(), remedy),
    }
}

/// The database is not the one that was last known: what it is, and how a person goes on with it.
async fn gone_back(finding: String, store: &dyn Backend, key: &VerifierKey, report: &mut Report) {
    let head = store.head().await.ok().flatten();
    let head = head.filter(|head| {
        let signed = SignedCheckpoint::parse(&head.checkpoint);
        signed.is_ok_and(|signed| signed.verify(std::slice::from_ref(key)).is_ok())
    });
    let remedy = "stop every replica, keep database and checkpoint files as they are, and look for a newer database";
    let remedy = match &head {
        Some(head) => format!(
            "{remedy}; if it is lost, decide with somebody else to go on with this one: `strongroomd accept-restore \
             --size {}` (operations, \"Restore\")",
            head.size
        ),
        None => remedy.to_owned(),
    };
    report.push("ledger", Verdict::Failed, finding, remedy, head.map(|head| head.checkpoint));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::init::make;
    use std::fs::{Permissions, create_dir, metadata, read_to_string, set_permissions, write};

    struct Patient {
        parent: tempfile::TempDir,
        path: PathBuf,
    }

    impl Patient {
        async fn new() -> Self {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join("vault");
            let made = make(&dir, "https://vault.example:8443", "root", false, system_time()).await.unwrap();
            Self { parent, path: made.config }
        }
        fn file(&self, name: &str) -> PathBuf {
            self.parent.path().join("vault").join(name)
        }
        /// Findings that are not ok, with their remedies.
        async fn findings(&self) -> Vec<(&'static str, bool, String)> {
            let pins = Pins::built_in().clone();
            let report = examine(&self.path, &Config::load(&self.path).unwrap(), pins, system_time()).await;
            let bad = report.0.into_iter().filter(|c| !matches!(c.verdict, Verdict::Ok));
            let told = |c: Check| {
                let failed = matches!(c.verdict, Verdict::Failed);
                (c.name, failed, format!("{} -> {}", c.finding, c.remedy.unwrap_or_default()))
            };
            // A new vault has no vendor's root: that is not what these tests are about.
            bad.map(told).filter(|(name, ..)| *name != "roots").collect()
        }
        async fn one(&self) -> (&'static str, bool, String) {
            let mut findings = self.findings().await;
            assert_eq!(findings.len(), 1, "{findings:?}");
            findings.remove(0)
        }
    }

    #[tokio::test]
    async fn a_new_vault_is_well() {
        let patient = Patient::new().await;
        assert_eq!(patient.findings().await, []);
    }

    #[tokio::test]
    async fn roots_that_were_imported_count_like_those_of_the_directory() {
        let patient = Patient::new().await;
        let config = Config::load(&patient.path).unwrap();
        for (imported, warned, said) in [
            (Some(0), true, "in the directory or imported"),
            (None, true, "could not be looked at"),
            (Some(2), false, "2 roots imported"),
        ] {
            let mut report = Report::default();
            roots(&config, imported, system_time(), &mut report);
            let [Check { verdict, finding, .. }] = report.0.as_slice() else { panic!("{imported:?}") };
            assert_eq!(matches!(verdict, Verdict::Warning), warned, "{imported:?}: {finding}");
            assert!(finding.contains(said), "{finding}");
        }
        // What the database says reaches it.
        let report = examine(&patient.path, &config, Pins::built_in().clone(), system_time()).await;
        let found = report.0.iter().find(|check| check.name == "roots").unwrap();
        assert!(found.finding.contains("or imported"), "{}", found.finding);
    }

    #[tokio::test]
    async fn files_that_others_may_read_are_named() {
        let patient = Patient::new().await;
        for (name, failed) in [("strongroomd.toml", false), ("admin.token", true)] {
            set_permissions(patient.file(name), Permissions::from_mode(0o644)).unwrap();
            let (check, was_failed, finding) = patient.one().await;
            assert_eq!((check, was_failed), ("file modes", failed));
            assert!(finding.contains(name), "{finding}");
            set_permissions(patient.file(name), Permissions::from_mode(0o600)).unwrap();
        }
    }

    #[tokio::test]
    async fn a_disk_below_its_reserve_is_named() {
        let patient = Patient::new().await;
        let text = read_to_string(&patient.path).unwrap();
        write(&patient.path, text.replace("reserve_bytes = 268435456", "reserve_bytes = 9223372036854775807")).unwrap();
        let (check, failed, finding) = patient.one().await;
        assert_eq!((check, failed), ("disk", true));
        assert!(finding.contains("bytes are free") && finding.contains("reserve_bytes"), "{finding}");
    }

    #[tokio::test]
    async fn a_ca_that_is_none_or_another_is_named() {
        let patient = Patient::new().await;
        let text = read_to_string(&patient.path).unwrap();
        write(&patient.path, text.replace("tls_ca = \"tls/ca.pem\"", "tls_ca = \"root.key\"")).unwrap();
        let (check, failed, finding) = patient.one().await;
        assert_eq!((check, failed), ("TLS CA", true));
        assert!(finding.contains("root.key"), "{finding}");
        write(&patient.path, text).unwrap();
        let other = tls::make_certificates(vec!["vault.example".into()], system_time()).unwrap();
        write(patient.file("tls/ca.pem"), other.ca).unwrap();
        let (check, failed, _) = patient.one().await;
        assert_eq!((check, failed), ("TLS CA", false));
    }

    #[tokio::test]
    async fn without_the_checkpoint_outside_the_databases_own_is_shown_and_how_to_go_on_with_it() {
        let patient = Patient::new().await;
        let kept = read_to_string(patient.file("checkpoint.outside")).unwrap();
        std::fs::remove_file(patient.file("checkpoint.outside")).unwrap();
        let config = Config::load(&patient.path).unwrap();
        let report = examine(&patient.path, &config, Pins::default(), system_time()).await;
        let check = report.0.into_iter().find(|check| check.name == "ledger").unwrap();
        assert_eq!(check.checkpoint.as_ref(), Some(&kept));
        let size = kept.lines().nth(1).unwrap();
        let remedy = check.remedy.unwrap();
        assert!(remedy.contains(&format!("accept-restore --size {size}`")), "{remedy}");
    }

    #[tokio::test]
    async fn what_a_killed_init_left_is_named() {
        let patient = Patient::new().await;
        let left = patient.parent.path().join(".strongroom-init-0011223344556677");
        create_dir(&left).unwrap();
        let (check, failed, finding) = patient.one().await;
        assert_eq!((check, failed), ("init", false));
        assert!(finding.ends_with(&format!("rm -r {}", left.canonicalize().unwrap().display())), "{finding}");
    }

    #[tokio::test]
    async fn a_database_of_another_schema_is_named_and_not_migrated() {
        let patient = Patient::new().await;
        // Another file: connections that were just dropped may still be closing the first.
        write(patient.file("old.db"), b"").unwrap();
        set_permissions(patient.file("old.db"), Permissions::from_mode(0o600)).unwrap();
        let text = read_to_string(&patient.path).unwrap();
        write(&patient.path, text.replace("\"vault.db\"", "\"old.db\"")).unwrap();
        let (check, failed, finding) = patient.one().await;
        assert_eq!((check, failed), ("database", true));
        assert!(finding.contains("schema 0, this program wants 7: run serve"), "{finding}");
        assert_eq!(metadata(patient.file("old.db")).unwrap().len(), 0);
    }
}
