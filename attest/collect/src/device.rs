//! What every device of a node has in common, and what its evidence binds.

use crate::{collector::Wanted, error::CollectError};
use strongroom_protocol::{
    binding::{
        TAG_NVIDIA, TAG_NVIDIA_AGENT, TAG_SNP, TAG_SNP_AGENT, TAG_TDX, TAG_TDX_AGENT, TAG_TPM, TAG_TPM_AGENT,
        gpu_nonce, report_data, tpm_extra_data,
    },
    evidence::{Evidence, EvidenceKind},
};

/// What evidence is to bind: a statement, and a caller if there is one.
///
/// Whether there is a caller decides the tag. A device asks for its own digest and can name no tag, so
/// that nothing is ever signed under the enrolment's.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    statement: &'a [u8],
    caller: Option<&'a [u8]>,
}

impl<'a> Binding<'a> {
    /// The statement's exact bytes, and the caller's.
    pub fn new(statement: &'a [u8], caller: Option<&'a [u8]>) -> Self {
        Self { statement, caller }
    }

    /// `extraData` of a TPM's quote.
    pub fn tpm(&self) -> [u8; 32] {
        tpm_extra_data(self.tag(TAG_TPM, TAG_TPM_AGENT), self.statement, self.caller)
    }

    /// `report_data` of an SEV-SNP report.
    pub fn snp(&self) -> [u8; 64] {
        report_data(self.tag(TAG_SNP, TAG_SNP_AGENT), self.statement, self.caller)
    }

    /// `report_data` of a TDX quote.
    pub fn tdx(&self) -> [u8; 64] {
        report_data(self.tag(TAG_TDX, TAG_TDX_AGENT), self.statement, self.caller)
    }

    /// The nonce of every GPU's report.
    pub fn gpu(&self) -> [u8; 32] {
        gpu_nonce(self.tag(TAG_NVIDIA, TAG_NVIDIA_AGENT), self.statement, self.caller)
    }

    fn tag(&self, alone: &'static str, by_agent: &'static str) -> &'static str {
        if self.caller.is_some() { by_agent } else { alone }
    }
}

/// One device, or all of a kind. Returns what the hardware gives, and never interprets it.
pub trait ReportDevice: Send + Sync {
    /// Which kind of evidence it gives.
    fn kind(&self) -> EvidenceKind;

    /// Looks whether it is there and could be asked, without asking for evidence; what is there, in a few words.
    fn check(&self) -> Result<String, CollectError>;

    /// Its items: one, or one for each GPU.
    fn evidence(&self, binding: &Binding<'_>, wanted: Wanted<'_>) -> Result<Vec<Evidence>, CollectError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_protocol::binding::TAG_ENROL;

    #[test]
    fn the_caller_decides_the_tag() {
        let (alone, by_agent) = (Binding::new(b"s", None), Binding::new(b"s", Some(b"c")));
        assert_eq!(alone.tpm(), tpm_extra_data("strongroom/v1/tpm", b"s", None));
        assert_eq!(by_agent.tpm(), tpm_extra_data("strongroom/v1/tpm-agent", b"s", Some(b"c")));
        assert_eq!(alone.snp(), report_data("strongroom/v1/snp", b"s", None));
        assert_eq!(by_agent.snp(), report_data("strongroom/v1/snp-agent", b"s", Some(b"c")));
        assert_eq!(alone.tdx(), report_data("strongroom/v1/tdx", b"s", None));
        assert_eq!(by_agent.tdx(), report_data("strongroom/v1/tdx-agent", b"s", Some(b"c")));
        assert_eq!(alone.gpu(), gpu_nonce("strongroom/v1/nvidia", b"s", None));
        assert_eq!(by_agent.gpu(), gpu_nonce("strongroom/v1/nvidia-agent", b"s", Some(b"c")));
        // An empty caller is one.
        assert_eq!(Binding::new(b"s", Some(b"")).tpm(), tpm_extra_data("strongroom/v1/tpm-agent", b"s", Some(b"")));
        assert_ne!(alone.tpm(), tpm_extra_data(TAG_ENROL, b"s", None));
    }
}
