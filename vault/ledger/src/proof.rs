//! Verifying that an entry is in a tree, and that one tree extends another: RFC 9162, section 2.1,
//! whose trees are those of RFC 6962. It needs no tiles, and shares no code with the making of proofs.

use crate::{EMPTY_ROOT, Hash, LedgerError, MAX_SIZE, node_hash};

/// Whether `proof` shows `leaf` (the leaf hash, not the entry) at `index` in the tree of `size` and
/// `root`: RFC 9162, section 2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), LedgerError> {
    if index >= size || size > MAX_SIZE {
        return Err(LedgerError::OutsideTree { index, size });
    }
    let refused = LedgerError::NotIncluded { index, size };
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(refused);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(refused) }
}

/// Whether `proof` shows that the tree of `new` entries and `new_root` extends that of `old` and
/// `old_root`: RFC 9162, section 2.1.4.2. Every tree extends the empty one, by an empty proof.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), LedgerError> {
    if new < old || new > MAX_SIZE {
        return Err(LedgerError::Shrunk { old, new });
    }
    let refused = LedgerError::NotConsistent { old, new };
    if old == 0 || old == new {
        let same = if old == new { old_root == new_root } else { true };
        let empty = if old == 0 { *old_root == EMPTY_ROOT } else { true };
        return if proof.is_empty() && same && empty { Ok(()) } else { Err(refused) };
    }
    // A perfect old tree is a node of the new one: its root starts the proof, and is not sent.
    let (start, rest) = match proof.split_first() {
        None => return Err(refused),
        Some(_) if old.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
    };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return Err(refused);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(refused) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frontier, Prover, sample};
    use proptest::prelude::*;

    fn hash(text: &str) -> Hash {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn hashes(texts: &[&str]) -> Vec<Hash> {
        texts.iter().map(|text| hash(text)).collect()
    }

    /// Leaves and roots of the reference trees of Certificate Transparency (RFC 6962's authors).
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn reference_leaf(index: usize) -> Hash {
        let mut bytes = vec![0];
        bytes.extend(hex::decode(LEAVES[index]).unwrap());
        strongroom_protocol::sha256(&bytes)
    }

    #[test]
    fn the_reference_trees_have_their_roots() {
        let mut frontier = Frontier::new();
        for (index, root) in ROOTS.iter().enumerate() {
            frontier.push_leaf(reference_leaf(index)).unwrap();
            assert_eq!(frontier.root(), hash(root));
        }
    }

    #[test]
    fn the_reference_inclusion_proofs_verify() {
        let proof = hashes(&[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]);
        assert_eq!(verify_inclusion(&reference_leaf(0), 0, 8, &hash(ROOTS[7]), &proof), Ok(()));
        assert_eq!(verify_inclusion(&reference_leaf(0), 0, 1, &hash(ROOTS[0]), &[]), Ok(()));
    }

    #[test]
    fn the_reference_consistency_proofs_verify() {
        let six_to_eight = hashes(&[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]);
        assert_eq!(verify_consistency(6, &hash(ROOTS[5]), 8, &hash(ROOTS[7]), &six_to_eight), Ok(()));
        let two_to_five = hashes(&[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ]);
        assert_eq!(verify_consistency(2, &hash(ROOTS[1]), 5, &hash(ROOTS[4]), &two_to_five), Ok(()));
    }

    #[test]
    fn trees_of_no_and_of_equal_entries_are_consistent_only_with_themselves() {
        let (five, eight) = (hash(ROOTS[4]), hash(ROOTS[7]));
        assert_eq!(verify_consistency(0, &EMPTY_ROOT, 8, &eight, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &EMPTY_ROOT, 0, &EMPTY_ROOT, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &EMPTY_ROOT, MAX_SIZE, &eight, &[]), Ok(()));
        assert!(verify_consistency(0, &EMPTY_ROOT, MAX_SIZE + 1, &eight, &[]).is_err());
        assert_eq!(verify_consistency(8, &eight, 8, &eight, &[]), Ok(()));
        let refused = |old, new| Err(LedgerError::NotConsistent { old, new });
        assert_eq!(verify_consistency(0, &five, 8, &eight, &[]), refused(0, 8));
        assert_eq!(verify_consistency(0, &five, 0, &five, &[]), refused(0, 0));
        assert_eq!(verify_consistency(8, &five, 8, &eight, &[]), refused(8, 8));
        assert_eq!(verify_consistency(8, &eight, 8, &eight, &[five]), refused(8, 8));
        assert_eq!(verify_consistency(5, &five, 8, &eight, &[]), refused(5, 8));
        assert_eq!(verify_consistency(8, &eight, 5, &five, &[]), Err(LedgerError::Shrunk { old: 8, new: 5 }));
    }

    #[test]
    fn a_proof_that_ends_below_the_root_of_such_a_size_is_refused() {
        let (leaf, two) = (reference_leaf(0), hash(ROOTS[1]));
        let sibling = [reference_leaf(1)];
        assert_eq!(verify_inclusion(&leaf, 0, 2, &two, &sibling), Ok(()));
        assert_eq!(verify_inclusion(&leaf, 0, 4, &two, &sibling), Err(LedgerError::NotIncluded { index: 0, size: 4 }));
        assert_eq!(verify_consistency(1, &leaf, 2, &two, &sibling), Ok(()));
        let refused = Err(LedgerError::NotConsistent { old: 1, new: 4 });
        assert_eq!(verify_consistency(1, &leaf, 4, &two, &sibling), refused);
    }

    #[test]
    fn what_is_outside_the_tree_has_no_proof() {
        let outside = |index, size| Err(LedgerError::OutsideTree { index, size });
        assert_eq!(verify_inclusion(&EMPTY_ROOT, 1, 1, &EMPTY_ROOT, &[]), outside(1, 1));
        assert_eq!(verify_inclusion(&EMPTY_ROOT, 0, 0, &EMPTY_ROOT, &[]), outside(0, 0));
        assert_eq!(verify_inclusion(&EMPTY_ROOT, 0, u64::MAX, &EMPTY_ROOT, &[]), outside(0, u64::MAX));
    }

    fn flipped(mut hash: Hash, bit: u8) -> Hash {
        hash[usize::from(bit) / 8] ^= 1 << (bit % 8);
        hash
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_proof_with_one_bit_changed_is_refused(size in 2_u64..1500, a: u64, b: u64, at: usize, bit: u8) {
            let log = sample::Log::of((0..size).map(sample::act));
            let (root, index, old) = (log.frontier.root(), a % size, 1 + b % (size - 1));
            let leaf = crate::leaf_hash(&log.entries[usize::try_from(index).unwrap()]);
            let mut prover = Prover::new(&log.tiles, size);

            let proof = prover.inclusion(index).unwrap();
            prop_assert_eq!(verify_inclusion(&leaf, index, size, &root, &proof), Ok(()));
            prop_assert!(verify_inclusion(&flipped(leaf, bit), index, size, &root, &proof).is_err());
            prop_assert!(verify_inclusion(&leaf, index, size, &flipped(root, bit), &proof).is_err());
            prop_assert!(verify_inclusion(&leaf, (index + 1 + b % (size - 1)) % size, size, &root, &proof).is_err());
            for changed in changes(&proof, at, bit) {
                prop_assert!(verify_inclusion(&leaf, index, size, &root, &changed).is_err());
            }

            let mut then = Frontier::new();
            log.entries.iter().take(usize::try_from(old).unwrap()).for_each(|entry| then.push(entry).unwrap());
            let before = then.root();
            let proof = prover.consistency(old).unwrap();
            prop_assert_eq!(verify_consistency(old, &before, size, &root, &proof), Ok(()));
            prop_assert!(verify_consistency(old, &flipped(before, bit), size, &root, &proof).is_err());
            prop_assert!(verify_consistency(old, &before, size, &flipped(root, bit), &proof).is_err());
            for changed in changes(&proof, at, bit) {
                prop_assert!(verify_consistency(old, &before, size, &root, &changed).is_err());
            }
        }
    }

    /// The proof with a bit flipped, a hash too many at either end, and one too few at either end.
    fn changes(proof: &[Hash], at: usize, bit: u8) -> Vec<Vec<Hash>> {
        let at = at % proof.len();
        let mut flip = proof.to_vec();
        flip[at] = flipped(flip[at], bit);
        let more = [proof, &[[3; 32]]].concat();
        let before = [&[[3; 32]], proof].concat();
        vec![flip, more, before, proof[1..].to_vec(), proof[..proof.len() - 1].to_vec()]
    }
}
