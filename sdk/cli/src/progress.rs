//! Progress of long work, and what is waited for: on a terminal, or as JSON lines on standard error with
//! `--json`.

use crate::{interrupt::Interrupt, output::say, plain};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};
use strongroom::{Waiting, sealed::Progress};

/// Least time between two JSON lines.
const EVERY: Duration = Duration::from_millis(500);

/// Shows how far a piece of work is.
pub(crate) struct Shown {
    bar: ProgressBar,
    lines: Option<Mutex<Instant>>,
    what: &'static str,
    interrupt: Option<Interrupt>,
}

impl Shown {
    /// Work of `total` bytes.
    pub(crate) fn new(what: &'static str, total: u64, json: bool) -> Self {
        let bar = ProgressBar::new(total);
        if json || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, lines: json.then(|| Mutex::new(Instant::now())), what, interrupt: None }
    }

    /// Work that stops when this comes.
    pub(crate) fn stopped_by(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = Some(interrupt);
        self
    }
}

impl Progress for Shown {
    fn advanced(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Some(lines) = &self.lines else { return };
        let Ok(mut last) = lines.try_lock() else { return };
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            let line = serde_json::json!({
                "progress": self.what, "bytes": self.bar.position(), "total": self.bar.length()
            });
            say(&line.to_string());
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.as_ref().is_some_and(Interrupt::came)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Says what is waited for.
pub(crate) fn tell(waiting: &Waiting<'_>) {
    let cause = plain::line(&waiting.cause.to_string());
    let (pause, left) = (waiting.pause.as_secs_f32(), waiting.left.as_secs());
    say(&format!("strongroom: waiting {pause:.0} s: {cause} (patience for {left} s)"));
}

/// The same as a JSON line.
pub(crate) fn tell_json(waiting: &Waiting<'_>) {
    let line = serde_json::json!({
        "waiting": waiting.cause.to_string(), "pause_ms": waiting.pause.as_millis(), "patience_ms": waiting.left.as_millis()
    });
    say(&plain::json(&line.to_string()));
}
