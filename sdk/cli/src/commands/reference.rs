//! `strongroom reference`: accepted measurements, taken from where they can be had, proposed by one person, put in
//! force by another.

pub(super) mod difference;
mod launch;
mod side;
mod values;

use super::{recorded, segment};
use crate::{
    context::{Context, read_capped},
    output::{Answer, Failure, table},
    private_file::PrivateFile,
};
use clap::Subcommand;
use std::{io::Write as _, path::PathBuf};
use strongroom::protocol::{
    NodeId,
    admin::{RecordReference, Recorded, ReferenceState, ReferenceValues, ReferenceView},
    evidence::PcrBank,
    limits,
};
use values::Choice;

/// What a set of a node that has only enrolled lacks.
const NO_EVENTS: &str = "the node has sent no boot log yet, so these values come without events, and no difference from \
                         them can be explained: let it ask for a key once, which may be denied, and take them then";

/// Largest unified kernel image that is read, bytes.
const IMAGE: u64 = 1 << 30;

/// Reference values.
#[derive(Subcommand)]
pub(crate) enum Reference {
    /// Take what a node showed when it attested last
    #[command(after_help = "Example:\n  strongroom reference from-node NODE_ID --record gpu-nodes")]
    FromNode {
        /// The node
        #[arg(value_name = "NODE_ID", allow_hyphen_values = true)]
        node: NodeId,
        #[command(flatten)]
        choice: Choice,
    },
    /// Take what a boot log leads to, and what an IMA log measured
    #[command(
        after_help = "Example:\n  strongroom reference from-eventlog binary_bios_measurements --pcrs 0-7,9 > gpu-nodes.json"
    )]
    FromEventlog {
        /// The boot log, as the kernel shows it in `binary_bios_measurements`
        #[arg(value_name = "FILE")]
        log: PathBuf,
        /// An IMA log of the same machine: the files in it become the accepted ones
        #[arg(long, value_name = "FILE")]
        ima: Option<PathBuf>,
        /// The bank
        #[arg(long, value_name = "BANK", default_value = "sha256", value_parser = values::bank)]
        bank: PcrBank,
        #[command(flatten)]
        choice: Choice,
    },
    /// Predict PCR 11 of a unified kernel image
    #[command(after_help = "Example:\n  strongroom reference from-uki linux.efi --phase ready > image.json")]
    FromUki {
        /// The image, as firmware or the boot loader starts it
        #[arg(value_name = "FILE")]
        image: PathBuf,
        /// How far the system has come up when it attests: `none`, or the last phase that it went through
        #[arg(long, value_name = "PHASE", default_value = "ready", value_parser = values::phases)]
        phase: values::Phases,
        /// The bank
        #[arg(long, value_name = "BANK", default_value = "sha256", value_parser = values::bank)]
        bank: PcrBank,
        #[command(flatten)]
        choice: Choice,
    },
    /// Predict the launch measurement of SEV-SNP guests, one for each number of CPUs
    #[command(
        after_help = "Example:\n  strongroom reference from-snp-image --ovmf OVMF.fd --vcpus 4 --vcpu-type EPYC-v4 > image.json"
    )]
    FromSnpImage {
        #[command(flatten)]
        launch: launch::Launch,
        /// Propose them as a new version of this set; without it they are printed
        #[arg(long, value_name = "NAME", conflicts_with = "output")]
        record: Option<String>,
        /// Write them to this file too, which must not be there
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take values of a file: what `from-…` printed, or {"bank": "sha256", "pcrs": {"0": "…"}}
    #[command(after_help = "Example:\n  strongroom reference import gpu-nodes.json --record gpu-nodes")]
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        choice: Choice,
    },
    /// Put a version in force that somebody else proposed
    #[command(after_help = "Example:\n  strongroom reference approve gpu-nodes 2")]
    Approve {
        /// The set's name
        name: String,
        /// The version
        version: u32,
    },
    /// All versions of all sets
    #[command(after_help = "Example:\n  strongroom reference list")]
    List,
    /// Say where two sets, nodes or boots differ; ends with 1 if they do
    #[command(after_help = "Example:\n  strongroom reference diff gpu-nodes node:NODE_ID")]
    Diff {
        /// NAME (the version in force) or NAME@VERSION of a set, `node:NODE_ID`, or a file by a path with `/` or `.` in
        /// it, or as `file:PATH`: values in JSON, or a boot log, which is asked for the PCRs that the other side has
        first: String,
        /// The same
        second: String,
    },
}

impl Reference {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::FromNode { node, choice } => {
                let values: ReferenceValues = context.admin()?.get(&format!("/v1/nodes/{node}/measurements"))?;
                let silent = values.events.is_empty().then(|| NO_EVENTS.to_owned());
                let answer = match &choice.record {
                    // The vault takes them from the node itself, and notes that it did.
                    Some(name) if choice.is_everything() => {
                        let body = RecordReference { name: name.clone(), from_node: Some(node), values: None };
                        propose(context, &body)
                    }
                    _ => finish(context, values, &choice),
                };
                Ok(answer?.warn(silent))
            }
            Self::FromEventlog { log, ima, bank, choice } => {
                let bytes = read_capped(&log, limits::BOOT_LOG as u64)?;
                let mut values = values::of_boot_log(&log, &bytes, bank)?;
                choice.by_default(&mut values);
                if let Some(path) = ima {
                    let bytes = read_capped(&path, limits::IMA_LOG as u64)?;
                    values.files.accepted = Some(values::of_ima_log(&path, &bytes)?);
                }
                finish(context, values, &choice)
            }
            Self::FromUki { image, phase, bank, choice } => {
                let bytes = read_capped(&image, IMAGE)?;
                finish(context, values::of_image(&image, &bytes, bank, &phase)?, &choice)
            }
            Self::FromSnpImage { launch, record, output } => {
                let file = output.as_deref().map(|path| PrivateFile::create(path, false, ".set.")).transpose()?;
                let answer = finish(context, launch.values()?, &Choice::whole(record))?;
                if let (Some(mut file), Some(path)) = (file, &output) {
                    file.write_all(answer.text.as_bytes()).map_err(|source| Failure::file(path, source))?;
                    file.commit()?;
                }
                Ok(answer)
            }
            Self::Import { file, choice } => {
                let (values, warning) = values::of_file(&file)?;
                Ok(finish(context, values, &choice)?.warn(warning))
            }
            Self::Approve { name, version } => {
                let path = format!("/v1/references/{}/{version}/approve", segment(&name)?);
                let answer: Recorded = context.admin()?.post(&path, &serde_json::Map::new())?;
                recorded(&format!("reference set {name}, version {version}, is in force"), &answer)
            }
            Self::List => list(context),
            Self::Diff { first, second } => difference::answer(context, &first, &second),
        }
    }
}

/// Prints the values, or proposes them under a name.
fn finish(context: &Context, values: ReferenceValues, choice: &Choice) -> Result<Answer, Failure> {
    let values = choice.of(values)?;
    launch::check(&values)?;
    if let Some(name) = &choice.record {
        return propose(context, &RecordReference { name: name.clone(), from_node: None, values: Some(values) });
    }
    let text = serde_json::to_string_pretty(&values).unwrap_or_default();
    Answer::new(&values, text)
}

fn propose(context: &Context, body: &RecordReference) -> Result<Answer, Failure> {
    let admin = context.admin()?;
    let answer: Recorded = admin.post("/v1/references", body)?;
    let (name, version) = (&body.name, answer.version.unwrap_or_default());
    let who = if admin.info().four_eyes_waived { "four eyes are waived here" } else { "somebody else has to" };
    recorded(
        &format!(
            "reference set {name}, version {version}, proposed; it counts once it is approved ({who}):\n  \
             strongroom reference approve {name} {version}"
        ),
        &answer,
    )
}

fn list(context: &Context) -> Result<Answer, Failure> {
    let sets: Vec<ReferenceView> = context.admin()?.get("/v1/references")?;
    let rows: Vec<_> = sets
        .iter()
        .map(|set| {
            let pcrs: Vec<_> = set.values.pcrs.0.keys().map(ToString::to_string).collect();
            let state = match set.state {
                ReferenceState::Proposed => "proposed",
                ReferenceState::InForce => "in force",
                ReferenceState::Superseded => "superseded",
            };
            [
                set.name.clone(),
                set.version.to_string(),
                state.to_owned(),
                pcrs.join(","),
                launch::counted(&set.values),
                values::lists(&set.values.files),
                set.proposed_by.clone(),
                set.approved_by.clone().unwrap_or_default(),
                set.recorded_at.clone(),
                set.source.clone(),
            ]
        })
        .collect();
    let head = ["SET", "VERSION", "STATE", "PCRS", "LAUNCH", "FILES", "PROPOSED BY", "APPROVED BY", "RECORDED", "FROM"];
    Answer::new(&sets, table(head, &rows))
}
