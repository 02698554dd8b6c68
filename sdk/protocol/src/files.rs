//! How files are named in lists: by digest, in one spelling each.
//!
//! What IMA measured is held against lists letter by letter, so a digest that is cut, or spelled otherwise, would match
//! nothing and forbid nothing. [`FileLists::check`] finds those wherever lists come from.

use crate::admin::FileLists;

/// Hash algorithms as the Linux kernel calls them (`crypto/hash_info.c`), each with the length of its digest, bytes.
const ALGORITHMS: [(&str, usize); 24] = [
    ("sha256", 32),
    ("sha1", 20),
    ("sha384", 48),
    ("sha512", 64),
    ("sha224", 28),
    ("sha3-256", 32),
    ("sha3-384", 48),
    ("sha3-512", 64),
    ("md4", 16),
    ("md5", 16),
    ("rmd128", 16),
    ("rmd160", 20),
    ("rmd256", 32),
    ("rmd320", 40),
    ("wp256", 32),
    ("wp384", 48),
    ("wp512", 64),
    ("tgr128", 16),
    ("tgr160", 20),
    ("tgr192", 24),
    // Linux has called it by both names.
    ("sm3", 32),
    ("sm3-256", 32),
    ("streebog256", 32),
    ("streebog512", 64),
];

/// What stands before the algorithm where the digest is fs-verity's and not of the file's content.
const VERITY: &str = "verity:";

/// Longest part of a text that an error shows, in characters.
const SHOWN: usize = 80;

/// Why lists of files were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileListsRefused {
    /// An entry that no measured file can be compared with.
    #[error(
        "`{text}` among the {list} files is no digest: give its algorithm as the kernel calls it, a colon and all of \
         it in lower-case hexadecimal, 64 digits for sha256"
    )]
    NoDigest {
        /// `accepted`, `forbidden` or `required`.
        list: &'static str,
        /// The entry, escaped and at most 80 characters of it.
        text: String,
    },
    /// Files that are forbidden by different hashes. The kernel measures a file by one, so that none of the entries
    /// could ever rule a file out.
    #[error(
        "files are forbidden by {first} and by {other}: forbid by one hash in each set, the one that the nodes measure \
         files by"
    )]
    SeveralHashes {
        /// One of the algorithms.
        first: String,
        /// Another.
        other: String,
    },
    /// A file that must be measured and must not be: no node would ever match.
    #[error("`{digest}` is among the required files and among the forbidden ones: take it out of one list")]
    Contradiction {
        /// The entry.
        digest: String,
    },
}

impl FileLists {
    /// Refuses lists that would not say what they seem to say: entries that are no digest of a known algorithm in
    /// lower-case hexadecimal, all of it, files that are forbidden by more than one hash, and files that are forbidden
    /// and required. One that is accepted and forbidden is forbidden.
    pub fn check(&self) -> Result<(), FileListsRefused> {
        let lists = [
            ("accepted", self.accepted.as_ref()),
            ("forbidden", Some(&self.forbidden)),
            ("required", Some(&self.required)),
        ];
        for (list, files) in lists {
            if let Some(text) = files.into_iter().flat_map(|files| files.keys()).find(|text| algorithm(text).is_none())
            {
                let text = text.chars().take(SHOWN).collect::<String>().escape_debug().to_string();
                return Err(FileListsRefused::NoDigest { list, text });
            }
        }
        if let Some(digest) = self.required.keys().find(|digest| self.forbidden.contains_key(*digest)) {
            return Err(FileListsRefused::Contradiction { digest: digest.clone() });
        }
        let mut hashes = self.forbidden.keys().filter_map(|digest| algorithm(digest));
        let first = hashes.next();
        match first.zip(hashes.find(|hash| Some(*hash) != first)) {
            Some((first, other)) => {
                Err(FileListsRefused::SeveralHashes { first: first.to_owned(), other: other.to_owned() })
            }
            None => Ok(()),
        }
    }
}

/// By which hash a digest names a file: what stands before the last colon, `sha256` or `verity:sha256`. `None` if the
/// text is no digest as lists and claims have them.
pub fn algorithm(digest: &str) -> Option<&str> {
    let (named, value) = digest.rsplit_once(':')?;
    let algorithm = named.strip_prefix(VERITY).unwrap_or(named);
    let (_, length) = ALGORITHMS.into_iter().find(|(name, _)| *name == algorithm)?;
    let plain = value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (plain && value.len() == 2 * length).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn list(digests: &[&str]) -> BTreeMap<String, String> {
        digests.iter().map(|digest| ((*digest).to_owned(), String::new())).collect()
    }

    #[test]
    fn a_digest_is_spelled_in_one_way() {
        let of = |algorithm: &str, digits: usize| format!("{algorithm}:{}", "ab".repeat(digits / 2));
        for (name, digits) in [("sha256", 64), ("sha1", 40), ("sha512", 128), ("verity:sha256", 64), ("sm3-256", 64)] {
            assert_eq!(algorithm(&of(name, digits)), Some(name));
            for wrong in [digits - 2, digits + 2, 0] {
                assert_eq!(algorithm(&of(name, wrong)), None, "{name} with {wrong} digits");
            }
        }
        let right = of("sha256", 64);
        let odd = right.get(..right.len() - 1).unwrap();
        let upper = right.to_uppercase();
        let capitals = right.replace("ab", "AB");
        let wrong = [
            odd,
            &upper,
            &capitals,
            &of("ima:sha256", 64),
            &of("verity:verity:sha256", 64),
            &of("foo", 64),
            &of("", 64),
            &of("sha256", 64).replace(':', ""),
            &right.replace("ab", "xy"),
            &format!(" {right}"),
        ];
        for text in wrong {
            assert_eq!(algorithm(text), None, "{text}");
        }
    }

    #[test]
    fn every_list_is_checked() {
        let (good, cut) = (format!("sha256:{}", "ab".repeat(32)), "sha256:abab\u{1b}");
        let refused = |list| Err(FileListsRefused::NoDigest { list, text: "sha256:abab\\u{1b}".to_owned() });
        let lists = |digest: &str| {
            [
                FileLists { accepted: Some(list(&[digest])), ..FileLists::default() },
                FileLists { forbidden: list(&[digest]), ..FileLists::default() },
                FileLists { required: list(&[digest]), ..FileLists::default() },
            ]
        };
        for (name, (right, wrong)) in
            ["accepted", "forbidden", "required"].into_iter().zip(lists(&good).iter().zip(&lists(cut)))
        {
            assert_eq!(right.check(), Ok(()));
            assert_eq!(wrong.check(), refused(name));
        }
        assert_eq!(FileLists::default().check(), Ok(()));
    }

    #[test]
    fn files_are_forbidden_by_one_hash() {
        let (sha256, sha1) = (format!("sha256:{}", "ab".repeat(32)), format!("sha1:{}", "ab".repeat(20)));
        let verity = format!("verity:{sha256}");
        let both = |other: &str| FileLists { forbidden: list(&[&sha256, other]), ..FileLists::default() }.check();
        for (other, name) in [(&sha1, "sha1"), (&verity, "verity:sha256")] {
            let Err(FileListsRefused::SeveralHashes { first, other }) = both(other) else { panic!("{name} was taken") };
            assert!([&first, &other].contains(&&"sha256".to_owned()) && [&first, &other].contains(&&name.to_owned()));
        }
        assert_eq!(both(&format!("sha256:{}", "cd".repeat(32))), Ok(()));
        // What is accepted and required may be named by whatever hash the kernel took.
        let lists = FileLists {
            accepted: Some(list(&[&sha256, &sha1])),
            required: list(&[&verity, &sha1]),
            ..FileLists::default()
        };
        assert_eq!(lists.check(), Ok(()));
    }

    #[test]
    fn nothing_is_forbidden_and_required() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let (other, one) = (format!("sha256:{}", "cd".repeat(32)), list(&[&digest]));
        let refused = Err(FileListsRefused::Contradiction { digest: digest.clone() });
        let both = |required| FileLists { accepted: None, forbidden: one.clone(), required }.check();
        assert_eq!(both(one.clone()), refused);
        assert_eq!(both(list(&[&other])), Ok(()));
        let excepted = FileLists { accepted: Some(one.clone()), forbidden: one.clone(), ..FileLists::default() };
        assert_eq!(excepted.check(), Ok(()), "it is forbidden");
    }
}
