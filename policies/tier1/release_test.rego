# Written by a test from `baseline/release_test.rego`, `tiers/tier1_test.rego`: change those, not this file.
# Each part stands whole, between lines of `=`: who has read one needs to read only the others.

# ==================================================================================================
# baseline/release_test.rego
# ==================================================================================================

# Each rule: one input that it accepts, and one that it alone refuses. The good input is accepted
# by `test_the_good_input_is_released`; every other test changes one thing in it.
package strongroom.release_test

import data.strongroom.release

# `pcr` is a digest of 32 bytes, all of them the same.
pcr(byte) := concat("", [byte | some _ in array.concat(sixteen, sixteen)])

sixteen := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]

# Settings that the tests below are written for, whatever `data.json` says: it is there to be edited.
selection := {"bank": "sha256", "pcrs": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]}

quoted_pcrs := {sprintf("%d", [index]): pcr("a1") | some index in selection.pcrs}

good_key := {
	"asset": "minilm",
	"version": 1,
	"access": "read",
	"scope": "object",
	"objects": 1,
	"labels": {},
	"jurisdictions": ["DE", "FR"],
	"reference_sets": ["other-boot", "fra-boot"],
	"integrity": "plain",
	"max_leases": null,
	"key_state": "active",
}

# What a boot log shows that explains the quoted values, with Secure Boot on. The rules of this bundle ask that it is
# there; those that you add may ask for what is in it.
good_boot := {
	"secure_boot": {
		"enabled": true,
		"setup_mode": false,
		"pk": good_database,
		"kek": good_database,
		"db": good_database,
		"dbx": good_database,
		"authorities": [{"variable": "db", "sha256": pcr("d1")}],
		"dma_protection_disabled": false,
	},
	"boot_path": {"images": [pcr("e1")], "configuration": [], "exit_boot_services": true},
	"loader": {"texts": [], "overrides": [], "unread": 0, "files": [], "uki": null},
	"startup_locality": 3,
	"explained": selection.pcrs,
	"phases": [],
	"tolerances": [],
}

good_database := {"sha256": pcr("c1"), "certificates": [pcr("d1")], "others": 0}

good := {
	"version": 1,
	"time": "2026-01-01T00:00:00Z",
	"act": "release",
	"job": {"id": "run-17"},
	"node": {
		"id": "AAAA",
		"state": "approved",
		"site": "fra-1",
		"jurisdiction": "DE",
		"labels": {},
		"single_job": true,
		"tpm": "IBM swtpm 0.8",
	},
	"caller": null,
	"claims": {
		"tpm": {
			"bank": "sha256",
			"pcrs": quoted_pcrs,
			"reset_count": 4,
			"restart_count": 0,
			"safe": true,
			"firmware_version": 1,
		},
		"boot": good_boot,
		"ima": null,
		"workload": {"caller_measured": null, "verity_root": null, "containers": []},
	},
	"keys": [good_key],
	"references": {
		"fra-boot": {"version": 3, "bank": "sha256", "pcrs": {"4": pcr("a1"), "9": pcr("a1")}, "files": false},
		"other-boot": {"version": 1, "bank": "sha256", "pcrs": {"4": pcr("ff")}, "files": false},
	},
	"leases": {"node_live": 0, "asset_live": {}},
	"four_eyes_waived": false,
}

# The good input with some of its fields replaced.
changed(changes) := object.union(good, changes)

changed_key(changes) := object.union(good, {"keys": [object.union(good_key, changes)]})

# The rules as these tests ask them.
denials_of(request) := result if {
	result := release.deny with input as request with data.callers as {} with data.settings.pcr_selection as selection with data.settings.version_scope_assets as []
}

allowed(request) if {
	release.allow with input as request with data.callers as {} with data.settings.pcr_selection as selection with data.settings.version_scope_assets as []
}

codes(request) := {denial.code | some denial in denials_of(request)}

released(request) if {
	allowed(request)
	count(codes(request)) == 0
}

# This code and no other, and no release.
refused_only_by(request, code) if {
	codes(request) == {code}
	not allowed(request)
}

test_the_good_input_is_released if released(good)

test_nothing_is_released_without_input if not release.allow with input as {}

# --- What is asked

test_a_renewal_is_allowed if released(changed({"act": "renew"}))

test_another_act_is_refused if refused_only_by(changed({"act": "identify"}), "act_not_allowed")

test_a_request_for_no_key_is_refused if refused_only_by(changed({"keys": []}), "nothing_asked")

# --- The node

test_a_pending_node_is_refused if {
	refused_only_by(changed({"node": {"state": "pending"}}), "node_not_approved")
}

test_a_revoked_node_is_refused if {
	refused_only_by(changed({"node": {"state": "revoked"}}), "node_not_approved")
}

test_a_caller_is_identified_or_the_node_runs_one_job if {
	refused_only_by(changed({"node": {"single_job": false}}), "caller_not_identified")
	released(changed({"node": {"single_job": false}, "caller": good_caller}))
	released(changed({"caller": good_caller}))
}

test_a_caller_that_says_nothing_is_none if {
	refused_only_by(changed({"node": {"single_job": false}, "caller": true}), "caller_not_identified")
}

good_caller := {
	"v": 1,
	"boot_id": "fc6913e2-4563-4d45-9c7a-8d881c501d95",
	"cgroup": "/system.slice/slurmstepd.scope/job_77/step_0/user/task_0",
	"exe": {"path": "/usr/bin/python3.11", "sha256": pcr("b2")},
	"gid": 1000,
	"pid": 4242,
	"slurm_job": {"id": 77, "step": "0"},
	"started": 123456,
	"uid": 1000,
	"unit": "slurmstepd.scope",
}

by_agent := changed({"node": {"single_job": false}, "caller": good_caller})

released_where(callers, request) if {
	release.allow with input as request with data.callers as callers with data.settings.pcr_selection as selection
}

listed_refused_only_by(callers, request, code) if {
	denials := release.deny with input as request with data.callers as callers with data.settings.pcr_selection as selection
	{denial.code | some denial in denials} == {code}
	not release.allow with input as request with data.callers as callers with data.settings.pcr_selection as selection
}

test_a_listed_asset_is_released_to_listed_callers_only if {
	released_where({"minilm": {"exe_sha256": [pcr("c3"), pcr("b2")]}}, by_agent)
	listed_refused_only_by({"minilm": {"exe_sha256": [pcr("c3")]}}, by_agent, "caller_not_allowed")
	released_where({"minilm": {"uids": [1000]}}, by_agent)
	listed_refused_only_by({"minilm": {"uids": [1001]}}, by_agent, "caller_not_allowed")
	released_where({"minilm": {"slurm_jobs": [77]}}, by_agent)
	listed_refused_only_by({"minilm": {"slurm_jobs": [78]}}, by_agent, "caller_not_allowed")
	released_where({"minilm": {"units": ["slurmstepd.scope"]}}, by_agent)
	listed_refused_only_by({"minilm": {"units": ["a.service"]}}, by_agent, "caller_not_allowed")
}

test_pods_may_be_listed if {
	in_pod := object.union(by_agent, {"caller": {"pod": {"uid": "u1", "container": "c1"}}})
	released_where({"minilm": {"pods": ["u1"]}}, in_pod)
	listed_refused_only_by({"minilm": {"pods": ["u2"]}}, in_pod, "caller_not_allowed")
	listed_refused_only_by({"minilm": {"pods": ["u1"]}}, by_agent, "caller_not_allowed")
}

test_every_list_has_to_hold_the_caller if {
	listed_refused_only_by({"minilm": {"uids": [1000], "slurm_jobs": [78]}}, by_agent, "caller_not_allowed")
	listed_refused_only_by({"minilm": {"uids": []}}, by_agent, "caller_not_allowed")
	released_where({"minilm": {}}, by_agent)
}

test_a_list_of_a_kind_that_is_not_known_refuses if {
	listed_refused_only_by({"minilm": {"exe_sha265": [pcr("b2")]}}, by_agent, "caller_not_allowed")
}

test_a_program_without_a_digest_is_on_no_list if {
	without := object.union(by_agent, {"caller": {"exe": {"path": "/fuse/x", "sha256": null}}})
	listed_refused_only_by({"minilm": {"exe_sha256": [pcr("b2")]}}, without, "caller_not_allowed")
	released_where({"other": {"exe_sha256": [pcr("b2")]}}, without)
}

test_on_a_node_that_runs_one_job_a_caller_is_no_proof if {
	listed_refused_only_by({"minilm": {"uids": [1000]}}, changed({"caller": good_caller}), "caller_not_allowed")
	listed_refused_only_by({"minilm": {}}, good, "caller_not_allowed")
}

test_a_policy_without_the_table_releases_nothing if {
	not release.allow with input as good with data.callers as null
}

# What the kernel measured of the caller counts where PCR 10 is quoted.
ima_selection := {"bank": "sha256", "pcrs": [0, 4, 10]}

ima_pcrs := {sprintf("%d", [index]): pcr("a1") | some index in ima_selection.pcrs}

with_ima(request) := object.union(object.remove(request, ["claims"]), {"claims": object.union(
	object.remove(request.claims, ["tpm"]),
	{"tpm": object.union(object.remove(request.claims.tpm, ["pcrs"]), {"pcrs": ima_pcrs})},
)})

ima_denials(request) := result if {
	result := release.deny with input as request with data.callers as {} with data.settings.pcr_selection as ima_selection
}

ima_released(request) if {
	count(ima_denials(request)) == 0
	release.allow with input as request with data.callers as {} with data.settings.pcr_selection as ima_selection
}

ima_refused_only_by(request, code) if {
	{denial.code | some denial in ima_denials(request)} == {code}
	not release.allow with input as request with data.callers as {} with data.settings.pcr_selection as ima_selection
}

by_caller(measured) := with_ima(object.union(
	changed_key({"reference_sets": ["four"]}),
	{
		"node": {"single_job": false},
		"caller": good_caller,
		"claims": {"workload": {"caller_measured": measured}},
		"references": {"four": {"version": 1, "bank": "sha256", "pcrs": {"4": pcr("a1")}, "files": false}},
	},
))

test_a_caller_has_to_be_measured_where_ima_is_quoted if {
	ima_released(by_caller(true))
	ima_refused_only_by(by_caller(false), "caller_not_measured")
	ima_refused_only_by(by_caller(null), "caller_not_measured")
	ima_released(object.union(by_caller(null), {"caller": null, "node": {"single_job": true}}))
	# Where it is not quoted nothing is known of it.
	released(changed({"node": {"single_job": false}, "caller": good_caller}))
}

# --- The place

test_every_listed_jurisdiction_is_allowed if {
	released(changed({"node": {"jurisdiction": "FR"}}))
	refused_only_by(changed({"node": {"jurisdiction": "US"}}), "jurisdiction_not_allowed")
}

test_a_node_without_a_site_is_nowhere if {
	refused_only_by(changed({"node": {"site": null, "jurisdiction": null}}), "jurisdiction_not_allowed")
}

test_an_asset_without_jurisdictions_is_opened_nowhere if {
	refused_only_by(changed_key({"jurisdictions": []}), "jurisdiction_not_allowed")
}

test_every_asked_asset_counts if {
	here_only := object.union(good_key, {"asset": "corpus", "jurisdictions": ["US"]})
	refused_only_by(changed({"keys": [good_key, here_only]}), "jurisdiction_not_allowed")
}

# --- The TPM

test_an_unsafe_clock_is_refused if {
	refused_only_by(changed({"claims": {"tpm": {"safe": false}}}), "clock_not_safe")
}

test_a_request_without_a_quote_is_refused if {
	request := changed({"claims": {"tpm": null}})
	not release.allow with input as request
	codes(request) == {"clock_not_safe", "selection_not_exact", "reference_unusable"}
}

# Nor by what other evidence shows: this policy judges machines by their TPM.
test_a_confidential_machine_without_a_tpm_is_refused if {
	snp := {"claims": {"tpm": null, "snp": {"measurement": pcr("aa")}}, "node": {"tpm": ""}}
	request := changed(object.union(snp, {"references": {"fra-boot": {"snp": [pcr("aa")]}, "other-boot": {"snp": []}}}))
	not allowed(request)
	codes(request) == {"clock_not_safe", "selection_not_exact", "reference_unusable"}
	some denial in denials_of(request)
	denial.code == "clock_not_safe"
	contains(denial.message, "sent no quote")
}

test_a_set_of_launch_measurements_matches_no_tpm if {
	launches := {"version": 1, "bank": "sha256", "pcrs": {}, "snp": [pcr("a1")], "tdx": [pcr("a1")], "files": false}
	request := object.union(changed_key({"reference_sets": ["launches"]}), {"references": {"launches": launches}})
	refused_only_by(request, "reference_unusable")
}

test_one_pcr_too_many_is_refused if {
	more := {"claims": {"tpm": {"pcrs": {"23": pcr("a1")}}}}
	refused_only_by(changed(more), "selection_not_exact")
}

test_one_pcr_too_few_is_refused if {
	fewer := object.remove(quoted_pcrs, ["14"])
	tpm := object.union(object.remove(good.claims.tpm, ["pcrs"]), {"pcrs": fewer})
	claims := object.union(object.remove(good.claims, ["tpm"]), {"tpm": tpm})
	request := object.union(object.remove(good, ["claims"]), {"claims": claims})
	refused_only_by(request, "selection_not_exact")
}

test_another_selection_is_the_policys_to_make if {
	four := {"bank": "sha256", "pcrs": [4]}
	not release.allow with input as good with data.callers as {} with data.settings.pcr_selection as four
}

# --- The measurements

test_a_changed_pcr_is_refused_and_named if {
	request := changed({"references": {"fra-boot": {"pcrs": {"9": pcr("b2")}}}})
	refused_only_by(request, "reference_mismatch")
	denials := denials_of(request)
	named := {denial.claim: [denial.expected, denial.got] | some denial in denials}
	named == {"tpm.pcrs.9": [pcr("b2"), pcr("a1")], "tpm.pcrs.4": [pcr("ff"), pcr("a1")]}
}

test_one_matching_set_is_enough if {
	released(changed_key({"reference_sets": ["fra-boot"]}))
	refused_only_by(changed_key({"reference_sets": ["other-boot"]}), "reference_mismatch")
}

test_a_set_that_is_not_recorded_matches_nothing if {
	refused_only_by(changed_key({"reference_sets": ["no-such-set"]}), "reference_unusable")
}

test_an_empty_set_matches_nothing if {
	empty := {"version": 1, "bank": "sha256", "pcrs": {}, "files": false}
	key := {"keys": [object.union(good_key, {"reference_sets": ["empty"]})]}
	request := object.union(object.union(good, {"references": {"empty": empty}}), key)
	refused_only_by(request, "reference_unusable")
}

test_a_set_of_another_bank_matches_nothing if {
	request := object.union(
		changed_key({"reference_sets": ["fra-boot"]}),
		{"references": {"fra-boot": {"bank": "sha384"}}},
	)
	refused_only_by(request, "reference_unusable")
}

test_an_asset_without_sets_matches_nothing if {
	refused_only_by(changed_key({"reference_sets": []}), "reference_missing")
}

# --- The files

kept := {"forbidden": 0, "unlisted": 0, "missing": [], "examples": []}

program(path, forbidden) := {"digest": "sha256:00", "path": path, "forbidden": forbidden}

# A node whose boot matches a set that lists files, and that measured what `listed` says.
measuring(listed) := object.union(
	changed_key({"reference_sets": ["fra-boot"]}),
	{"claims": {"ima": ima_of({"fra-boot": listed})}, "references": {"fra-boot": {"files": true}}},
)

ima_of(listed) := {"entries": 9, "violations": 0, "boot_aggregate_checked": true, "files": 8, "listed": listed}

test_lists_that_are_kept_release if released(measuring(kept))

test_a_forbidden_file_is_refused_and_named if {
	seen := [program("/usr/bin/nc", true), program("/usr/bin/vi", false)]
	request := measuring(object.union(kept, {"forbidden": 1, "examples": seen}))
	refused_only_by(request, "file_forbidden")
	some denial in denials_of(request)
	denial.got == ["sha256:00 /usr/bin/nc"]
	denial.claim == "ima.listed.fra-boot.forbidden"
}

test_a_file_that_is_not_listed_is_refused_and_named if {
	seen := [program("/usr/bin/nc", true), program("/usr/bin/vi", false)]
	request := measuring(object.union(kept, {"unlisted": 2, "examples": seen}))
	refused_only_by(request, "file_not_listed")
	some denial in denials_of(request)
	denial.got == ["sha256:00 /usr/bin/vi"]
}

test_a_required_file_that_is_missing_is_refused_and_named if {
	request := measuring(object.union(kept, {"missing": ["sha256:11"]}))
	refused_only_by(request, "file_missing")
	some denial in denials_of(request)
	denial.expected == ["sha256:11"]
}

test_lists_are_not_kept_by_a_node_that_shows_no_files if {
	unseen := object.union(changed_key({"reference_sets": ["fra-boot"]}), {"references": {"fra-boot": {"files": true}}})
	refused_only_by(object.union(unseen, {"claims": {"ima": ima_of({})}}), "files_not_shown")
	refused_only_by(unseen, "files_not_shown")
}

test_lists_of_a_set_whose_boot_does_not_match_are_nobodys if {
	other := {"claims": {"ima": ima_of({"other-boot": object.union(kept, {"forbidden": 1})})}}
	released(object.union(good, object.union(other, {"references": {"other-boot": {"files": true}}})))
}

test_one_set_with_its_lists_kept_is_enough if {
	both := {"claims": {"ima": ima_of({"fra-boot": object.union(kept, {"unlisted": 1}), "other-boot": kept})}}
	sets := {"references": {"fra-boot": {"files": true}, "other-boot": {"files": true, "pcrs": {"4": pcr("a1")}}}}
	released(object.union(good, object.union(both, sets)))
	refused_only_by(object.union(good, object.union(both, {"references": {"fra-boot": {"files": true}}})), "file_not_listed")
}

# --- The key

test_a_decrypt_only_version_is_for_reading if {
	released(changed_key({"key_state": "decrypt-only"}))
	write := {"access": "write", "scope": "writer", "objects": 0}
	released(changed_key(write))
	refused_only_by(changed_key(object.union(write, {"key_state": "decrypt-only"})), "key_state")
}

test_a_destroyed_version_is_for_nothing if refused_only_by(changed_key({"key_state": "destroyed"}), "key_state")

test_a_whole_version_needs_a_label_or_a_setting if {
	whole := {"scope": "version", "objects": 0}
	refused_only_by(changed_key(whole), "scope_not_allowed")
	refused_only_by(changed_key(object.union(whole, {"labels": {"version_scope": "forbidden"}})), "scope_not_allowed")
	released(changed_key(object.union(whole, {"labels": {"version_scope": "allowed"}})))
	request := changed_key(whole)
	release.allow with input as request with data.callers as {} with data.settings.pcr_selection as selection with data.settings.version_scope_assets as ["minilm"]
}

test_the_number_of_objects_is_bounded if {
	most := data.settings.max_objects_per_key
	released(changed_key({"objects": most}))
	refused_only_by(changed_key({"objects": most + 1}), "too_many_objects")
}

# --- Quotas

test_a_node_has_a_quota if {
	most := data.settings.max_leases_per_node
	released(changed({"leases": {"node_live": most - 1}}))
	refused_only_by(changed({"leases": {"node_live": most}}), "node_quota")
}

test_an_asset_has_the_settings_quota if {
	most := data.settings.max_leases_per_asset
	released(changed({"leases": {"asset_live": {"minilm": most - 1}}}))
	refused_only_by(changed({"leases": {"asset_live": {"minilm": most}}}), "asset_quota")
}

test_an_assets_own_quota_goes_before if {
	live := {"leases": {"asset_live": {"minilm": 2}}}
	released(object.union(changed_key({"max_leases": 3}), live))
	refused_only_by(object.union(changed_key({"max_leases": 2}), live), "asset_quota")
	refused_only_by(changed_key({"max_leases": 0}), "asset_quota")
}

# --- Obligations

test_obligations_are_the_settings if {
	given := release.obligations with input as good
	given.lease_seconds == data.settings.lease_seconds
	given.renew_after == data.settings.renew_after
	given.reattest_after == data.settings.reattest_after
	given.handling == data.settings.handling
}

disk(request, permitted) := answer if {
	given := release.obligations with input as request with data.settings.plaintext_to_disk as permitted
	answer := given.plaintext_to_disk
}

test_plaintext_on_disk_needs_settings_and_assets if {
	disk(good, true) == true
	disk(good, false) == false
	disk(changed_key({"labels": {"plaintext_to_disk": "forbidden"}}), true) == false
}

# ==================================================================================================
# tiers/tier1_test.rego
# ==================================================================================================

# What tier 1 asks beyond the baseline; the good input is the baseline's.
boot(changes) := object.union(good, {"claims": {"boot": changes}})

secure_boot(changes) := boot({"secure_boot": changes})

test_a_measured_boot_is_released if released(good)

test_a_pcr_that_no_log_explains_is_refused if {
	every missing in [0, 2, 4, 5, 7] {
		rest := [index | some index in selection.pcrs; index != missing]
		refused_only_by(boot({"explained": rest}), "boot_not_explained")
	}
	released(boot({"explained": [0, 2, 4, 5, 7]}))
}

test_secure_boot_that_is_off_is_refused if refused_only_by(secure_boot({"enabled": false}), "secure_boot_off")

test_a_machine_in_setup_mode_is_refused if refused_only_by(secure_boot({"setup_mode": true}), "secure_boot_off")

test_devices_that_could_write_to_memory_are_refused if {
	refused_only_by(secure_boot({"dma_protection_disabled": true}), "dma_protection_off")
}

test_firmware_that_is_not_left_in_order_is_refused if {
	every tolerance in ["exit_boot_services_missing", "exit_boot_services_failure_missing", "exit_boot_services_retry_missing"] {
		refused_only_by(boot({"tolerances": ["log_padding", tolerance]}), "firmware_tolerated")
	}
	refused_only_by(boot({"boot_path": {"exit_boot_services": false}}), "firmware_tolerated")
	released(boot({"tolerances": ["log_padding"]}))
}

test_pcr_7_that_was_not_quoted_proves_nothing if {
	request := boot({"secure_boot": null})
	codes(request) == {"secure_boot_off", "dma_protection_off"}
	not allowed(request)
}

test_a_machine_without_a_boot_log_is_refused if {
	request := object.union(good, {"claims": {"boot": null}})
	codes(request) == {"boot_not_explained", "secure_boot_off", "dma_protection_off", "firmware_tolerated"}
	not allowed(request)
}

# A confidential machine is judged by tier 2: here it has no TPM that speaks for it.
test_a_machine_without_a_tpm_is_refused if {
	request := object.union(good, {"claims": {"tpm": null, "snp": {"measurement": pcr("aa")}}})
	not allowed(request)
	{"clock_not_safe", "selection_not_exact", "reference_unusable"} - codes(request) == set()
}
