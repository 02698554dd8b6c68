//! Policy bundles in Rego: load, test, evaluate, replay, explain.
//!
//! Policy decides, and nothing else does: without a bundle there is no key, and whatever goes wrong
//! in one is a denial. One evaluation of one package gives verdict, reasons and obligations; it has
//! no clock, no network and no state, so that it gives the same answer when it is replayed.
//!
//! ```text
//! load_dir ──> Sources { files, tests } ──> test_bundle ──> TestReport
//!                        │
//!                        └─> Bundle::from_files ──> Policy::prepare ──evaluate(PolicyInput)──> Evaluation
//!                              digest, settings                         verdict, denials ──> explain
//!                                                                       obligations
//! ```
//!
//! To extend it: a new fact for policies is a field in [`input`]; a new setting a field in
//! [`settings`], with what it weakens in `weakness.rs`; then `make docs` writes schemas and reference. A new obligation goes into
//! `strongroom_protocol::obligations` and into the SDK that has to keep it. A builtin is let in by
//! the list in `builtins.rs`, with the reasons given there.

mod builtins;
mod bundle;
mod directory;
mod engine;
mod error;
mod evaluation;
mod explain;
pub mod input;
mod references;
pub mod settings;
mod source;
mod suite;
mod tier;
mod tokens;
mod weakness;

pub use bundle::{BUNDLE_BYTES, Bundle, DATA_FILE, FILE_BYTES, FILES, Sources};
pub use directory::load_dir;
pub use error::PolicyError;
pub use evaluation::{
    DENIALS, Evaluation, INPUT_BYTES, MESSAGE_BYTES, MORE_DENIALS, NOT_ALLOWED, POLICY_ERROR, POLICY_MALFORMED, Policy,
    VALUE_BYTES, Verdict,
};
pub use explain::explain;
pub use input::PolicyInput;
pub use settings::Settings;
pub use strongroom_protocol::{audit::Denial, obligations::Obligations};
pub use suite::{Outcome, TestReport, TestResult, test_bundle};
pub use tier::lacking;
pub use weakness::{Effect, Weakness, weaknesses};

/// JSON with the names of every object in order, whatever else is built with it: dependencies may have it keep the
/// order of insertion.
fn sorted(mut value: serde_json::Value) -> serde_json::Value {
    value.sort_all_objects();
    value
}
