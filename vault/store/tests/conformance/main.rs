//! What every backend of the store must do, and what each must do besides.
//!
//! The functions in the modules take a [`World`], which is a fresh store with a sequencer on it; a
//! backend brings a function that makes one, and its list of tests is `every_backend!`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how these speak"
)]

mod audit;
mod changes;
mod closing;
mod endorsements;
mod enrolments;
mod grounds;
mod guards;
mod ledger;
mod nodes;
mod nonces;
mod postgres;
mod quotas;
mod reads;
mod rows;
mod sqlite;
mod together;
mod world;

use world::World;

/// One test for each function of the suite, over the worlds that `$make` makes.
macro_rules! every_backend {
    ($make:path) => {
        every_backend!($make:
            guards::each_guard_accepts_the_version_that_is_there_and_refuses_another,
            guards::a_guard_sees_the_items_before_it,
            guards::a_token_created_meanwhile_is_seen,
            guards::a_row_that_is_not_there_has_version_zero,
            guards::of_many_guards_the_last_one_counts_too,
            changes::a_site_is_created_once,
            changes::a_node_is_put_with_its_own_ak_and_a_known_site,
            nodes::a_node_may_have_no_tpm,
            nodes::an_identity_belongs_to_one_node,
            nodes::a_record_lists_what_names_its_node,
            changes::an_asset_is_created_once,
            changes::an_asset_is_changed_where_it_is,
            changes::key_versions_follow_one_another_and_stay_destroyed,
            changes::reference_versions_follow_one_another,
            changes::one_policy_is_enforced_at_a_time,
            changes::a_token_is_created_and_revoked_once,
            changes::a_token_is_replaced_once_and_never_lives_longer,
            changes::a_lease_is_granted_once_for_a_statement,
            changes::only_a_live_lease_is_renewed_delivered_or_closed,
            changes::the_leases_of_a_node_close_together,
            changes::the_leases_of_a_key_close_together,
            closing::the_leases_of_an_asset_a_site_or_all_close_together,
            closing::a_closed_lease_has_no_secret,
            closing::what_a_revoked_lease_held_whole_opens_only,
            closing::the_record_says_what_was_closed,
            changes::an_enrolment_is_activated_once,
            changes::a_refused_item_leaves_nothing,
            quotas::leases_of_a_node_are_counted_with_the_items_before,
            quotas::leases_of_an_asset_are_counted_once_each,
            quotas::closed_and_lapsed_leases_do_not_count,
            quotas::denials_are_counted_with_the_items_before,
            nonces::a_nonce_is_burnt_once,
            nonces::a_duplicate_fails_alone,
            nonces::an_expired_nonce_is_refused,
            nonces::a_refused_item_burns_nothing,
            ledger::a_receipt_proves_the_record,
            ledger::records_get_time_replica_and_their_predecessor,
            ledger::tiles_and_bundles_are_those_of_the_tree,
            ledger::a_record_that_the_ledger_refuses_fails_alone,
            ledger::a_batch_without_an_entry_changes_nothing,
            ledger::a_batch_has_its_bounds,
            ledger::blobs_are_kept_by_content,
            ledger::the_tail_is_what_was_written,
            ledger::a_caller_that_goes_away_does_not_stop_a_commit,
            reads::a_vault_is_initialised_once,
            reads::the_clock_is_in_seconds,
            reads::enrolments_are_kept_until_they_expire,
            enrolments::a_source_has_few_enrolments_of_an_ek_waiting,
            reads::lists_have_their_order,
            reads::leases_are_listed_by_what_they_are_now,
            reads::a_list_of_leases_goes_on_where_it_ended,
            reads::the_use_of_a_token_is_noted,
            reads::the_approved_reference_is_in_force,
            changes::what_a_node_measured_is_kept_of_its_last_boot,
            changes::what_came_before_an_approved_reference_is_superseded,
            endorsements::endorsements_are_kept_replaced_and_removed,
            endorsements::an_endorsement_has_its_bounds,
            endorsements::a_proposed_removal_is_forgotten_with_what_replaces,
            endorsements::a_pin_takes_two_changes,
            endorsements::each_change_of_an_endorsement_or_pin_is_seen,
            reads::leases_are_found_by_node_and_by_key,
            grounds::who_asks_is_read_together,
            grounds::what_a_release_is_decided_from_is_read_together,
            audit::each_filter_selects,
            audit::filters_are_taken_together,
            audit::pages_follow_one_another,
            audit::times_bound_a_query,
            together::tasks_commit_side_by_side,
            together::two_sequencers_share_a_log,
            together::any_batches_keep_the_tree,
        );
    };
    ($make:path: $($module:ident :: $test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test($make().await).await;
            }
        )*
    };
}

mod on_sqlite {
    async fn world() -> crate::World {
        crate::sqlite::world().await
    }
    every_backend!(world);
}

mod on_postgres {
    async fn world() -> crate::World {
        crate::postgres::world().await
    }
    every_backend!(world);
}

/// PostgreSQL behind pgbouncer, which lends its connections for a transaction at a time.
mod on_pgbouncer {
    async fn world() -> crate::World {
        crate::postgres::pooled_world().await
    }
    every_backend!(world);
}
