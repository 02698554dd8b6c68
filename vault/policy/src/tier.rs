//! Bundles that bear a tier's name, held against the tier that ships.

use crate::{
    bundle::{Bundle, DATA_FILE},
    weakness::{Effect, Weakness},
};
use std::collections::BTreeSet;

/// The file of rules of a tier.
const RULES: &str = "release.rego";

/// The tiers by number, with the rules that ship.
const TIERS: [(&str, &str); 3] = [
    ("1", include_str!("../../../policies/tier1/release.rego")),
    ("2", include_str!("../../../policies/tier2/release.rego")),
    ("3", include_str!("../../../policies/tier3/release.rego")),
];

/// What a bundle lacks of the tier that `name` says it is, such as the name of its directory: `tier2`, `site-tier-2`.
/// Nothing, where the name speaks of no tier, or the tier's rules are there as they ship; more files may lie beside them.
pub fn lacking(name: &str, bundle: &Bundle) -> Option<Weakness> {
    let (number, shipped) = named(name)?;
    let files = bundle.files();
    if files.get(RULES).is_some_and(|rules| rules == shipped) {
        // A second definition of a condition proves it in another way.
        let own: BTreeSet<&str> = defined(shipped).filter(|rule| *rule != "deny").collect();
        let others = files.iter().filter(|(path, _)| *path != RULES && *path != DATA_FILE);
        let mut again = others.flat_map(|(path, text)| defined(text).map(move |rule| (path, rule)));
        let (path, rule) = again.find(|(_, rule)| own.contains(rule))?;
        let says = format!("its name says tier {number}, and {path} defines {rule} of that tier once more");
        return Some(Weakness { name: "tier_changed", effect: Effect::Weakens, at: path.clone(), says });
    }
    let there: BTreeSet<&str> = files.values().flat_map(|text| codes(text)).collect();
    let missing: Vec<&str> = codes(shipped).filter(|code| !there.contains(code)).collect();
    let says = if missing.is_empty() {
        format!(
            "its name says tier {number}, and {RULES} is not that tier's as it ships with this program: compare them, or \
             give the bundle a name of its own"
        )
    } else {
        format!("its name says tier {number}, and nothing in it denies what that tier denies by {}", missing.join(", "))
    };
    let name = if missing.is_empty() { "tier_changed" } else { "tier_incomplete" };
    Some(Weakness { name, effect: Effect::Weakens, at: RULES.to_owned(), says })
}

/// The tier that a name speaks of.
fn named(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.to_lowercase();
    let (_, rest) = name.split_once("tier")?;
    let number = rest.trim_start_matches(['-', '_', ' ', '.']);
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    TIERS.into_iter().find(|(number, _)| *number == digits)
}

/// The names of rules and functions, as lines begin with them: `deny contains …`, `default allow := …`.
fn defined(rules: &str) -> impl Iterator<Item = &str> {
    let defines = |line: &&str| line.contains(['=', '{']) || line.contains(" if");
    rules.lines().filter(defines).filter_map(|line| {
        let line = line.trim_start();
        let head = line.strip_prefix("default ").unwrap_or(line).split([' ', '(', '[', ':', '=', '{']).next()?;
        // A name may be led by the rest of its package's.
        head.rsplit('.').next()
    })
}

/// The codes of denials, as the rules that ship write them.
fn codes(rules: &str) -> impl Iterator<Item = &str> {
    rules.split("\"code\": \"").skip(1).filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, path::Path};

    fn files(name: &str) -> BTreeMap<String, String> {
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        crate::load_dir(&policies.join(name)).unwrap().files
    }

    fn said(name: &str, files: BTreeMap<String, String>) -> Option<Weakness> {
        lacking(name, &Bundle::from_files(files).unwrap())
    }

    #[test]
    fn a_tier_is_what_its_name_says() {
        for (number, name) in [("1", "tier1"), ("2", "tier2"), ("3", "tier3")] {
            for spelt in [name.to_owned(), format!("site-tier-{number}"), format!("Tier_{number}.prod")] {
                assert_eq!(said(&spelt, files(name)), None, "{spelt}");
            }
            let mut more = files(name);
            more.insert("site.rego".to_owned(), "package strongroom.site\nx := 1\n".to_owned());
            more.insert(
                "zz.rego".to_owned(),
                "package strongroom.release\n\ndeny contains {\"code\": \"x\"} if false\n".to_owned(),
            );
            assert_eq!(said(name, more.clone()), None);
            more.insert("zz.rego".to_owned(), "package strongroom.release\n\nnode_ok if true\n".to_owned());
            let again = said(name, more).unwrap();
            assert!(again.name == "tier_changed" && again.says.contains("zz.rego defines node_ok"), "{}", again.says);
            assert_eq!(said("my-policy", files("baseline")), None);
            assert_eq!(said("tier12", files("baseline")), None);
            assert_eq!(said("frontier", files("baseline")), None);
        }
        for (name, of, missing) in [("tier1", "baseline", "secure_boot_off"), ("tier3", "tier2", "gpu_devtools")] {
            let lacking = said(name, files(of)).unwrap();
            assert_eq!((lacking.name, lacking.effect), ("tier_incomplete", Effect::Weakens));
            assert!(lacking.says.contains(missing), "{}", lacking.says);
        }
        let mut changed = files("tier2");
        let rules = changed.get_mut(RULES).unwrap();
        *rules = rules.replacen("not_confidential\",", "not_confidential\", # since May", 1);
        let changed = said("tier2", changed).unwrap();
        assert_eq!((changed.name, changed.effect), ("tier_changed", Effect::Weakens));
    }
}
