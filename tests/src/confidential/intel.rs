//! Intel: the authorities of one kind of platform, and TDX guests on platforms that they certify.

use super::{
    below::Below,
    makers::{Published, today},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use strongroom_collect::{GpuReport, GpuState};
use strongroom_hardware::tdx::{Body, Ccel, Date, Platform, Tdx};
use strongroom_protocol::identity::{Identity, IdentityKind};
use time::{Duration, OffsetDateTime};

/// Intel, as far as a test needs it: a root, what it publishes, the keys of its platforms.
pub struct Intel(Mutex<Tdx>);

impl Intel {
    /// With documents of today.
    pub(super) fn new() -> Self {
        let mut tdx = Tdx::default();
        issue(&mut tdx, 3);
        Self(Mutex::new(tdx))
    }

    /// The root (DER).
    pub(super) fn root(&self) -> Vec<u8> {
        self.tdx().root()
    }

    /// What Intel publishes of the platforms: collateral, as `dcap-qvl` writes it.
    pub fn published(&self) -> Published {
        Published::of("tdx.json", self.tdx().collateral())
    }

    /// Revokes the PCK certificate with this serial number, and issues everything anew.
    pub fn revoke(&self, serial: &[u8]) {
        let mut tdx = self.tdx();
        tdx.lists.revoked_by_ca.push(serial.to_vec());
        issue(&mut tdx, 1);
    }

    fn tdx(&self) -> MutexGuard<'_, Tdx> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dates all documents as if they were issued so many days ago.
fn issue(tdx: &mut Tdx, days: i64) {
    let date = |at: OffsetDateTime| -> Date { (at.year(), u8::from(at.month()), at.day()) };
    let (issued, until) = (date(today() - Duration::days(days)), date(today() + Duration::days(25)));
    (tdx.tcb_info.issued, tdx.qe_identity.issued, tdx.lists.issued) = (issued, issued, issued);
    (tdx.tcb_info.next_update, tdx.qe_identity.next_update) = (until, until);
    (tdx.lists.root_next_update, tdx.lists.pck_next_update) = (until, until);
}

/// A TDX guest and the platform below it, each to be made wrong.
pub struct Domain {
    /// What the platform's certificate says.
    pub platform: Platform,
    /// The certificate's serial number.
    pub serial: Vec<u8>,
    /// What the module reports of the guest, but for what the guest binds.
    pub body: Body,
    /// The guest's event log: it leads to the registers of an honest body.
    pub ccel: Ccel,
}

/// A TDX guest in this process.
pub struct TrustDomain {
    intel: Arc<Intel>,
    domain: Mutex<Domain>,
}

impl TrustDomain {
    pub(super) fn of(intel: &Arc<Intel>, number: u8) -> Self {
        let ccel = Ccel::default();
        let domain = Domain {
            platform: Platform { ppid: vec![number; 16], ..Platform::default() },
            serial: vec![0x20, number],
            body: Body { rtmrs: ccel.rtmrs(), ..Body::default() },
            ccel,
        };
        Self { intel: Arc::clone(intel), domain: Mutex::new(domain) }
    }

    /// Changes it, until it is changed again.
    pub fn change<T>(&self, change: impl FnOnce(&mut Domain) -> T) -> T {
        change(&mut self.domain())
    }

    /// The identity of its platform.
    pub fn ppid(&self) -> Identity {
        Identity { kind: IdentityKind::TdxPpid, value: hex::encode(&self.domain().platform.ppid) }
    }

    fn domain(&self) -> MutexGuard<'_, Domain> {
        self.domain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Below for TrustDomain {
    fn provider(&self) -> io::Result<String> {
        Ok("tdx_guest".to_owned())
    }

    fn report(&self, data: [u8; 64]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let domain = self.domain();
        let mut tdx = self.intel.tdx();
        tdx.platform = domain.platform.clone();
        tdx.certificates.pck.serial.clone_from(&domain.serial);
        tdx.quote.body = Body { report_data: data, ..domain.body.clone() };
        Ok((tdx.quote(), Vec::new()))
    }

    fn gpus(&self, _: [u8; 32]) -> io::Result<Vec<GpuReport>> {
        Ok(Vec::new())
    }

    fn state(&self) -> io::Result<GpuState> {
        Ok(GpuState { gpus: 0, confidential: None, dev_tools: None, ready: None })
    }
}
