//! Intel TDX: quotes by configfs-tsm, with the event log that the RTMRs are of.

use crate::{
    collector::Wanted,
    device::{Binding, ReportDevice},
    device_error::DeviceError,
    error::CollectError,
    log_source::LogSource,
    tsm::{ConfigFs, Kind, TsmFiles, TsmReports},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use strongroom_protocol::{
    Bytes,
    evidence::{Evidence, EvidenceKind, TdxEvidence},
    limits,
};

/// The guest device. It gives reports that only the same machine can check, and no quotes.
pub const TDX_GUEST: &str = "/dev/tdx_guest";

const KIND: Kind = Kind { device: EvidenceKind::Tdx, provider: "tdx_guest", report: limits::TDX_QUOTE, aux: None };
/// Header (48), the body of TDX 1.0 (584), the length of the signature data (4): Intel's DCAP Quoting Library API,
/// appendix 3.
const SHORTEST: usize = 48 + 584 + 4;

/// The TDX module below a guest.
pub struct Tdx {
    tsm: TsmReports,
    path: PathBuf,
    device: PathBuf,
    ccel: LogSource,
}

impl Tdx {
    /// This machine's, with the event log from there.
    pub fn system(ccel: LogSource) -> Self {
        Self::over(Arc::new(ConfigFs::system()), TDX_GUEST.into(), ccel)
    }

    /// Over another configfs and another guest device, for tests: configuration can name neither.
    pub fn over(files: Arc<dyn TsmFiles>, device: PathBuf, ccel: LogSource) -> Self {
        let path = files.path().to_owned();
        Self { tsm: TsmReports::over(files), path, device, ccel }
    }

    /// Tells a guest whose kernel is too old from a machine that is no guest.
    fn explained(&self, error: DeviceError) -> DeviceError {
        if matches!(error, DeviceError::TsmMissing { .. }) && Path::new(&self.device).exists() {
            DeviceError::TdxWithoutQuotes { device: self.device.clone(), tsm: self.path.clone() }
        } else {
            error
        }
    }
}

impl ReportDevice for Tdx {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tdx
    }

    fn check(&self) -> Result<String, CollectError> {
        self.tsm.check(KIND).map_err(|error| self.explained(error))?;
        let log = self.ccel.ccel()?.map_or_else(
            || "no event log (CCEL)".to_owned(),
            |log| format!("an event log (CCEL) of {} bytes", log.len()),
        );
        Ok(format!("quotes by configfs-tsm, {log}"))
    }

    fn evidence(&self, binding: &Binding<'_>, _: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
        let quote = self.tsm.report(KIND, binding.tdx()).map_err(|error| self.explained(error))?.report;
        if quote.len() < SHORTEST {
            let expected = format!("at least {SHORTEST}");
            let error =
                DeviceError::Size { device: EvidenceKind::Tdx, what: "the quote", length: quote.len(), expected };
            return Err(error.into());
        }
        // After the quote, so that the log has at least what the quote covers.
        let ccel = self.ccel.ccel()?.map(Bytes);
        Ok(vec![Evidence::Tdx(TdxEvidence { quote: Bytes(quote), ccel })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsm::kernel::Kernel;
    use strongroom_protocol::{
        binding::{TAG_TDX, TAG_TDX_AGENT, report_data},
        evidence::PcrSelection,
    };

    fn tdx(kernel: Arc<Kernel>, ccel: LogSource) -> Tdx {
        Tdx::over(kernel, "/nonexistent/tdx_guest".into(), ccel)
    }

    fn item(device: &Tdx, caller: Option<&[u8]>) -> Result<TdxEvidence, CollectError> {
        let selection = PcrSelection::default_sha256();
        let mut items = device.evidence(&Binding::new(b"s", caller), Wanted::whole(&selection))?;
        match (items.pop(), items.is_empty()) {
            (Some(Evidence::Tdx(item)), true) => Ok(item),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_quote_binds_statement_and_caller_and_has_its_log_beside_it() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), b"events").unwrap();
        let device = tdx(Kernel::of("tdx_guest", 5000).meeting([]), LogSource::File(log.path().into()));
        let alone = item(&device, None).unwrap();
        assert_eq!(alone.quote.0[4936..], report_data(TAG_TDX, b"s", None));
        assert_eq!(alone.ccel.unwrap().0, b"events");
        let by_agent = item(&device, Some(b"c")).unwrap();
        assert_eq!(by_agent.quote.0[4936..], report_data(TAG_TDX_AGENT, b"s", Some(b"c")));
        assert!(device.check().unwrap().contains("6 bytes"));
        let without = tdx(Kernel::of("tdx_guest", 5000).meeting([]), LogSource::Omit);
        assert_eq!(item(&without, None).unwrap().ccel, None);
    }

    #[test]
    fn a_log_that_is_named_must_be_there() {
        let device = tdx(Kernel::of("tdx_guest", 5000).meeting([]), LogSource::File("/nonexistent/ccel".into()));
        assert!(matches!(item(&device, None), Err(CollectError::Ccel { .. })));
        assert!(matches!(device.check(), Err(CollectError::Ccel { .. })));
    }

    #[test]
    fn a_quote_is_neither_too_short_nor_too_long() {
        for (length, fits) in [(635, false), (636, true), (limits::TDX_QUOTE, true), (limits::TDX_QUOTE + 1, false)] {
            let answer = item(&tdx(Kernel::of("tdx_guest", length).meeting([]), LogSource::Omit), None);
            assert_eq!(answer.is_ok(), fits, "{length}");
            if let Err(error) = answer {
                assert!(matches!(error, CollectError::Device(DeviceError::Size { .. })), "{error}");
            }
        }
    }

    #[test]
    fn a_kernel_that_gives_no_quotes_is_told_from_no_guest() {
        let missing = || Kernel { refuses: Some(2), ..Kernel::of("tdx_guest", 5000) }.meeting([]);
        let old = Tdx::over(missing(), "/dev/null".into(), LogSource::Omit);
        for error in [old.check().unwrap_err(), item(&old, None).unwrap_err()] {
            assert!(matches!(error, CollectError::Device(DeviceError::TdxWithoutQuotes { .. })), "{error}");
        }
        let none = tdx(missing(), LogSource::Omit);
        assert!(matches!(none.check(), Err(CollectError::Device(DeviceError::TsmMissing { .. }))));
        let snp = tdx(Kernel::of("sev_guest", 1184).meeting([]), LogSource::Omit);
        assert!(matches!(snp.check(), Err(CollectError::Device(DeviceError::TsmProvider { .. }))));
    }
}
