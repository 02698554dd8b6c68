//! Bombs: XML, JSON, certificates, lists and logs that are made to be expensive.

use super::bombs;
use std::time::Instant;

#[test]
fn bombs_are_refused_by_their_rows_or_read_whole() {
    for mut bomb in bombs::all() {
        let mut judged = || {
            let begin = Instant::now();
            ((bomb.judge)(), begin.elapsed().as_secs_f64() * 1e3)
        };
        let (outcome, mut took) = judged();
        // Printed, never asserted: how long it takes is for `.ci/bench evidence` to say.
        for _ in 0..4 {
            took = took.min(judged().1);
        }
        println!("{:<58} {:>8} bytes {took:>8.2} ms  {:?}", bomb.name, bomb.bytes, bomb.row);
        match (&outcome, bomb.row) {
            (Ok(()), None) => {}
            (Err((row, words)), Some(expected)) => {
                assert_eq!(row, expected, "{}: {words}", bomb.name);
                // Words go into logs and onto terminals.
                assert!(words.len() < 1500, "{}: {} bytes of words", bomb.name, words.len());
                assert!(!words.chars().any(char::is_control), "{}: {words:?}", bomb.name);
                // The name did come into them.
                assert!(!bomb.name.ends_with("a name of 13 KiB") || words.contains("row S3 passed"), "{words}");
            }
            _ => panic!("{}: {outcome:?}, expected was {:?}", bomb.name, bomb.row),
        }
    }
}
