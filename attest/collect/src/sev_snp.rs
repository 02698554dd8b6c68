//! AMD SEV-SNP: attestation reports, by configfs-tsm or by `/dev/sev-guest`.

use crate::{
    collector::Wanted,
    deadline::{Lost, Worker},
    device::{Binding, ReportDevice},
    device_error::DeviceError,
    error::CollectError,
    tsm::{ConfigFs, Kind, Report, TIMEOUT, TsmFiles, TsmReports},
};
use sev::firmware::guest::Firmware;
use std::{fs::OpenOptions, path::Path, sync::Arc};
use strongroom_protocol::{
    Bytes,
    evidence::{Evidence, EvidenceKind, SevSnpEvidence},
    limits,
};

/// The guest device.
pub const SEV_GUEST: &str = "/dev/sev-guest";

const KIND: Kind = Kind {
    device: EvidenceKind::SevSnp,
    provider: "sev_guest",
    report: limits::SNP_REPORT,
    aux: Some(limits::SNP_AUX),
};

/// The guest device, where configfs-tsm is not there or is closed to this process.
pub trait SevGuest: Send + Sync {
    /// Where it is.
    fn path(&self) -> &Path;
    /// Whether it can be opened; why not, else.
    fn check(&self) -> Result<(), String>;
    /// A report with this `report_data`.
    fn report(&self, data: [u8; 64]) -> Result<Vec<u8>, String>;
}

/// The kernel's [`SEV_GUEST`].
#[derive(Debug, Clone, Copy)]
pub struct SevGuestDevice;

impl SevGuest for SevGuestDevice {
    fn path(&self) -> &Path {
        Path::new(SEV_GUEST)
    }

    fn check(&self) -> Result<(), String> {
        OpenOptions::new().read(true).open(SEV_GUEST).map(drop).map_err(|error| error.to_string())
    }

    /// Without the host's certificates: the library walks their table by what the host wrote into it, past its
    /// end if the host says so. The vault has certificates of its own.
    fn report(&self, data: [u8; 64]) -> Result<Vec<u8>, String> {
        let mut device = Firmware::open().map_err(|error| error.to_string())?;
        // The highest privilege: a guest that runs at a lower one has a kernel with configfs-tsm.
        device.get_report(None, Some(data), Some(0)).map_err(|error| error.to_string())
    }
}

/// The processor below a guest.
pub struct SevSnp {
    tsm: TsmReports,
    device: Arc<dyn SevGuest>,
    worker: Worker,
}

impl SevSnp {
    /// This machine's.
    pub fn system() -> Self {
        Self::over(Arc::new(ConfigFs::system()), Arc::new(SevGuestDevice))
    }

    /// Over another configfs and another guest device, for tests: configuration can name neither.
    pub fn over(files: Arc<dyn TsmFiles>, device: Arc<dyn SevGuest>) -> Self {
        Self { tsm: TsmReports::over(files), device, worker: Worker::new(TIMEOUT) }
    }

    fn report(&self, data: [u8; 64]) -> Result<Report, DeviceError> {
        let report = match self.tsm.report(KIND, data) {
            Err(error) if error.is_without_tsm() => Report { report: self.by_ioctl(error, data)?, aux: None },
            other => other?,
        };
        let length = report.report.len();
        if length == limits::SNP_REPORT {
            return Ok(report);
        }
        let expected = limits::SNP_REPORT.to_string();
        Err(DeviceError::Size { device: EvidenceKind::SevSnp, what: "the report", length, expected })
    }

    fn by_ioctl(&self, tsm: DeviceError, data: [u8; 64]) -> Result<Vec<u8>, DeviceError> {
        let device = Arc::clone(&self.device);
        match self.worker.run(move || device.report(data)) {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(reason)) => Err(self.closed(tsm, reason)),
            Err(Lost::TimedOut) => Err(DeviceError::Timeout {
                device: EvidenceKind::SevSnp,
                doing: "asking for a report",
                timeout: self.worker.deadline(),
            }),
            Err(Lost::NoThread) => Err(self.closed(tsm, "no thread could ask it".to_owned())),
        }
    }

    fn closed(&self, tsm: DeviceError, reason: String) -> DeviceError {
        DeviceError::SevGuest { tsm: Box::new(tsm), path: self.device.path().to_owned(), reason }
    }
}

impl ReportDevice for SevSnp {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::SevSnp
    }

    fn check(&self) -> Result<String, CollectError> {
        match self.tsm.check(KIND) {
            Ok(()) => Ok("reports by configfs-tsm".to_owned()),
            Err(error) if error.is_without_tsm() => match self.device.check() {
                Ok(()) => Ok(format!("reports by {}, without the host's certificates", self.device.path().display())),
                Err(reason) => Err(self.closed(error, reason).into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn evidence(&self, binding: &Binding<'_>, _: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
        let Report { report, aux } = self.report(binding.snp())?;
        let item = SevSnpEvidence { report: Bytes(report), certificates: Vec::new(), aux: aux.map(Bytes) };
        Ok(vec![Evidence::SevSnp(item)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsm::kernel::{Kernel, Mischief};
    use std::sync::Mutex;
    use strongroom_protocol::{
        binding::{TAG_SNP, TAG_SNP_AGENT, report_data},
        evidence::PcrSelection,
    };

    /// A guest device that counts, and is there or not.
    struct Guest {
        is_there: bool,
        length: usize,
        asked: Mutex<usize>,
    }

    impl SevGuest for Guest {
        fn path(&self) -> &Path {
            Path::new("/dev/of-this-test")
        }

        fn check(&self) -> Result<(), String> {
            if self.is_there { Ok(()) } else { Err("not there".to_owned()) }
        }

        fn report(&self, data: [u8; 64]) -> Result<Vec<u8>, String> {
            *self.asked.lock().unwrap() += 1;
            self.check()?;
            Ok([vec![1; self.length - 64], data.to_vec()].concat())
        }
    }

    fn guest(is_there: bool, length: usize) -> Arc<Guest> {
        Arc::new(Guest { is_there, length, asked: Mutex::new(0) })
    }

    fn item(device: &SevSnp, caller: Option<&[u8]>) -> Result<SevSnpEvidence, CollectError> {
        let selection = PcrSelection::default_sha256();
        let mut items = device.evidence(&Binding::new(b"s", caller), Wanted::whole(&selection))?;
        match (items.pop(), items.is_empty()) {
            (Some(Evidence::SevSnp(item)), true) => Ok(item),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_report_binds_statement_and_caller_under_its_own_tag() {
        let kernel = Kernel { aux: Some(vec![9; 100]), ..Kernel::of("sev_guest", 1184) }.meeting([]);
        let other = guest(true, 1184);
        let device = SevSnp::over(kernel, Arc::clone(&other) as Arc<dyn SevGuest>);
        let alone = item(&device, None).unwrap();
        assert_eq!(alone.report.0[1120..], report_data(TAG_SNP, b"s", None));
        let by_agent = item(&device, Some(b"c")).unwrap();
        assert_eq!(by_agent.report.0[1120..], report_data(TAG_SNP_AGENT, b"s", Some(b"c")));
        assert_eq!(by_agent.aux.unwrap().0, [9; 100]);
        assert_eq!(*other.asked.lock().unwrap(), 0, "the older way was taken beside the newer");
    }

    #[test]
    fn the_older_way_is_taken_where_the_newer_is_missing_or_closed() {
        for code in [2, 13] {
            let kernel = Kernel { refuses: Some(code), ..Kernel::of("sev_guest", 1184) }.meeting([]);
            let device = SevSnp::over(Arc::clone(&kernel) as Arc<dyn TsmFiles>, guest(true, 1184));
            assert!(device.check().unwrap().contains("/dev/of-this-test"));
            let item = item(&device, None).unwrap();
            assert_eq!((&item.report.0[1120..], item.aux), (report_data(TAG_SNP, b"s", None).as_slice(), None));
            let neither = SevSnp::over(kernel, guest(false, 1184));
            for error in [neither.check().unwrap_err(), super::tests::item(&neither, None).unwrap_err()] {
                let text = error.to_string();
                assert!(text.contains("/dev/of-this-test: not there"), "{text}");
            }
        }
    }

    #[test]
    fn a_fault_of_the_newer_way_is_not_papered_over() {
        const EIO: i32 = 5;
        let other = guest(true, 1184);
        let kernel = Kernel::of("sev_guest", 1184).meeting([Mischief::Outblob(EIO)]);
        let device = SevSnp::over(kernel, Arc::clone(&other) as Arc<dyn SevGuest>);
        assert!(matches!(item(&device, None), Err(CollectError::Device(DeviceError::Tsm { .. }))));
        let tdx = SevSnp::over(Kernel::of("tdx_guest", 1184).meeting([]), Arc::clone(&other) as Arc<dyn SevGuest>);
        assert!(matches!(tdx.check(), Err(CollectError::Device(DeviceError::TsmProvider { .. }))));
        assert_eq!(*other.asked.lock().unwrap(), 0);
    }

    #[test]
    fn a_report_has_its_length() {
        for length in [64, 1183, 1185] {
            let kernel = Kernel::of("sev_guest", length).meeting([]);
            let error = item(&SevSnp::over(kernel, guest(true, 1184)), None).unwrap_err();
            assert!(matches!(error, CollectError::Device(DeviceError::Size { .. })), "{length}: {error}");
            let missing = Kernel { refuses: Some(2), ..Kernel::of("sev_guest", 1184) }.meeting([]);
            let error = item(&SevSnp::over(missing, guest(true, length)), None).unwrap_err();
            assert!(matches!(error, CollectError::Device(DeviceError::Size { .. })), "{length}: {error}");
        }
    }
}
