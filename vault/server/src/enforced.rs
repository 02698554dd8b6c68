//! The policy in force, prepared once for each generation.

use crate::problem::{Answer, Refused};
use std::sync::{Arc, PoisonError, RwLock};
use strongroom_policy::{Bundle, Policy};
use strongroom_store::Store;

/// The policy in force, with the generation that the commit compares.
#[derive(Clone)]
pub struct Enforced {
    /// `None` before the first one is enforced: then nothing is released.
    pub policy: Option<Arc<Policy>>,
    /// Grows each time another policy is enforced.
    pub generation: i64,
}

/// Keeps the prepared policy of the last generation that was seen. The generation itself is read
/// each time, and again in the commit: correctness does not rest on this cache.
#[derive(Default)]
pub struct EnforcedPolicyCache(RwLock<Option<Enforced>>);

impl EnforcedPolicyCache {
    /// The policy in force.
    pub async fn current(&self, store: &dyn Store) -> Answer<Enforced> {
        self.of(store, store.policy_generation().await?).await
    }

    /// The policy in force, where `generation` has just been read with something else. The one that is
    /// read for an unknown generation may be of a later one, and says so.
    pub async fn of(&self, store: &dyn Store, generation: i64) -> Answer<Enforced> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.generation == generation) {
            return Ok(kept);
        }
        let row = store.enforced_policy().await?;
        let policy = match row.policy {
            None => None,
            Some(policy) => {
                let bundle = Bundle::from_files(policy.files)
                    .map_err(|e| Refused::internal(format!("the enforced policy does not load: {e}")))?;
                if bundle.digest() != policy.digest.0 {
                    return Err(Refused::internal("the enforced policy's files are not those of its digest"));
                }
                Some(Arc::new(Policy::prepare(bundle)))
            }
        };
        let enforced = Enforced { policy, generation: row.generation };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(enforced.clone());
        Ok(enforced)
    }
}
