//! What a verified quote says, by name.

use super::{Judge, Mask, TdxRefused};
use crate::quote::hex;
use dcap_qvl::{PckCertFlag, QuoteClaims, TcbStatus};
use strongroom_protocol::claims::{TdxAttribute, TdxClaims, TdxGuest, TdxModule, TdxPlatform, TdxTcb, TdxTcbStatus};

impl Judge<'_> {
    /// What was verified. There is something only after [`Self::strictly`], or where every part of [`Self::each`] that
    /// needs Intel's signature held.
    pub(in crate::tdx) fn claims(&self) -> Result<TdxClaims, TdxRefused> {
        let Some(verified) = &self.verified else {
            return Err(TdxRefused::T1NotGiven { input: "Intel's collateral for the platform" });
        };
        let (body, pck) = (self.quote.body(), &verified.platform.pck);
        let attributes = u64::from_le_bytes(body.td_attributes);
        let set = TdxAttribute::ALL.iter().filter(|(_, bit)| attributes >> bit & 1 == 1);
        Ok(TdxClaims {
            platform: TdxPlatform {
                ppid: hex(&pck.ppid),
                fmspc: hex(&pck.fmspc),
                pce_id: hex(&pck.pce_id),
                cpu_svn: hex(&pck.cpu_svn),
                pce_svn: pck.pce_svn,
                instance_id: pck.platform_instance_id.as_ref().map(|id| hex(id)),
                smt: match pck.smt_enabled {
                    PckCertFlag::True => Some(true),
                    PckCertFlag::False => Some(false),
                    PckCertFlag::Undefined => None,
                },
            },
            tcb: TdxTcb {
                status: status(verified)?,
                advisories: verified.tcb.advisory_ids.clone(),
                date: verified.platform.tcb_date_tag,
                evaluation_data_number: verified.tcb.eval_data_number,
                collateral_expires: verified.earliest_expiration_date,
            },
            module: TdxModule {
                mr_seam: hex(&body.mr_seam),
                tee_tcb_svn: hex(&body.tee_tcb_svn),
                current_tee_tcb_svn: self.quote.body15().map(|body| hex(&body.tee_tcb_svn2)),
            },
            guest: TdxGuest {
                mrtd: hex(&body.mr_td),
                rtmr0: hex(&body.rt_mr0),
                rtmr1: hex(&body.rt_mr1),
                rtmr2: hex(&body.rt_mr2),
                rtmr3: hex(&body.rt_mr3),
                mr_config_id: hex(&body.mr_config_id),
                mr_owner: hex(&body.mr_owner),
                mr_owner_config: hex(&body.mr_owner_config),
                attributes: set.map(|(attribute, _)| *attribute).collect(),
                xfam: Mask(u64::from_le_bytes(body.xfam)).to_string(),
                td_id: self.quote.body15_ex().map(|body| hex(&body.td_id)),
            },
            log: self.log.as_ref().map(|log| log.claims().clone()),
        })
    }
}

/// The status as claims have it.
pub(super) fn status(verified: &QuoteClaims) -> Result<TdxTcbStatus, TdxRefused> {
    Ok(match verified.tcb.status {
        TcbStatus::UpToDate => TdxTcbStatus::UpToDate,
        TcbStatus::SWHardeningNeeded => TdxTcbStatus::SwHardeningNeeded,
        TcbStatus::ConfigurationNeeded => TdxTcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSWHardeningNeeded => TdxTcbStatus::ConfigurationAndSwHardeningNeeded,
        TcbStatus::OutOfDate => TdxTcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded => TdxTcbStatus::OutOfDateConfigurationNeeded,
        TcbStatus::TDRelaunchAdvised => TdxTcbStatus::TdRelaunchAdvised,
        TcbStatus::TDRelaunchAdvisedConfigurationNeeded => TdxTcbStatus::TdRelaunchAdvisedConfigurationNeeded,
        // The verifier refuses it before; there is no requirement that could accept it.
        TcbStatus::Revoked => return Err(TdxRefused::T1Unverified { problem: "the platform is revoked".to_owned() }),
    })
}
