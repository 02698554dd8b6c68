//! Against a service of this machine, with a time of its own.

mod nvidia;

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use service::Time;
use std::{
    cell::{Cell, RefCell},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};
use strongroom::protocol::sha256;
use time::OffsetDateTime;

/// What the service answers to one request: status, headers, body.
type Answers = Vec<(u16, &'static str, Vec<u8>)>;

/// A service that gives these answers in their order, and notes what it was asked.
struct Stand {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stand {
    fn new(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for (status, headers, body) in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                noted.lock().unwrap().push(lines.next().unwrap());
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
                (&stream).write_all(&[head.as_bytes(), &body].concat()).unwrap();
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn bases(&self) -> Bases {
        Bases::with(Vendor::ALL.map(|vendor| (vendor, self.url.clone())).to_vec())
    }
}

/// A time that passes by waiting only.
#[derive(Default)]
struct Still {
    now: Cell<Duration>,
    waits: RefCell<Vec<u64>>,
    chance: f64,
}

impl Time for &Still {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn wait(&self, pause: Duration) {
        self.now.set(self.now.get() + pause);
        self.waits.borrow_mut().push(u64::try_from(pause.as_millis()).unwrap());
    }

    fn chance(&self) -> f64 {
        self.chance
    }
}

fn ok(body: impl Into<Vec<u8>>) -> (u16, &'static str, Vec<u8>) {
    (200, "", body.into())
}

#[test]
fn amds_service_is_asked_once_in_ten_seconds_and_others_once_in_one() {
    let stand = Stand::new(vec![ok("a"), ok("b"), ok("c"), ok("d"), ok("e")]);
    let (client, time) = (Client::new(None).unwrap(), Still::default());
    let mut service = Service::new(&client, &time, stand.bases());
    for (vendor, path) in [(Vendor::Amd, "/1"), (Vendor::Amd, "/2"), (Vendor::Nvidia, "/3"), (Vendor::Nvidia, "/4")] {
        service.get(vendor, path).unwrap();
    }
    assert_eq!(*time.waits.borrow(), [10_000, 1_000]);
    time.now.set(time.now.get() + Duration::from_mins(1));
    service.get(Vendor::Amd, "/5").unwrap();
    assert_eq!(time.waits.borrow().len(), 2, "who waited otherwise waits no more");
    assert_eq!(stand.asked()[0], "GET /1 HTTP/1.1");
}

#[test]
fn a_busy_service_is_asked_again_after_growing_pauses() {
    let busy = |header| (429, header, Vec::new());
    let stand = Stand::new(vec![
        busy(""),
        (503, "", Vec::new()),
        busy("retry-after: 30\r\n"),
        busy("retry-after: 1\r\n"),
        ok("x"),
    ]);
    let (client, time) = (Client::new(None).unwrap(), Still { chance: 1.0, ..Still::default() });
    let mut service = Service::new(&client, &time, stand.bases());
    assert_eq!(service.get(Vendor::Nvidia, "/x").unwrap().body, b"x");
    assert_eq!(*time.waits.borrow(), [2_000, 4_000, 30_000, 16_000], "doubled, and never less than was asked for");

    let stand = Stand::new(vec![busy(""), ok("x")]);
    let time = Still::default();
    Service::new(&client, &time, stand.bases()).get(Vendor::Nvidia, "/x").unwrap();
    assert_eq!(*time.waits.borrow(), [1_000], "half of it for certain");
}

#[test]
fn what_does_not_help_is_not_repeated_for_ever() {
    let client = Client::new(None).unwrap();
    let refused = |answers: Answers| {
        let (stand, time) = (Stand::new(answers), Still::default());
        let problem = Service::new(&client, &time, stand.bases()).get(Vendor::Nvidia, "/x").err().unwrap();
        (problem, stand.asked().len())
    };
    let (problem, asked) = refused(vec![(404, "", Vec::new()), ok("never")]);
    assert!(problem.contains("does not have it") && asked == 1, "{problem}");
    let (problem, asked) = refused(vec![(302, "location: http://127.0.0.1:1/\r\n", Vec::new()), ok("never")]);
    assert!(problem.contains("answers 302") && asked == 1, "nobody is led elsewhere: {problem}");
    let (problem, asked) = refused(vec![(503, "retry-after: 86400\r\n", Vec::new()), ok("never")]);
    assert!(problem.contains("come again in 86400 s") && asked == 1, "{problem}");
    let (problem, asked) = refused(vec![(500, "", Vec::new()); 7]);
    assert!(problem.contains("after 6 attempts") && asked == 6, "{problem}");
    let (problem, asked) = refused(vec![ok(vec![0; 5 << 20]), ok("never")]);
    assert!(problem.contains("larger than") && asked == 1, "an answer has its cap: {problem}");
}

#[test]
fn only_this_machine_is_asked_without_tls() {
    for good in [
        "amd=https://mirror.example/kds",
        "nvidia=http://127.0.0.1:8080",
        "intel=http://[::1]:1",
        "amd=http://localhost:1",
    ] {
        assert!(service::base(good).is_ok(), "{good}");
    }
    for bad in [
        "amd=http://mirror.example",
        "amd",
        "sun=https://a",
        "amd=ftp://a",
        "amd=127.0.0.1",
        "amd=http://localhost.example",
        "amd=",
    ] {
        assert!(service::base(bad).is_err(), "{bad}");
    }
}

/// Unix seconds of every test.
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// AMD's chain and list of Milan, made for a test.
struct Amd {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (at(NOW - 400 * DAY), at(NOW + 4000 * DAY));
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()
}

impl Amd {
    fn new() -> Self {
        let authority = |name| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
            params
        };
        let root = CertifiedIssuer::self_signed(authority("ARK-Milan"), key()).unwrap();
        let intermediate = CertifiedIssuer::signed_by(authority("SEV-Milan"), key(), &root).unwrap();
        Self { root, intermediate }
    }

    fn pins(&self) -> Pins {
        let pin = serde_json::json!({
            "kind": "amd-ark", "name": "a stand-in", "product": "Milan", "source": "made for a test",
            "sha256": hex::encode(sha256(self.root.as_ref().der())),
        });
        Pins::parse(serde_json::json!({ "pins": [pin] }).to_string().as_bytes()).unwrap()
    }

    fn chain(&self) -> Vec<u8> {
        (self.intermediate.as_ref().pem() + &self.root.as_ref().pem()).into_bytes()
    }

    fn list(&self, until: i64) -> Vec<u8> {
        let list = CertificateRevocationListParams {
            this_update: at(NOW - DAY),
            next_update: at(until),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.root).unwrap().der().to_vec()
    }

    /// The certificate of a chip at boot loader 1, TEE 2, SNP 3, microcode 4.
    fn chip(&self, id: [u8; 64]) -> Vec<u8> {
        let mut params = params("SEV-VCEK");
        let of = |last: &[u64], content: Vec<u8>| {
            let oid: Vec<u64> = [1, 3, 6, 1, 4, 1, 3704, 1].iter().chain(last).copied().collect();
            CustomExtension::from_oid_content(&oid, content)
        };
        let parts = [(1, 1), (2, 2), (3, 3), (8, 4)].map(|(part, value)| of(&[3, part], vec![2, 1, value]));
        params.custom_extensions = parts.into();
        params.custom_extensions.push(of(&[4], id.to_vec()));
        params.signed_by(&key(), &self.intermediate).unwrap().der().to_vec()
    }
}

fn fetched(wanted: &[Wanted], stand: &Stand, directory: &mut Directory) -> Fetched {
    let (client, time) = (Client::new(None).unwrap(), Still::default());
    let mut service = Service::new(&client, &time, stand.bases());
    fetch(wanted, &mut service, directory, &Shown::new("fetch", 1, true)).unwrap()
}

#[test]
fn what_is_there_is_not_fetched_again_until_it_ends() {
    let (amd, directory) = (Amd::new(), tempfile::tempdir().unwrap());
    let chip = Wanted::of_chip(SnpProduct::Milan, &"ab".repeat(64), "0102000000000304").unwrap();
    let wanted = [Wanted::Chain(SnpProduct::Milan), Wanted::RevocationList(SnpProduct::Milan), chip];
    let open = |now| Directory::open(directory.path(), amd.pins(), now).unwrap();

    // Stopped after the first.
    let stand = Stand::new(vec![ok(amd.chain())]);
    assert_eq!(fetched(&wanted[..1], &stand, &mut open(NOW)).written, ["ark/Milan.der", "ask/Milan.der"]);
    assert_eq!(stand.asked(), ["GET /vcek/v1/Milan/cert_chain HTTP/1.1"]);
    let stand = Stand::new(vec![ok(amd.list(NOW + 30 * DAY)), ok(amd.chip([0xab; 64]))]);
    let all = fetched(&wanted, &stand, &mut open(NOW));
    let name = format!("vcek/{}/0102000000000304.der", "ab".repeat(64));
    assert_eq!(all.written, ["vcek/crl/Milan.crl", name.as_str()], "{all:?}");
    let path = format!("/vcek/v1/Milan/{}?blSPL=01&teeSPL=02&snpSPL=03&ucodeSPL=04", "ab".repeat(64));
    assert_eq!(stand.asked()[1], format!("GET {path} HTTP/1.1"));
    assert_eq!(std::fs::read(directory.path().join(&name)).unwrap()[0], 0x30);

    // The files' own times are this system's: a list of today counts as fresh whatever the clock of the test.
    let again = fetched(&wanted[2..], &Stand::new(vec![]), &mut open(NOW));
    assert_eq!((again.there.len(), again.failed.len()), (1, 0));
    let near = NOW + 20 * DAY;
    let stand = Stand::new(vec![ok(amd.list(NOW + 60 * DAY))]);
    let all = fetched(&wanted[1..2], &stand, &mut open(near));
    assert_eq!(all.written, ["vcek/crl/Milan.crl"], "ten days before its end");
    std::fs::write(directory.path().join(&name), b"damaged").unwrap();
    let all = fetched(&wanted[2..], &Stand::new(vec![ok(amd.chip([0xab; 64]))]), &mut open(NOW));
    assert_eq!(all.written, [name.as_str()]);
}

#[test]
fn what_no_root_vouches_for_is_not_written_and_stops_nothing() {
    let (amd, forger, directory) = (Amd::new(), Amd::new(), tempfile::tempdir().unwrap());
    let mut open = Directory::open(directory.path(), amd.pins(), NOW).unwrap();
    let (wanted, other) = (
        Wanted::of_chip(SnpProduct::Milan, &"ab".repeat(64), "0102000000000304").unwrap(),
        Wanted::of_chip(SnpProduct::Milan, &"cd".repeat(64), "0102000000000304").unwrap(),
    );
    let all = [Wanted::Chain(SnpProduct::Milan), wanted, other, Wanted::RevocationList(SnpProduct::Milan)];
    let stand = Stand::new(vec![
        ok(amd.chain()),
        ok(forger.chip([0xab; 64])),
        // Genuine, of another chip.
        ok(amd.chip([0xab; 64])),
        ok(amd.list(NOW + 30 * DAY)),
    ]);
    let all = fetched(&all, &stand, &mut open);
    assert_eq!(all.written, ["ark/Milan.der", "ask/Milan.der", "vcek/crl/Milan.crl"]);
    assert!(all.failed[0].problem.contains("no pinned root vouches"), "{:?}", all.failed[0]);
    assert!(all.failed[1].problem.contains("something else"), "{:?}", all.failed[1]);
    assert!(!directory.path().join("vcek").join("ab".repeat(64)).exists());
}

#[test]
fn collateral_is_put_together_from_whole_answers() {
    let stand = Stand::new(vec![
        (200, "TCB-Info-Issuer-Chain: chain%201\r\n", br#"{"tcbInfo":{},"signature":"00"}"#.to_vec()),
        (
            200,
            "SGX-Enclave-Identity-Issuer-Chain: chain%202\r\n",
            br#"{"enclaveIdentity":{},"signature":"01"}"#.to_vec(),
        ),
        (200, "SGX-PCK-CRL-Issuer-Chain: chain%203\r\n", vec![0x30, 1]),
        ok(vec![0x30, 2]),
    ]);
    let (client, time) = (Client::new(None).unwrap(), Still::default());
    let mut service = Service::new(&client, &time, stand.bases());
    let key = CollateralKey { fmspc: "00806f050000".to_owned(), ca: strongroom_attest::tdx::PckCa::Platform };
    let bytes = Wanted::Collateral(key).fetch(&mut service).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(written["tcb_info"], r#"{"tcbInfo":{},"signature":"00"}"#, "the bytes that are signed");
    assert_eq!((&written["pck_crl"], &written["root_ca_crl"]), (&"3001".into(), &"3002".into()));
    assert_eq!(written["qe_identity_issuer_chain"], "chain%202");
    let paths = [
        "/tdx/certification/v4/tcb?fmspc=00806f050000",
        "/tdx/certification/v4/qe/identity",
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "/IntelSGXRootCA.der",
    ];
    assert_eq!(stand.asked(), paths.map(|path| format!("GET {path} HTTP/1.1")));
}

#[test]
fn a_manifest_comes_out_of_its_answer() {
    let stand = Stand::new(vec![ok(br#"{"id":"x","rim":"PHhtbC8+","sha256":"00"}"#.to_vec())]);
    let (client, time) = (Client::new(None).unwrap(), Still::default());
    let mut service = Service::new(&client, &time, stand.bases());
    let wanted = Wanted::manifest("NV_GPU_DRIVER_GH100_550.90.07").unwrap();
    assert_eq!(wanted.fetch(&mut service).unwrap(), b"<xml/>");
    assert_eq!(stand.asked(), ["GET /v1/rim/NV_GPU_DRIVER_GH100_550.90.07 HTTP/1.1"]);
    for bad in ["", "x", "NV_GPU_DRIVER_../../x", "NV_GPU_DRIVER_?a=b", "NV_GPU_VBIOS_\n"] {
        assert!(Wanted::manifest(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_chip_is_asked_for_as_its_product_is() {
    let turin = Wanted::of_chip(SnpProduct::Turin, &"AB".repeat(8), "0102030400000048").unwrap();
    assert_eq!(turin.names(), [format!("vcek/{}/0102030400000048.der", "ab".repeat(8))]);
    let stand = Stand::new(vec![ok("x")]);
    let (client, time) = (Client::new(None).unwrap(), Still::default());
    turin.fetch(&mut Service::new(&client, &time, stand.bases())).unwrap();
    let path = format!("/vcek/v1/Turin/{}?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=72", "ab".repeat(8));
    assert_eq!(stand.asked(), [format!("GET {path} HTTP/1.1")]);
    for (product, id, tcb) in [
        (SnpProduct::Turin, "ab".repeat(64), "0102030400000048"),
        (SnpProduct::Milan, "ab".repeat(8), "0102000000000304"),
        (SnpProduct::Milan, "zz".repeat(64), "0102000000000304"),
        (SnpProduct::Milan, "ab".repeat(64), "0102030000000304"),
        (SnpProduct::Milan, "ab".repeat(64), "01020000000003"),
    ] {
        assert!(Wanted::of_chip(product, &id, tcb).is_err(), "{product} {id} {tcb}");
    }
}
