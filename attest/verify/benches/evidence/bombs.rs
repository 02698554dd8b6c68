//! Inputs that are made to be expensive, within the caps and beyond them, with what becomes of each: measured here, and
//! refused by their rows in `tests/attacks.rs`.

use strongroom_attest::{
    Pins, QuoteEvidence,
    azure::{self, AzureEvidence, AzureExpectation},
    endorsements,
    nvidia::{self, GpuEvidence, GpuExpectation, GpuRequirements, GuestWord, Revocation, rim},
    snp::{self, SnpEvidence, SnpExpectation, SnpRequirements, SnpRoots, SnpStore},
    tdx::{self, Ccel, Collateral, Evidence, Expectation, TdxRequirements},
};
use strongroom_hardware::{
    azure::Azure,
    certificate::{Extension, Key, Name, Written, pem, rsa_spki},
    nvidia::{self as gpus, Block, Certificate, Gpu, Manifest, Resource, Status},
    snp::{Leaf, Product, Snp, keys},
    tdx::{self as intel, CcelEvent, Level, Tdx},
};
use strongroom_protocol::{
    Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection},
    requirements::Register,
};

/// What became of an input: nothing, or which row refused it, and in which words.
pub(crate) type Outcome = Result<(), (String, String)>;

/// One input.
pub(crate) struct Bomb {
    /// What it is.
    pub(crate) name: String,
    /// How large it is.
    pub(crate) bytes: usize,
    /// The row that refuses it; `None` where it is accepted, because all of it is signed and within the caps.
    pub(crate) row: Option<&'static str>,
    /// Judges it, as often as is asked.
    pub(crate) judge: Box<dyn FnMut() -> Outcome>,
}

fn bomb(name: &str, bytes: usize, row: Option<&'static str>, judge: impl FnMut() -> Outcome + 'static) -> Bomb {
    Bomb { name: name.to_owned(), bytes, row, judge: Box::new(judge) }
}

/// All of them.
pub(crate) fn all() -> Vec<Bomb> {
    let mut all = snp();
    all.extend(azures());
    all.extend(tdx());
    all.extend(gpu());
    all.extend(manifests());
    all.push(import());
    all
}

/// As many extensions as a certificate of 16 KiB holds beside the rest.
fn extensions() -> impl Iterator<Item = Extension> {
    (0..1_150_u64).map(|last| Extension::plain(&[1, 2, last], Vec::new()))
}

/// Constructed values, one in the other.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inside, _| {
        let length = u16::try_from(inside.len()).unwrap();
        [&[0x30, 0x82][..], &length.to_be_bytes(), &inside].concat()
    })
}

/// A name with what terminals and logs take for something else.
fn unprintable() -> Name {
    Name(vec!["\u{1b}[2J\nrow S3 passed\u{7}".repeat(600)])
}

/// So many serial numbers of the size that AMD's and NVIDIA's have.
fn serials(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|at| [&[1; 12][..], &at.to_be_bytes()].concat()).collect()
}

/// A report with what is sent and stored beside it.
struct Sent {
    snp: Snp,
    certificates: Vec<Vec<u8>>,
    aux: Option<Vec<u8>>,
    crls: Vec<Vec<u8>>,
}

fn sent(change: impl FnOnce(&mut Snp)) -> Sent {
    let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
    change(&mut snp);
    Sent { certificates: snp.chain(), aux: None, crls: vec![snp.crl.der()], snp }
}

impl Sent {
    fn bomb(self, name: &str, row: Option<&'static str>) -> Bomb {
        let Self { snp, certificates, aux, crls } = self;
        let ark = snp.ark.der();
        let roots = SnpRoots::new(&Pins::parse(&snp.pins(&ark)).unwrap(), [ark.as_slice()]).unwrap();
        let report = snp.report_bytes();
        let certificates: Vec<Bytes> = certificates.into_iter().map(Bytes).collect();
        let bytes = certificates.iter().map(|der| der.0.len()).sum::<usize>()
            + aux.as_ref().map_or(0, Vec::len)
            + crls.iter().map(Vec::len).sum::<usize>();
        bomb(&format!("SEV-SNP, {name}"), bytes, row, move || {
            let requirements = SnpRequirements::default();
            let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &requirements };
            let evidence = SnpEvidence { report: &report, certificates: &certificates, aux: aux.as_deref() };
            let crls: Vec<&[u8]> = crls.iter().map(Vec::as_slice).collect();
            let store = SnpStore { certificates: &[], crls: &crls };
            let judged = snp::verify(&evidence, &expect, &roots, &store, strongroom_hardware::snp::AT);
            judged.map(drop).map_err(|refused| (refused.row().to_owned(), refused.to_string()))
        })
    }
}

fn snp() -> Vec<Bomb> {
    let many = || {
        let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
        snp.leaf.extensions.extend(extensions());
        snp.leaf.der()
    };
    // A table whose places all are of the same certificate, before the honest chain.
    let der = many();
    let place = [&[1; 16][..], &192_u32.to_le_bytes(), &u32::try_from(der.len()).unwrap().to_le_bytes()].concat();
    let table = [place.repeat(7), vec![0; 24], der].concat();
    let deep = |snp: &mut Snp| {
        // What parsers know as constructed: names, policies, distribution points, access descriptions.
        for last in [17, 18, 30, 31, 32, 33, 35, 36, 37] {
            snp.leaf.extensions.push(Extension::plain(&[2, 5, 29, last], nested(380)));
        }
    };
    let lists = sent(|snp| snp.crl.revoked = serials(6_500));
    let list = lists.crls[0].clone();
    vec![
        Sent { certificates: vec![many(); 8], ..sent(|_| {}) }.bomb("certificates with 1,150 extensions", Some("S3")),
        Sent { aux: Some(table), ..sent(|_| {}) }.bomb("a table with 1,150 extensions in each place", None),
        Sent { certificates: vec![pem(&many()).repeat(8).into_bytes(); 8], ..sent(|_| {}) }
            .bomb("eight files of eight certificates", Some("S3")),
        sent(deep).bomb("extensions with 380 levels", None),
        sent(|snp| snp.intermediate.spki = rsa_spki(&[0xc5; 2048], &[1, 0, 1]))
            .bomb("an authority's key of 16,384 bits", Some("S3")),
        sent(|snp| snp.intermediate.spki = rsa_spki(&[0xc5; 512], &[0xff; 2000]))
            .bomb("an authority's exponent of 16,000 bits", Some("S3")),
        sent(|snp| snp.leaf.spki = rsa_spki(&[0xc5; 8192], &[1, 0, 1])).bomb("a leaf's key of 65,536 bits", Some("S3")),
        sent(|snp| snp.leaf.issuer = unprintable()).bomb("a name of 13 KiB", Some("S3")),
        Sent { crls: vec![list.clone(); 4], ..sent(|snp| snp.crl.revoked = serials(6_500)) }
            .bomb("four lists of 6,500 certificates", None),
        Sent { crls: vec![list; 6], ..lists }.bomb("six lists of 6,500 certificates", Some("S4")),
        sent(|snp| snp.crl.revoked = serials(100_000)).bomb("a list of 100,000 certificates", Some("S4")),
    ]
}

/// An envelope whose report vouches for these runtime data, with a quote.
fn azure(name: &str, runtime_data: String) -> Bomb {
    let azure = Azure { runtime_data, after: Vec::new(), ..Azure::default() };
    let ark = azure.snp.ark.der();
    let roots = SnpRoots::new(&Pins::parse(&azure.snp.pins(&ark)).unwrap(), [ark.as_slice()]).unwrap();
    let (hcl_report, message, signature) = (azure.hcl_report(), azure.message(), azure.signature());
    let values = PcrMap(azure.quote.pcrs.iter().map(|(pcr, value)| (*pcr, Bytes(value.clone()))).collect());
    let (certificates, crl) = (azure.snp.chain().into_iter().map(Bytes).collect::<Vec<_>>(), azure.snp.crl.der());
    bomb(&format!("Azure, {name}"), hcl_report.len(), Some("S12"), move || {
        let quote =
            QuoteEvidence { message: &message, signature: &signature, pcr_bank: PcrBank::Sha256, pcr_values: &values };
        let evidence = AzureEvidence { hcl_report: &hcl_report, quote, certificates: &certificates };
        let paravisors = [Register(azure.snp.report.measurement)].into();
        let selection = PcrSelection::default_sha256();
        let requirements = SnpRequirements { paravisors, ..SnpRequirements::default() };
        let expect = AzureExpectation { extra_data: [9; 32], selection: &selection, requirements: &requirements };
        let store = SnpStore { certificates: &[], crls: &[&crl] };
        let judged = azure::verify(&evidence, &expect, &roots, &store, strongroom_hardware::snp::AT);
        judged.map(drop).map_err(|refused| (refused.row().to_owned(), refused.to_string()))
    })
}

fn azures() -> Vec<Bomb> {
    let keys: Vec<String> = (0..1_500).map(|at| format!("\"{at}\":0")).collect();
    let modulus = "_".repeat(15_000);
    vec![
        azure("JSON of 15,000 levels", "[".repeat(15_000)),
        azure("JSON with a key of 1,500 twice", format!("{{{},\"7\":0}}", keys.join(","))),
        azure("JSON with 5,000 keys of nobody", format!("{{\"keys\":[{}{{}}]}}", "{},".repeat(4_999))),
        azure(
            "a modulus of 90,000 bits",
            format!(r#"{{"keys":[{{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","key_ops":["sign"],"n":"{modulus}"}}]}}"#),
        ),
        azure("a text without an end", format!("{{\"keys\":\"{}", "\\u0000".repeat(2_400))),
    ]
}

fn tdx() -> Vec<Bomb> {
    let verified = |name: &str, row, tdx: Tdx| {
        let (quote, json, pins) = (tdx.quote(), tdx.collateral(), Pins::parse(&tdx.pins()).unwrap());
        bomb(&format!("TDX, {name}"), quote.len() + json.len(), row, move || {
            let text = |error: &dyn std::fmt::Display| ("T1".to_owned(), error.to_string());
            let collateral = Collateral::parse(&json).map_err(|error| text(&error))?;
            let requirements = TdxRequirements::default();
            let expect = Expectation {
                report_data: Some(&[0x77; 64]),
                collateral: Some(&collateral),
                pins: &pins,
                at: intel::AT,
                requirements: &requirements,
            };
            let judged = tdx::verify(&Evidence { quote: &quote, ccel: None }, &expect);
            judged.map(drop).map_err(|refused| text(&refused))
        })
    };
    let read = |name: &str, json: String| {
        bomb(&format!("TDX, {name}"), json.len(), Some("collateral"), move || {
            let read = Collateral::parse(json.as_bytes());
            read.map(drop).map_err(|error| ("collateral".to_owned(), error.to_string()))
        })
    };
    let log = |name: &str, events: Vec<CcelEvent>| {
        let bytes = intel::Ccel { events, ..intel::Ccel::default() }.bytes();
        bomb(&format!("CCEL, {name}"), bytes.len(), None, move || {
            Ccel::parse(&bytes).map(drop).map_err(|refused| (refused.row().to_owned(), refused.to_string()))
        })
    };
    let honest = String::from_utf8(Tdx::default().collateral()).unwrap();
    let mut many = Snp::new(Product::Genoa, Leaf::Vcek);
    many.leaf.extensions.extend(extensions().take(600));
    let of = |change: &dyn Fn(&mut Tdx)| {
        let mut tdx = Tdx::default();
        change(&mut tdx);
        tdx
    };
    vec![
        verified(
            "certificates with 600 extensions",
            Some("T1"),
            of(&|tdx| tdx.quote.certificates = Some(pem(&many.leaf.der()).repeat(2))),
        ),
        verified(
            "300 levels that it does not reach",
            Some("T1"),
            of(&|tdx| tdx.tcb_info.levels = vec![Level::of(200, "UpToDate", &[]); 300]),
        ),
        verified(
            "a level with 5,000 advisories",
            None,
            of(&|tdx| tdx.tcb_info.levels[0].advisories = (0..5_000).map(|at| format!("INTEL-SA-{at}")).collect()),
        ),
        verified("2,500 revoked platforms", None, of(&|tdx| tdx.lists.revoked_by_ca = serials(2_500))),
        read("collateral of 200,000 levels", format!("{{\"tcb_info\":{}", "[".repeat(200_000))),
        read("collateral with a document of 90,000 levels", {
            let deep = format!("{}{}", "[".repeat(90_000), "]".repeat(90_000));
            honest.replacen("\"tcb_info\":\"", &format!("\"tcb_info\":\"{{\\\"id\\\":{deep},"), 1)
        }),
        read("collateral with a part twice", honest.replacen('{', "{\"version\":1,\"version\":1,", 1)),
        read("collateral of percent signs", honest.replacen("-----BEGIN", &"%25".repeat(70_000), 1)),
        log("8,000 texts of the boot loader", {
            let text = |at: u32| CcelEvent::of(3, 0x0d, format!("grub_cmd: {at} {}", "a".repeat(50)).as_bytes());
            (0..8_000).map(text).collect()
        }),
        log("one event of 1 MiB", vec![CcelEvent::of(3, 0x0d, &vec![b'a'; 1_040_000])]),
    ]
}

/// A report with its chain and stored lists; nothing is asked for but what the report itself can show.
fn gpu_with(name: &str, row: Option<&'static str>, gpu: &Gpu, crls: Vec<Vec<u8>>) -> Bomb {
    let pins = Pins::parse(gpus::pins(&[&gpu.chain], &[]).as_bytes()).unwrap();
    let (report, certificates) = (gpu.report_bytes(), gpu.certificates());
    let bytes = report.len() + certificates.iter().chain(&crls).map(Vec::len).sum::<usize>();
    bomb(&format!("GPU, {name}"), bytes, row, move || {
        let requirements = GpuRequirements { manifests: false, revocation_max_age: None, ..GpuRequirements::default() };
        let lists: Vec<&[u8]> = crls.iter().map(Vec::as_slice).collect();
        let expect = GpuExpectation {
            nonce: Some(&[7; 32]),
            pins: &pins,
            at: gpus::AT,
            driver_rim: None,
            vbios_rim: None,
            record: None,
            revocation: Revocation { crls: &lists, ocsp: &[] },
            guest: Some(GuestWord { confidential: true, devtools: false }),
            requirements: &requirements,
        };
        let evidence = GpuEvidence { report: &report, certificates: certificates.iter().map(Vec::as_slice).collect() };
        let judged = nvidia::verify(&evidence, &expect);
        judged.map(drop).map_err(|refused| (refused.row().to_owned(), refused.to_string()))
    })
}

fn gpu() -> Vec<Bomb> {
    let of = |name: &str, row, change: &dyn Fn(&mut Gpu)| {
        let mut gpu = Gpu::default();
        change(&mut gpu);
        gpu_with(name, row, &gpu, Vec::new())
    };
    let raw = |index: u8| Block {
        index,
        specification: 1,
        size: None,
        kind: 0x81,
        value_size: None,
        value: vec![index; 240],
        tail: Vec::new(),
    };
    let listed = Gpu::default();
    let status = Status { revoked: serials(5_500), ..Status::default() };
    let list = status.crl(&listed.chain.certificates[2]);
    vec![
        of("254 measurements, 60 fields", None, &|gpu| {
            gpu.report.measurements = (1..=254).map(raw).collect();
            gpu.report.opaque.extend((100..149).map(|kind| (kind, vec![1; 16])));
        }),
        of("16 MiB of measurements", Some("G1"), &|gpu| gpu.report.record_length = Some(0x00ff_ffff)),
        of("255 measurements of which 64 are there", Some("G1"), &|gpu| gpu.report.blocks = Some(255)),
        of("certificates with 900 extensions", Some("G2"), &|gpu| {
            for certificate in &mut gpu.chain.certificates {
                certificate.extensions = (0..900_u64).map(|last| (vec![1, 2, last], false, Vec::new())).collect();
            }
        }),
        of("certificates that all issued each other", Some("G2"), &|gpu| {
            for certificate in &mut gpu.chain.certificates {
                "everybody".clone_into(&mut certificate.name);
            }
        }),
        of("certificates with names of 14 KiB", Some("G2"), &|gpu| {
            for (place, certificate) in gpu.chain.certificates.iter_mut().enumerate().skip(1) {
                certificate.name = format!("certificate {place}\u{1b}[2J").repeat(350);
            }
            gpu.chain.certificates[4].usages = Vec::new();
        }),
        gpu_with("5 lists of 5,500 certificates", None, &listed, vec![list.clone(); 5]),
        gpu_with("16 lists of 5,500 certificates", Some("G5"), &listed, vec![list; 16]),
    ]
}

/// A manifest that is signed, whatever is in it.
fn manifest(name: &str, row: Option<&'static str>, bomb_of: impl FnOnce(&mut Manifest)) -> Bomb {
    let mut bombed = Manifest::of_driver(&Gpu::default().report);
    bomb_of(&mut bombed);
    let pins = Pins::parse(gpus::pins(&[], &[&bombed.signer]).as_bytes()).unwrap();
    let (id, text) = (bombed.id.clone(), bombed.text());
    bomb(&format!("manifest, {name}"), text.len(), row, move || {
        let judged = rim::verify(&id, text.as_bytes(), &pins, gpus::AT);
        judged.map(drop).map_err(|refused| (refused.row().to_owned(), refused.to_string()))
    })
}

/// As many tags, attributes and bytes as the caps let through, and signed, so that every step reads the document.
fn manifests() -> Vec<Bomb> {
    let names: String = (0..18).fold(String::new(), |text, at| text + &format!(" xmlns:n{at}=\"urn:{at}\""));
    let attributes: String = (0..18).fold(String::new(), |text, at| text + &format!(" n{at}:a=\"{at}\""));
    let more = |text: String| move |manifest: &mut Manifest| manifest.more = text;
    vec![
        manifest("480 KiB of white space", None, more(" ".repeat(480 << 10))),
        manifest("900 elements", Some("G3"), more(format!("<a>{}</a>", "x".repeat(480)).repeat(900))),
        manifest(
            "400 elements in 18 namespaces",
            Some("G3"),
            more(format!("<c{names}>{}</c>", format!("<b{attributes}></b>").repeat(400))),
        ),
        manifest(
            "elements of 10 levels in 18 namespaces",
            Some("G3"),
            more(format!("<c{names}>{}</c>", format!("{}{}", "<d>".repeat(10), "</d>".repeat(10)).repeat(85))),
        ),
        manifest("a tag of 60 KiB", Some("G3"), more(format!("<a b=\"{}\"></a>", "x".repeat(60 << 10)))),
        manifest(
            "elements of 1,000 levels",
            Some("G3"),
            more(format!("{}{}", "<d>".repeat(1000), "</d>".repeat(1000))),
        ),
        manifest("2,000 elements more", Some("G3"), more("<d></d>".repeat(2000))),
        manifest("64 values of 48 bytes for 64 measurements", None, |manifest| {
            manifest.resources = (0..64).map(|index| Resource::new(index, true, &vec![vec![index; 48]; 64])).collect();
        }),
        manifest("eight certificates of the largest size", Some("G3"), |manifest| {
            let large =
                Certificate { extensions: vec![(vec![1, 2, 3], false, vec![0; 15_000])], ..Certificate::ca("", 1) };
            let chain = gpus::Chain::of_signer();
            let mut large_chain = chain.ders();
            large_chain.resize(8, {
                let mut gpu = Gpu::default();
                gpu.chain.certificates[0] = large;
                gpu.certificates().pop().unwrap()
            });
            manifest.signature.certificates = Some(large_chain);
        }),
    ]
}

/// An import in which 30 certificates of a forger have the name of the issuer of 30 others.
fn import() -> Bomb {
    let leak = || -> &'static Key { Box::leak(Box::new(Key::p384())) };
    let mut honest = Snp::new(Product::Genoa, Leaf::Vcek);
    let ark = honest.ark.der();
    let pins = honest.pins(&ark);
    let mut ders: Vec<Vec<u8>> = Vec::new();
    for at in 0..30_u8 {
        honest.report.chip_id = [at + 1; 64];
        honest.leaf.extensions = strongroom_hardware::snp::leaf_extensions(Product::Genoa, Leaf::Vcek, &honest.report);
        ders.push(honest.leaf.der());
    }
    for _ in 0..30 {
        let mut forged = honest.intermediate.clone();
        (forged.spki, forged.algorithm) = (keys().forger.spki(), Written::Ecdsa);
        forged.signed_by = leak();
        ders.push(forged.der());
    }
    ders.push(honest.intermediate.der());
    ders.push(ark);
    let file: String = ders.iter().map(|der| pem(der)).collect();
    let store = endorsements::Store::new(Pins::parse(&pins).unwrap());
    bomb("import, 30 certificates of one name", file.len(), Some("import"), move || {
        let imported = store.clone().import(file.as_bytes(), None, strongroom_hardware::snp::AT);
        imported.map(drop).map_err(|error| ("import".to_owned(), error.to_string()))
    })
}
