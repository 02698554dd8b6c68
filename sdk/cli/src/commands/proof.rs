//! `strongroom audit check-proof`, and the file that it reads.

use super::verify::ledger_keys;
use crate::{
    context::{Context, read_json},
    output::{Answer, Exit, Failure},
    plain,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use strongroom::protocol::{Bytes, audit::ProofView};
use strongroom_ledger::{VerifierKey, check_release_record};

/// All that shows one record to be in the ledger, to somebody who has the ledger's key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofFile {
    /// 1.
    v: u8,
    /// The record's exact bytes.
    record: Bytes,
    /// Its salt, 16 bytes.
    salt: Bytes,
    /// The C2SP tlog-proof: index, inclusion proof, signed checkpoint.
    receipt: String,
}

/// The file of a proof that was checked.
pub(super) fn proof_file(proof: &ProofView) -> Result<Vec<u8>, Failure> {
    let (Some(record), Some(salt)) = (proof.entry.record.clone(), proof.entry.salt.clone()) else {
        return Err(Failure::refused("the answer proves an entry without a body"));
    };
    let file = ProofFile { v: 1, record, salt, receipt: proof.receipt.clone() };
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(|e| Failure::new(Exit::Machine, e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Arguments of `audit check-proof`.
#[derive(clap::Args)]
pub(crate) struct CheckProof {
    /// The proof
    file: PathBuf,
    /// Your own copy of the ledger's verifier key; without it, the one of the join file
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
}

impl CheckProof {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let keys = ledger_keys(context, self.key)?;
        let file: ProofFile = read_json(&self.file)?;
        if file.v != 1 {
            return Err(Failure::usage(format!("{}: version {} is not known", self.file.display(), file.v)));
        }
        let refused = |why: &str| Failure::refused(format!("{} does not verify: {why}", self.file.display()));
        let salt: [u8; 16] = file.salt.0.as_slice().try_into().map_err(|_| refused("a salt has 16 bytes"))?;
        let checked =
            check_release_record(&file.record.0, &salt, &file.receipt, &keys).map_err(|e| refused(&e.to_string()))?;
        let record: Value = serde_json::from_slice(&file.record.0).map_err(|e| refused(&e.to_string()))?;
        let (id, receipt) = (checked.record.id, checked.receipt);
        let text = format!(
            "{} verifies: record {id} is entry {} of a ledger of {} entries, under a checkpoint signed by {}\n{}\n",
            self.file.display(),
            receipt.index,
            receipt.checkpoint.size,
            keys.first().map_or("", VerifierKey::name),
            plain::lines(&format!("{record:#}")),
        );
        let size = receipt.checkpoint.size;
        Answer::new(
            &json!({ "verified": true, "id": id, "index": receipt.index, "size": size, "record": record }),
            text,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_shape_is_refused() {
        let good = r#"{"v":1,"record":"AA","salt":"AA","receipt":"x"}"#;
        assert!(serde_json::from_str::<ProofFile>(good).is_ok());
        for (from, to) in [("\"v\":1,", ""), ("\"salt\":\"AA\",", ""), ("{\"v\"", "{\"more\":1,\"v\"")] {
            assert!(serde_json::from_str::<ProofFile>(&good.replace(from, to)).is_err(), "{to}");
        }
    }
}
