//! What policy obliges this process to, held against what it really has.

use crate::{Error, Lease, Room};
use std::path::Path;
use strongroom_memory::{Arena, KeyPagesKind, Protection as Demanded, Swap, Weakening, tracer};
use strongroom_protocol::{
    lease::Handling,
    obligations::{Obligations, Protection},
};

/// Protections that this process has at this moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Has {
    pub(crate) secret_key_pages: bool,
    pub(crate) locked_memory: bool,
    pub(crate) hardening: bool,
    /// The process that traces this one.
    pub(crate) tracer: Option<u32>,
}

impl Room {
    /// What this process has to meet obligations with.
    pub(crate) fn has(&self) -> Has {
        Has {
            secret_key_pages: self.key_pages().kind() == KeyPagesKind::MemfdSecret,
            locked_memory: !self.protection().accepts(Weakening::UnlockedMemory),
            hardening: self.hardening().check().is_ok(),
            // Where the kernel does not say, somebody has to be taken to be there.
            tracer: tracer().unwrap_or(Some(0)),
        }
    }
}

impl Has {
    /// Refuses what cannot be met: an unknown obligation, or a protection that is missing here.
    pub(crate) fn meet(self, obligations: &serde_json::Value, plaintext_to_disk: bool) -> Result<(), Error> {
        let obligations: Obligations = serde_json::from_value(obligations.clone())
            .map_err(|e| Error::Obligation(format!("this version does not know it ({e}); update the SDK")))?;
        if plaintext_to_disk && !obligations.plaintext_to_disk {
            return Err(Error::Obligation("plaintext may not be written to a disk".to_owned()));
        }
        obligations.handling.into_iter().find_map(|protection| self.lacks(protection)).map_or(Ok(()), |what| {
            Err(Error::Obligation(format!("{what}; `strongroom doctor --node` shows what this node has")))
        })
    }

    /// What is missing of a protection, and what to do; none if it is there.
    fn lacks(self, protection: Protection) -> Option<String> {
        let text = match protection {
            Protection::SecretKeyPages if !self.secret_key_pages => {
                "`secret_key_pages`: the kernel gave no memfd_secret(2) pages, and keys lie in locked anonymous ones"
                    .to_owned()
            }
            Protection::NoSwap if !self.locked_memory => {
                format!(
                    "`no_swap`: memory that is not locked was accepted, and {}; do not accept it",
                    destination(Swap::active(Path::new("/")).ok().as_ref())
                )
            }
            Protection::NoCoreDump | Protection::NoTrace if !self.hardening => {
                format!("`{}`: something lifted the process's hardening after connect()", name(protection))
            }
            Protection::NoTrace => {
                let tracer = self.tracer?;
                format!("`no_trace`: process {tracer} traces this one; detach it")
            }
            // Key pages and arenas are never inherited, and zeroed with the lease, without exception.
            _ => return None,
        };
        Some(text)
    }
}

fn name(protection: Protection) -> &'static str {
    match protection {
        Protection::SecretKeyPages => "secret_key_pages",
        Protection::NoSwap => "no_swap",
        Protection::NoCoreDump => "no_core_dump",
        Protection::NoInheritance => "no_inheritance",
        Protection::NoTrace => "no_trace",
        Protection::ZeroOnEnd => "zero_on_end",
    }
}

/// Where unlocked memory would go on this machine, in words.
fn destination(swap: Option<&Swap>) -> String {
    match swap {
        Some(Swap::Plain(areas)) => format!(
            "swap that is not encrypted is active ({})",
            areas.iter().map(|a| a.display().to_string()).collect::<Vec<_>>().join(", ")
        ),
        Some(Swap::Sealed(_)) => "encrypted swap is active, and other swap may be switched on".to_owned(),
        Some(Swap::Off) => "swap may be switched on, though none is now".to_owned(),
        None => "whether swap is active cannot be seen".to_owned(),
    }
}

impl Lease {
    /// Memory for what this lease opens, no weaker than the vault was told.
    pub(crate) fn arena(&self, bytes: usize, protection: &Demanded) -> Result<Arena, Error> {
        let arena = Arena::allocate(bytes, protection)?;
        check_told(arena.is_locked(), self.handling())?;
        Ok(arena)
    }
}

/// Refuses memory that is weaker than what the vault was told before the keys were used: a file
/// can be opened with another protection than the room's.
fn check_told(locked: bool, told: &Handling) -> Result<(), Error> {
    let unlocked = Weakening::UnlockedMemory;
    if locked || told.weakened.iter().any(|name| name == unlocked.as_str()) {
        return Ok(());
    }
    Err(Error::Obligation(format!(
        "`{}` was not named to the vault when the keys were released: accept it in the room's options, where the ledger shows it",
        unlocked.as_str()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ALL: Has = Has { secret_key_pages: true, locked_memory: true, hardening: true, tracer: None };

    fn obligations(handling: &[&str]) -> Value {
        json!({
            "lease_seconds": 60, "renew_after": 10, "reattest_after": 20, "handling": handling, "plaintext_to_disk": false,
        })
    }

    #[test]
    fn each_obligation_is_met_or_refused() {
        let every = ["no_core_dump", "no_inheritance", "no_swap", "no_trace", "secret_key_pages", "zero_on_end"];
        ALL.meet(&obligations(&every), false).unwrap();
        let nothing = Has { secret_key_pages: false, locked_memory: false, hardening: false, tracer: Some(1) };
        nothing.meet(&obligations(&["no_inheritance", "zero_on_end"]), false).unwrap();
        let refused = |has: Has, obligation: &str, because: &str| {
            let error = has.meet(&obligations(&[obligation]), false).err().unwrap();
            assert!(matches!(error, Error::Obligation(_)), "{obligation}: {error}");
            let text = error.to_string();
            assert!(text.contains(because) && text.contains(obligation), "{text}");
        };
        refused(Has { secret_key_pages: false, ..ALL }, "secret_key_pages", "memfd_secret");
        refused(Has { locked_memory: false, ..ALL }, "no_swap", "not locked was accepted");
        refused(Has { hardening: false, ..ALL }, "no_core_dump", "hardening");
        refused(Has { hardening: false, ..ALL }, "no_trace", "hardening");
        refused(Has { tracer: Some(71), ..ALL }, "no_trace", "process 71");
        refused(ALL, "no_such_protection", "does not know it");
        // A tracer takes no core: only what forbids it is refused.
        Has { tracer: Some(71), ..ALL }.meet(&obligations(&["no_core_dump"]), false).unwrap();
    }

    #[test]
    fn an_obligation_that_is_not_known_is_refused() {
        let mut unknown = obligations(&[]);
        unknown["watermark"] = true.into();
        for unknown in [unknown, Value::Null, json!({})] {
            let error = ALL.meet(&unknown, false).err().unwrap();
            assert!(error.to_string().contains("this version does not know it"), "{error}");
        }
    }

    #[test]
    fn plaintext_goes_to_a_disk_only_where_that_is_allowed() {
        let mut given = obligations(&[]);
        assert!(ALL.meet(&given, true).is_err());
        given["plaintext_to_disk"] = true.into();
        ALL.meet(&given, true).unwrap();
    }

    /// The room's protection is what the vault knows; a file may be opened with another.
    #[test]
    fn memory_that_the_vault_was_told_otherwise_of_is_refused() {
        let told = |weakened: &[&str]| Handling {
            key_pages: "memfd_secret".to_owned(),
            weakened: weakened.iter().map(|name| (*name).to_owned()).collect(),
            plaintext_to_disk: false,
            client: "test".to_owned(),
        };
        check_told(true, &told(&[])).unwrap();
        check_told(false, &told(&["unlocked_memory"])).unwrap();
        assert!(matches!(check_told(false, &told(&[])), Err(Error::Obligation(_))));
        assert!(matches!(check_told(false, &told(&["another"])), Err(Error::Obligation(_))));
    }

    #[test]
    fn a_refusal_says_where_unlocked_memory_would_go() {
        assert!(
            destination(Some(&Swap::Plain(vec!["/dev/sda2".into()]))).contains("not encrypted is active (/dev/sda2)")
        );
        assert!(destination(Some(&Swap::Sealed(vec![]))).contains("encrypted swap"));
        assert!(destination(Some(&Swap::Off)).contains("none is now"));
        assert!(destination(None).contains("cannot be seen"));
    }
}
