//! Enrolment and quotes of a real TPM implementation: swtpm with its local CA, driven by tpm2-tools.
//!
//! Skips, with a printed reason, where these programs are not installed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

use ring::rand::SystemRandom;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use strongroom_attest::{
    BootCounters, QuoteEvidence, QuoteExpectation, Refused, TrustAnchors, Verdict,
    enrol::{PendingActivation, check_ak, make_credential, verify_ek_certificate},
    quote,
    tpm::Public,
};
use strongroom_protocol::{
    bytes::Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection},
};
use tempfile::TempDir;

/// 2040-01-01: swtpm's certificates are made now and never expire.
const NOW: u64 = 2_208_988_800;
const EXTRA: [u8; 32] = [0x77; 32];

/// A TPM that ends with the test.
struct Tpm {
    dir: TempDir,
    process: Child,
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Tpm {
    /// Manufactures a TPM with EK certificates and starts it; `None`, with a printed reason, where that cannot be.
    fn start() -> Option<Self> {
        for program in ["swtpm", "swtpm_setup", "swtpm_localca", "tpm2"] {
            if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                println!("skipped: {program} is not installed");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        for name in ["state", "ca", "certs"] {
            fs::create_dir(at(name)).unwrap();
        }
        let options = "--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n";
        fs::write(at("options"), options).unwrap();
        let ca = at("ca");
        let localca = format!(
            "statedir = {ca}\nsigningkey = {ca}/key.pem\nissuercert = {ca}/issuer.pem\ncertserial = {ca}/serial\n"
        );
        fs::write(at("localca.conf"), localca).unwrap();
        let tool = which("swtpm_localca");
        let setup = format!(
            "create_certs_tool = {tool}\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
            at("localca.conf"),
            at("options")
        );
        fs::write(at("setup.conf"), setup).unwrap();
        run(Command::new("swtpm_setup")
            .args(["--tpm2", "--create-ek-cert", "--pcr-banks", "sha256", "--tpmstate"])
            .args([&at("state"), "--write-ek-cert-files", &at("certs"), "--config", &at("setup.conf")]));
        let socket = format!("type=unixio,path={}", at("tpm"));
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", at("state"))])
            .args(["--server", &socket, "--ctrl", &format!("{socket}.ctrl")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut tpm = Self { dir, process };
        while !(tpm.path("tpm").exists() && tpm.path("tpm.ctrl").exists()) {
            assert!(tpm.process.try_wait().unwrap().is_none(), "swtpm ended before it listened");
            std::thread::yield_now();
        }
        Some(tpm)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a tool of tpm2-tools in the TPM's directory; its words are split at spaces.
    fn tool(&self, line: &str) {
        let mut words = line.split(' ');
        run(self.command(words.next().unwrap()).args(words));
    }

    fn fails(&self, line: &str) -> bool {
        let mut words = line.split(' ');
        let output = self.command(words.next().unwrap()).args(words).output().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stderr));
        !output.status.success()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path());
        command.env("TPM2TOOLS_TCTI", format!("swtpm:path={}", self.path("tpm").display()));
        command
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// A `TPM2B_PUBLIC` that a tool wrote, without its size.
    fn public(&self, name: &str) -> Public {
        Public::parse(&self.read(name)[2..]).unwrap()
    }

    fn write_sized(&self, name: &str, parts: &[&[u8]], head: &[u8]) {
        let mut out = head.to_vec();
        for part in parts {
            out.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            out.extend_from_slice(part);
        }
        fs::write(self.path(name), out).unwrap();
    }

    fn anchors(&self) -> TrustAnchors {
        let root = fs::read_to_string(self.path("ca/swtpm-localca-rootca-cert.pem")).unwrap();
        let mut anchors = TrustAnchors::from_pem(&root).unwrap();
        assert_eq!(anchors.roots_sha256().count(), 1);
        let issuer = fs::read_to_string(self.path("ca/issuer.pem")).unwrap();
        anchors.extend(TrustAnchors::from_pem(&issuer).unwrap());
        assert_eq!((anchors.roots_sha256().count(), anchors.intermediates()), (1, 1));
        anchors
    }
}

fn which(program: &str) -> String {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The EKs that `swtpm_setup` certifies, as (public area, certificate, template).
fn certified_eks(tpm: &Tpm) -> Vec<(Public, Vec<u8>, &'static str)> {
    tpm.tool("tpm2_readpublic -Q -c 0x81010001 -o rsa.pub");
    tpm.tool("tpm2_readpublic -Q -c 0x81010016 -o ecc.pub");
    let certificate = |name: &str| tpm.read(Path::new("certs").join(name).to_str().unwrap());
    vec![
        (tpm.public("rsa.pub"), certificate("ek-rsa2048.crt"), "L-1"),
        (tpm.public("ecc.pub"), certificate("ek-secp384r1.crt"), "H-3"),
    ]
}

#[test]
fn e1_e2_e3_certificates_of_swtpms_local_ca_verify() {
    let Some(tpm) = Tpm::start() else { return };
    let anchors = tpm.anchors();
    for (ek, certificate, template) in certified_eks(&tpm) {
        let identity = verify_ek_certificate(&[&certificate], &ek, &anchors, &[], NOW).unwrap();
        assert_eq!(identity.tolerances(), []);
        assert_eq!(identity.template(), template);
        // swtpm gives IBM's number, which is not text.
        assert_eq!((identity.manufacturer(), identity.model()), ("id:00001014", "swtpm"));
        assert_eq!(identity.revocation(), Verdict::NotChecked);
        let refused = verify_ek_certificate(&[&certificate], &ek, &TrustAnchors::default(), &[], NOW);
        assert!(matches!(refused, Err(Refused::E2Path { .. })));
        let early = verify_ek_certificate(&[&certificate], &ek, &anchors, &[], 1_000_000_000);
        assert!(matches!(early, Err(Refused::E2Validity { .. })));
    }
}

/// The TPM itself judges the credential: it gives the secret back only for its own EK and this AK.
#[test]
fn e5_the_tpm_activates_what_was_made_in_software() {
    let Some(tpm) = Tpm::start() else { return };
    for kind in ["rsa", "ecc", "ecc384", "rsa3072"] {
        tpm.tool(&format!("tpm2_createek -Q -G {kind} -c ek.ctx -u ek.pub"));
        tpm.tool("tpm2_flushcontext -t");
        tpm.tool("tpm2_createak -Q -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name");
        tpm.tool("tpm2_flushcontext -t");
        let (ek, ak) = (tpm.public("ek.pub"), tpm.public("ak.pub"));
        let profile = check_ak(&ak).unwrap();
        assert_eq!(profile.name(), tpm.read("ak.name"));

        let pending = PendingActivation::generate(NOW, &SystemRandom::new()).unwrap();
        let activates = |ak_name: &[u8]| {
            let credential = make_credential(&ek, ak_name, pending.secret(), &SystemRandom::new()).unwrap();
            // The file format of tpm2_makecredential: magic, version, then both structures with their sizes.
            let parts = [credential.credential_blob.as_slice(), &credential.encrypted_secret];
            tpm.write_sized("credential", &parts, b"\xba\xdc\xc0\xde\x00\x00\x00\x01");
            let activate = "tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o secret";
            // EKs of the high range may be used by their (empty) password, those of the low range by PolicyA.
            let failed = if matches!(kind, "rsa" | "ecc") {
                tpm.tool("tpm2_startauthsession --policy-session -S session.ctx");
                tpm.tool("tpm2_policysecret -Q -S session.ctx -c e");
                let failed = tpm.fails(&format!("{activate} -P session:session.ctx"));
                tpm.tool("tpm2_flushcontext session.ctx");
                failed
            } else {
                tpm.fails(activate)
            };
            tpm.tool("tpm2_flushcontext -t");
            !failed
        };
        let mut other = profile.name().to_vec();
        other[5] ^= 1;
        assert!(!activates(&other), "{kind}: a credential for another AK was activated");
        assert!(activates(profile.name()), "{kind}");
        pending.redeem(&tpm.read("secret"), NOW).unwrap();
    }
}

fn values(tpm: &Tpm, selection: &PcrSelection) -> PcrMap {
    let list: Vec<_> = selection.pcrs.iter().map(ToString::to_string).collect();
    tpm.tool(&format!("tpm2_pcrread -Q sha256:{} -o pcrs", list.join(",")));
    let bytes = tpm.read("pcrs");
    PcrMap(selection.pcrs.iter().zip(bytes.chunks(32)).map(|(pcr, value)| (*pcr, Bytes(value.to_vec()))).collect())
}

/// `PCR:bank=digest` arguments that stand for a measured boot.
fn measure(tpm: &Tpm) {
    let digest = "ab".repeat(32);
    tpm.tool(&format!("tpm2_pcrextend 0:sha256={digest} 4:sha256={digest} 7:sha256={digest}"));
}

#[test]
fn q1_to_q8_quotes_of_the_tpm_verify_until_something_changes() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.tool("tpm2_createek -Q -G rsa -c ek.ctx -u ek.pub");
    tpm.tool("tpm2_flushcontext -t");
    let ek_name = tpm.public("ek.pub").name();
    let selection = PcrSelection::default_sha256();
    let extra = hex::encode(EXTRA);
    for scheme in [
        "-G ecc -g sha256 -s ecdsa",
        "-G ecc384 -g sha384 -s ecdsa",
        "-G rsa -g sha256 -s rsassa",
        "-G rsa -g sha256 -s rsapss",
        "-G rsa3072 -g sha384 -s rsapss",
    ] {
        tpm.tool(&format!("tpm2_createak -Q -C ek.ctx -c ak.ctx {scheme} -u ak.pub"));
        tpm.tool("tpm2_flushcontext -t");
        let ak = tpm.public("ak.pub");
        check_ak(&ak).unwrap();
        let expect =
            QuoteExpectation { ak: &ak, ek_name: &ek_name, extra_data: EXTRA, selection: &selection, boot: None };
        let hash = if scheme.contains("sha384") { "sha384" } else { "sha256" };
        let padding = if scheme.contains("rsapss") { " --scheme rsapss" } else { "" };
        let quote = |pcrs: &str| {
            tpm.tool(&format!(
                "tpm2_quote -Q -c ak.ctx -g {hash}{padding} -l sha256:{pcrs} -q {extra} -m message -s signature"
            ));
            tpm.tool("tpm2_flushcontext -t");
            (tpm.read("message"), tpm.read("signature"))
        };
        let verify = |(message, signature): &(Vec<u8>, Vec<u8>), values: &PcrMap, expect: &QuoteExpectation<'_>| {
            let evidence = QuoteEvidence { message, signature, pcr_bank: PcrBank::Sha256, pcr_values: values };
            quote::verify(evidence, expect)
        };
        let all = "0,1,2,3,4,5,6,7,8,9,11,12,13,14";
        if scheme.contains("ecc ") {
            // Nothing has been measured yet.
            let unmeasured = verify(&quote(all), &values(&tpm, &selection), &expect);
            assert_eq!(unmeasured, Err(Refused::Q8NotMeasured { pcr: 0, byte: 0 }));
            measure(&tpm);
        }
        let (quoted, current) = (quote(all), values(&tpm, &selection));
        let claims = verify(&quoted, &current, &expect).unwrap_or_else(|why| panic!("{scheme}: {why}"));
        println!("{scheme}: tolerances {:?}", claims.tolerances());
        assert_eq!(claims.pcrs()[&0].len(), 64);

        let same_boot = QuoteExpectation { boot: Some(claims.boot()), ..expect };
        verify(&quoted, &current, &same_boot).unwrap();
        let reset_count = claims.boot().reset_count + 1;
        let rebooted = QuoteExpectation { boot: Some(BootCounters { reset_count, ..claims.boot() }), ..expect };
        assert!(matches!(verify(&quoted, &current, &rebooted), Err(Refused::Q5Rebooted { .. })));
        let other_extra = QuoteExpectation { extra_data: [0; 32], ..expect };
        assert!(matches!(verify(&quoted, &current, &other_extra), Err(Refused::Q3ExtraData { .. })));
        assert!(matches!(verify(&quote("0,4"), &current, &expect), Err(Refused::Q6Selection { .. })));
        tpm.tool(&format!("tpm2_pcrextend 9:sha256={}", "01".repeat(32)));
        let stale = verify(&quote(all), &current, &expect);
        assert!(matches!(stale, Err(Refused::Q7Digest { .. })));
    }
    // An AK of the owner hierarchy signs just as well, and is not under the EK.
    tpm.tool("tpm2_createprimary -Q -C o -G ecc:ecdsa-sha256:null -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign -c ak.ctx");
    tpm.tool("tpm2_readpublic -Q -c ak.ctx -o ak.pub");
    tpm.tool(&format!("tpm2_quote -Q -c ak.ctx -l sha256:0,4 -q {extra} -m message -s signature"));
    let ak = tpm.public("ak.pub");
    check_ak(&ak).unwrap();
    let selection = PcrSelection { bank: PcrBank::Sha256, pcrs: vec![0, 4] };
    let expect = QuoteExpectation { ak: &ak, ek_name: &ek_name, extra_data: EXTRA, selection: &selection, boot: None };
    let (message, signature, current) = (tpm.read("message"), tpm.read("signature"), values(&tpm, &selection));
    let evidence =
        QuoteEvidence { message: &message, signature: &signature, pcr_bank: PcrBank::Sha256, pcr_values: &current };
    assert!(matches!(quote::verify(evidence, &expect), Err(Refused::Q4Signer { .. })));
}
