use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use strongroom::{
    Error, Options, Request, Room,
    collect::{Collector, CollectorConfig},
    protocol::{join::JoinFile, statement::ObjectRef},
    sealed::{Expected, Opening},
};

fn first_bytes(join: &JoinFile, node: &CollectorConfig, path: &Path) -> Result<Vec<u8>, Error> {
    let room = Arc::new(Room::connect(join, Options::default())?);
    let collector = Arc::new(Collector::open(node)?);

    // What the caller expects; what the header says is believed only where it agrees.
    let expected = Expected::asset("minilm");
    let file = std::fs::File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let opening = Opening::start(file, &expected)?;
    let header = opening.header();
    let object = ObjectRef { writer: header.writer, object: header.object };

    // Attests, checks the answer, and holds the keys in key pages.
    let request = Request::new().objects(&header.asset, header.version, vec![object]);
    let lease = room.release(collector.as_ref(), request)?;
    let keeper = lease.keep(Arc::clone(&room), collector);

    // Half a minute before the lease expires, or when it is over: time to write a checkpoint and leave.
    let ending = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ending);
    lease.on_ending(move |_| told.store(true, Ordering::Relaxed), Duration::from_secs(30));

    // Decrypts in parallel into the locked arena.
    let protection = Options::default().protection;
    let opened = lease.open_file(path, &expected, false, 0, &protection, &())?;
    let first = if ending.load(Ordering::Relaxed) {
        Vec::new()
    } else {
        // Let go of this guard soon: a revocation waits for it.
        let plaintext = opened.plaintext()?;
        plaintext.iter().take(8).copied().collect()
    };
    drop(keeper);
    lease.end()?;
    Ok(first)
}
