//! What a cloud's confidential machine showed before, and what may not be shown after it.
//!
//! Azure's envelope is made at a boot and its report binds no request; what is fresh is the vTPM's quote. Whoever is
//! root on such a machine can keep the envelope of an earlier boot, and of an earlier TCB, and show it beside a quote
//! of today. So a node's record holds what was accepted last, as one thing: key, launch, counters, TCB.
//!
//! | key | launch | counters | TCB | |
//! |---|---|---|---|---|
//! | another | | | | refused: another machine, S12 |
//! | same | same | same | not lower | the same boot |
//! | same | same | others | | refused: the machine was booted, the envelope is of before, S12 |
//! | same | another | same | | refused: the machine was not booted, the envelope is of another boot, S12 |
//! | same | of before | others | | refused: the envelope of an earlier boot, S12 |
//! | same | same or new | as it | lower in a part | refused: rolled back, S6 |
//! | same | new | others | not lower | another boot |

use super::verify::{GuestClaims, Refusal};
use strongroom_protocol::{Fixed, claims::SnpTcb};
use strongroom_store::model::{CloudBoot, PAST_LAUNCHES};

/// What to do where an operator knows better: it is told with each refusal.
const TAKEN_ANEW: &str =
    "an operator who knows why has the record take it anew, by adding the machine's cloud-vm identity again";

/// What this evidence shows; none where it is of no cloud's machine.
pub(super) fn shown(guest: Option<&GuestClaims>) -> Option<CloudBoot> {
    let Some(GuestClaims::Azure(claims, boot)) = guest else { return None };
    let digest = |text: &str| hex::decode(text).ok().and_then(|bytes| Fixed::try_from(bytes.as_slice()).ok());
    Some(CloudBoot {
        key_sha256: digest(&claims.ak_sha256)?,
        launch: digest(&claims.snp.report_id)?,
        boot: (boot.reset_count, boot.restart_count),
        committed: claims.snp.tcb.committed,
        reported: claims.snp.tcb.reported,
        past: Vec::new(),
    })
}

/// Holds what is shown against what was accepted last: what the record is to hold then.
pub(super) fn follow(before: Option<&CloudBoot>, shown: CloudBoot) -> Result<CloudBoot, Refusal> {
    let Some(before) = before else { return Ok(shown) };
    let refused = |row, why: String| Err(Refusal { row, why: format!("{row}: {why}; {TAKEN_ANEW}"), is_signed: true });
    if shown.key_sha256 != before.key_sha256 {
        let (shown, before) = (shown.key_sha256, before.key_sha256);
        return refused("S12", format!("the vTPM's key is {shown}, and this machine's was {before}"));
    }
    let is_same = match (shown.launch == before.launch, shown.boot == before.boot) {
        (true, true) => true,
        (true, false) => {
            let why = "the machine was booted since the envelope was made: read NV index 0x01400001 of the vTPM again";
            return refused("S12", why.to_owned());
        }
        (false, true) => {
            let why = "the envelope is of another boot than the quote: read NV index 0x01400001 of the vTPM again";
            return refused("S12", why.to_owned());
        }
        (false, false) => false,
    };
    if before.past.contains(&shown.launch) {
        let why = "the envelope is of an earlier boot of the machine: read NV index 0x01400001 of the vTPM again";
        return refused("S12", why.to_owned());
    }
    let parts = [("committed", shown.committed, before.committed), ("reported", shown.reported, before.reported)];
    if let Some((which, now, then)) = parts.into_iter().find(|(_, now, then)| is_lower(*now, *then)) {
        let why = format!("the {which} TCB is {now}, and was {then}: the machine, or its envelope, was rolled back");
        return refused("S6", why);
    }
    let mut past = before.past.clone();
    if !is_same {
        past.push(before.launch);
        past.drain(..past.len().saturating_sub(PAST_LAUNCHES));
    }
    Ok(CloudBoot { past, ..shown })
}

/// Whether any part is older.
fn is_lower(now: SnpTcb, then: SnpTcb) -> bool {
    let parts = |tcb: SnpTcb| [tcb.fmc.unwrap_or(0), tcb.boot_loader, tcb.tee, tcb.snp, tcb.microcode];
    parts(now).iter().zip(parts(then)).any(|(now, then)| *now < then)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(launch: u8, counter: u32) -> CloudBoot {
        let tcb = SnpTcb { fmc: None, boot_loader: 3, tee: 1, snp: 20, microcode: 100 };
        let (key_sha256, launch) = (Fixed([1; 32]), Fixed([launch; 32]));
        CloudBoot { key_sha256, launch, boot: (counter, 0), committed: tcb, reported: tcb, past: Vec::new() }
    }

    fn row(before: &CloudBoot, shown: CloudBoot) -> Result<CloudBoot, &'static str> {
        follow(Some(before), shown).map_err(|refusal| refusal.row)
    }

    #[test]
    fn s12_an_envelope_and_a_quote_are_of_one_boot() {
        assert_eq!(follow(None, boot(1, 1)), Ok(boot(1, 1)));
        assert_eq!(row(&boot(1, 1), boot(1, 1)), Ok(boot(1, 1)));
        assert_eq!(row(&boot(1, 1), boot(1, 2)), Err("S12"), "rebooted, with the envelope of before");
        let restarted = CloudBoot { boot: (1, 1), ..boot(1, 1) };
        assert_eq!(row(&boot(1, 1), restarted), Err("S12"));
        assert_eq!(row(&boot(2, 2), boot(1, 2)), Err("S12"), "an older envelope in one boot");
        let second = row(&boot(1, 1), boot(2, 2)).unwrap();
        assert_eq!(second.past, [Fixed([1; 32])]);
        assert_eq!(row(&second, boot(1, 3)), Err("S12"), "rebooted, with the envelope of an earlier boot");
        assert_eq!(row(&second, boot(2, 2)).unwrap(), second, "what was before stays known");
    }

    #[test]
    fn s12_another_key_is_another_machine() {
        let other = CloudBoot { key_sha256: Fixed([9; 32]), ..boot(2, 2) };
        assert_eq!(row(&boot(1, 1), other), Err("S12"));
    }

    #[test]
    fn s6_no_part_of_a_tcb_goes_back() {
        for lower in [
            |tcb: &mut SnpTcb| tcb.boot_loader -= 1,
            |tcb: &mut SnpTcb| tcb.tee -= 1,
            |tcb: &mut SnpTcb| tcb.snp -= 1,
            |tcb: &mut SnpTcb| tcb.microcode -= 1,
        ] {
            let (mut committed, mut reported) = (boot(2, 2), boot(2, 2));
            lower(&mut committed.committed);
            lower(&mut reported.reported);
            // A newer part elsewhere makes up for nothing.
            reported.reported.fmc = Some(1);
            assert_eq!(row(&boot(1, 1), committed), Err("S6"));
            assert_eq!(row(&boot(1, 1), reported), Err("S6"));
            // An older envelope of the same boot is one too.
            let mut same = boot(1, 1);
            lower(&mut same.reported);
            assert_eq!(row(&boot(1, 1), same), Err("S6"));
        }
        let mut newer = boot(2, 2);
        newer.reported.microcode += 1;
        assert!(row(&boot(1, 1), newer).is_ok());
    }

    #[test]
    fn launches_that_are_remembered_are_bounded() {
        let mut held = boot(0, 0);
        for n in 1..=100 {
            held = row(&held, boot(n, n.into())).unwrap();
        }
        assert_eq!((held.past.len(), held.past.last()), (PAST_LAUNCHES, Some(&Fixed([99; 32]))));
    }
}
