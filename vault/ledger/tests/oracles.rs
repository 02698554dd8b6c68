//! Other people's implementations of the same standards must agree with ours: `ct-merkle` on roots
//! and proofs, `tlog_tiles` on tiles, paths, checkpoints and proofs, `signed_note` on notes and keys.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use strongroom_ledger::{
    Checkpoint, Frontier, Hash, Prover, SignedNote, Tile, TileId, TileSet, TileSource, VerifierKey, append,
};

fn entries(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|i| strongroom_protocol::sha256(&i.to_be_bytes())).collect()
}

fn size(count: usize) -> u64 {
    count as u64
}

fn tree(entries: &[Hash]) -> (Frontier, TileSet) {
    let appended = append(&Frontier::new(), entries, &TileSet::new()).unwrap();
    (appended.frontier, appended.tiles.into_iter().collect())
}

fn key() -> (Ed25519KeyPair, VerifierKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let verifier = VerifierKey::new("example.com/log", pair.public_key().as_ref().try_into().unwrap()).unwrap();
    (pair, verifier)
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::tlog::Hash> {
    hashes.iter().map(|hash| tlog_tiles::tlog::Hash(*hash)).collect()
}

/// Serves our tiles to `tlog_tiles`, which asks for them by its own paths.
struct Served<'a>(&'a TileSet);

impl tlog_tiles::tile::TileReader for Served<'_> {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[tlog_tiles::tile::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::tlog::Error> {
        let read = |tile: &tlog_tiles::tile::Tile| {
            let id = TileId::new(tile.level(), tile.level_index(), u16::try_from(tile.width()).unwrap()).unwrap();
            let mut data = self.0.tile(id).unwrap();
            data.truncate(usize::from(id.width()) * 32);
            data
        };
        Ok(tiles.iter().map(read).collect())
    }
    fn save_tiles(&self, _: &[tlog_tiles::tile::Tile], _: &[Vec<u8>]) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ct_merkle_makes_the_same_roots_and_proofs(count in 1_usize..1200, a: usize, b: usize) {
        let entries = entries(count);
        let (frontier, tiles) = tree(&entries);
        let mut oracle = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, Hash>::new();
        for entry in &entries {
            oracle.push(*entry);
        }
        let root = oracle.root();
        prop_assert_eq!(root.as_bytes().as_slice(), frontier.root());

        let mut prover = Prover::new(&tiles, size(count));
        let (index, additions) = (a % count, b % count);
        let inclusion = oracle.prove_inclusion(index);
        prop_assert_eq!(inclusion.as_bytes(), prover.inclusion(size(index)).unwrap().concat());
        let consistency = oracle.prove_consistency(additions);
        prop_assert_eq!(consistency.as_bytes(), prover.consistency(size(count - additions)).unwrap().concat());
    }

    #[test]
    fn tlog_tiles_wants_the_tiles_that_we_write(old in 0_usize..1000, more in 1_usize..1000) {
        let entries = entries(old + more);
        let (frontier, tiles) = tree(&entries[..old]);
        let appended = append(&frontier, &entries[old..], &tiles).unwrap();
        let name = |tile: &Tile| {
            assert_eq!(tile.data.len(), usize::from(tile.id.width()) * 32);
            tile.id.to_string()
        };
        let ours: Vec<_> = appended.tiles.iter().map(name).collect();
        let wanted = tlog_tiles::tile::Tile::new_tiles(8, size(old), size(old + more));
        // Its paths begin with the height, which C2SP dropped.
        let wanted: Vec<_> = wanted.iter().map(|tile| tile.path().replacen("tile/8/", "tile/", 1)).collect();
        prop_assert_eq!(ours, wanted);
    }
}

#[test]
fn tlog_tiles_proves_from_our_tiles_over_three_levels() {
    use tlog_tiles::{tile::TileHashReader, tlog};
    let (count, old) = (70_000, 65_000);
    let entries = entries(count);
    let (frontier, tiles) = tree(&entries);
    let (before, _) = tree(&entries[..old]);
    let (root, root_before) = (tlog::Hash(frontier.root()), tlog::Hash(before.root()));
    let served = Served(&tiles);
    let reader = TileHashReader::new(size(count), root, &served);
    assert_eq!(tlog::tree_hash(size(count), &reader).unwrap(), root);
    assert_eq!(tlog::tree_hash(size(old), &reader).unwrap(), root_before);

    let mut prover = Prover::new(&tiles, size(count));
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
        let proof = theirs(&prover.inclusion(size(index)).unwrap());
        assert_eq!(proof, tlog::prove_record(size(count), size(index), &reader).unwrap());
        let leaf = tlog::record_hash(&entries[index]);
        tlog::check_record(&proof, size(count), root, size(index), leaf).unwrap();
    }
    let proof = theirs(&prover.consistency(size(old)).unwrap());
    assert_eq!(proof, tlog::prove_tree(size(count), size(old), &reader).unwrap());
    tlog::check_tree(&proof, size(count), root, size(old), root_before).unwrap();
}

#[test]
fn signed_note_and_tlog_tiles_read_our_checkpoints() {
    let (pair, verifier) = key();
    let (frontier, _) = tree(&entries(1000));
    let checkpoint = Checkpoint::of("example.com/log", &frontier);
    let signed = checkpoint.sign(&verifier, &pair).unwrap().to_string();

    let list =
        |vkey: &str| signed_note::VerifierList::new(vec![Box::new(signed_note::StandardVerifier::new(vkey).unwrap())]);
    let note = signed_note::Note::from_bytes(signed.as_bytes()).unwrap();
    let (known, unknown) = note.verify(&list(&verifier.to_string())).unwrap();
    assert_eq!((known.len(), unknown.len()), (1, 0));
    assert_eq!(known[0].id(), verifier.key_id());
    assert!(
        signed_note::Note::from_bytes(signed.replacen("1000", "1001", 1).as_bytes())
            .unwrap()
            .verify(&list(&verifier.to_string()))
            .is_err()
    );

    let read = tlog_tiles::checkpoint::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.hash().0), ("example.com/log", 1000, frontier.root()));
}

#[test]
fn we_read_the_notes_of_signed_note() {
    use signed_note::Signer as _;
    let (_, verifier) = key();
    let mut secret = vec![1];
    secret.extend_from_slice(&[5; 32]);
    let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
    let skey = format!("PRIVATE+KEY+{}+{:08x}+{secret}", verifier.name(), verifier.key_id());
    let signer = signed_note::StandardSigner::new(&skey).unwrap();
    assert_eq!(signer.key_id(), verifier.key_id());
    let mut note = signed_note::Note::new(b"any text\n\nin parts\n", &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let read = SignedNote::parse(std::str::from_utf8(&note.to_bytes()).unwrap()).unwrap();
    assert_eq!(read.text(), "any text\n\nin parts\n");
    assert_eq!(read.verify(std::slice::from_ref(&verifier)).unwrap(), [&verifier]);
}
