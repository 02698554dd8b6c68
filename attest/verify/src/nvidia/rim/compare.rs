//! Golden values beside measurements.

use super::VerifiedRim;
use crate::{
    nvidia::{GpuRefused, report::Measurements},
    quote::hex,
};
use std::collections::BTreeSet;
use strongroom_protocol::claims::GpuManifests;

/// The measurement of the decoder NVDEC0, which is not made where the decoder is off.
const NVDEC0: u8 = 35;

/// Compares every active golden value of both manifests: each must have its measurement, of its size, as one of its
/// alternatives. NVIDIA's rule for a GPU whose report says that NVDEC0 is off: index 35 is not compared.
pub(in crate::nvidia) fn compare(
    (driver, vbios): (&VerifiedRim, &VerifiedRim),
    measurements: &Measurements<'_>,
    nvdec0_enabled: Option<bool>,
) -> Result<GpuManifests, GpuRefused> {
    let active = |rim: &VerifiedRim| -> BTreeSet<u8> {
        rim.golden().iter().filter(|(_, golden)| golden.active).map(|(index, _)| *index).collect()
    };
    if let Some(&index) = active(driver).intersection(&active(vbios)).next() {
        return Err(GpuRefused::G3Conflict { index });
    }
    let mut compared = [0_u32; 2];
    for (rim, compared) in [driver, vbios].into_iter().zip(&mut compared) {
        for (&index, golden) in rim.golden().iter().filter(|(_, golden)| golden.active) {
            if index == NVDEC0 && nvdec0_enabled == Some(false) {
                continue;
            }
            let measured = measurements.get(&index).map(|measured| measured.value).unwrap_or_default();
            if !golden.values.iter().any(|value| value.as_slice() == measured) {
                return Err(GpuRefused::G3Measurement {
                    rim: rim.kind(),
                    index,
                    expected: golden.values.iter().map(|value| hex(value)).collect(),
                    got: hex(measured),
                });
            }
            *compared += 1;
        }
        if *compared == 0 {
            return Err(GpuRefused::G3Empty { rim: rim.kind() });
        }
    }
    let [by_driver, by_vbios] = compared;
    Ok(GpuManifests { driver: driver.claim(by_driver), vbios: vbios.claim(by_vbios) })
}
