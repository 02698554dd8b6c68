//! What a platform lacks that meets no TCB level.

use super::{Collateral, Quote, TdxRefused};
use dcap_qvl::{SvnComponent, SvnShortfall, TcbInfo, TcbLevel, intel};

/// The refusal of such a platform, with what it lacks of the level that it comes nearest to.
pub(super) fn refusal(quote: &Quote<'_>, collateral: &Collateral) -> TdxRefused {
    let lacks = lacks(quote, collateral).unwrap_or_else(|| "what it lacks cannot be told".to_owned());
    TdxRefused::T1TcbBelow { platform: collateral.key().to_string(), lacks }
}

fn lacks(quote: &Quote<'_>, collateral: &Collateral) -> Option<String> {
    let info: TcbInfo = serde_json::from_str(&collateral.given.tcb_info).ok()?;
    let pck = intel::parse_pck_extension(quote.leaf()?).ok()?;
    let tee = &quote.body().tee_tcb_svn;
    let short = |level: &TcbLevel| level.shortfalls(&pck.cpu_svn, pck.pce_svn, Some(tee)).ok();
    // Intel lists the highest level first: of equals the lowest is the nearest.
    let levels = info.tcb_levels.iter().rev().filter_map(|level| Some((level, short(level)?)));
    let (level, shortfalls) = levels.min_by_key(|(_, shortfalls)| shortfalls.len())?;
    let lacks: Vec<_> = shortfalls.into_iter().map(text).collect();
    Some(format!("of its nearest level, {}, it lacks: {}", level.tcb_status, lacks.join(", ")))
}

fn text(shortfall: SvnShortfall) -> String {
    let SvnShortfall { component, have, needs } = shortfall;
    let component = match component {
        SvnComponent::Sgx(number) => format!("SGX component {}", u16::from(number) + 1),
        SvnComponent::Tdx(number) => format!("TDX component {}", u16::from(number) + 1),
        SvnComponent::PceSvn => "PCESVN".to_owned(),
        SvnComponent::TdxModuleIsvSvn => "ISVSVN of the TDX module".to_owned(),
    };
    format!("{component} is {have}, needed is {needs}")
}
