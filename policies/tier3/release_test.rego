# Written by a test from `tiers/tier2_test.rego`, `tiers/tier3_test.rego`: change those, not this file.
# Each part stands whole, between lines of `=`: who has read one needs to read only the others.

# ==================================================================================================
# tiers/tier2_test.rego
# ==================================================================================================

# Each rule of tier 2: one input that it accepts, and one that it alone refuses. The good inputs are one guest of each
# kind; they have GPUs too, which tier 2 does not look at, so that these tests hold for tier 3 as well.
package strongroom.release_test

import data.strongroom.release

# A value of 48 bytes, all of them the same, and one of 32.
value48(byte) := concat("", [value32(byte), half(byte)])

value32(byte) := concat("", [half(byte), half(byte)])

half(byte) := concat("", [byte | some _ in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]])

selection := {"bank": "sha256", "pcrs": [0, 4, 7, 9]}

quoted_pcrs := {sprintf("%d", [index]): value32("a1") | some index in selection.pcrs}

# Settings that the tests below are written for, whatever `data.json` says: it is there to be edited.
all_parts := {"boot_loader": 3, "tee": 1, "snp": 20, "microcode": 70}

snp_asked := {
	"vmpl": 0,
	"refused_products": ["milan"],
	"minimum_tcb": {
		"milan": {"reported": all_parts, "committed": all_parts, "launch": all_parts},
		"genoa": {"reported": all_parts, "committed": all_parts, "launch": all_parts},
		"turin": {"reported": {"fmc": 1, "snp": 4}, "committed": {"snp": 4}, "launch": {"snp": 4}},
	},
}

tdx_asked := {"tcb_statuses": ["UpToDate"], "rtmrs": {
	"1": {"one_of": [value48("11")]},
	"2": {"one_of": [value48("22"), value48("23")]},
}}

gpu_asked := {"modes": ["single", "multi"], "not_devtools": "measurements"}

platform := {
	"milan": ["alias_check_complete"],
	"genoa": ["alias_check_complete", "smt_off"],
	"turin": ["alias_check_complete", "ciphertext_hiding"],
}

good_tcb := {"fmc": null, "boot_loader": 10, "tee": 1, "snp": 28, "microcode": 86}

snp_report := {
	"version": 5,
	"product": "genoa",
	"chip_id": concat("", [value32("c1"), value32("c1")]),
	"signing_key": "vcek",
	"csp_id": null,
	"vmpl": 0,
	"measurement": value48("ab"),
	"tcb": {"current": good_tcb, "committed": good_tcb, "reported": good_tcb, "launch": good_tcb},
	"policy": {"abi_major": 1, "abi_minor": 55, "smt_allowed": true, "single_socket": false},
	"platform": {
		"smt": false,
		"tsme": false,
		"ecc": true,
		"rapl_disabled": false,
		"ciphertext_hiding": false,
		"alias_check_complete": true,
		"tio": false,
	},
	"crl_made_at": 1767225600,
}

tdx_quote := {
	"tcb": {"status": "UpToDate", "advisories": []},
	"guest": {
		"mrtd": value48("cd"),
		"rtmr0": value48("00"),
		"rtmr1": value48("11"),
		"rtmr2": value48("22"),
		"rtmr3": value48("00"),
	},
}

envelope := {"snp": snp_report, "vm_id": null, "pcr_bank": "sha256", "pcrs": quoted_pcrs}

manifest := {"tag": "T", "compared": 12}

good_gpu(device) := {
	"device": device,
	"mode": "multi",
	"protected_pcie": false,
	"devtools_off": "measurements",
	"manifests": {"driver": manifest, "vbios": manifest},
	"revocation_checked": true,
}

asked_key := {
	"asset": "minilm",
	"version": 1,
	"access": "read",
	"scope": "object",
	"objects": 1,
	"labels": {},
	"jurisdictions": ["DE", "FR"],
	"reference_sets": ["guests"],
	"integrity": "plain",
	"max_leases": null,
	"key_state": "active",
}

request(claims) := {
	"version": 1,
	"time": "2026-01-01T00:00:00Z",
	"act": "release",
	"job": null,
	"node": {
		"id": "AAAA",
		"state": "approved",
		"site": "fra-1",
		"jurisdiction": "DE",
		"labels": {},
		"single_job": true,
		"tpm": "",
		"identities": [
			{"kind": "snp-chip", "value": concat("", [value32("c1"), value32("c1")])},
			{"kind": "nvidia-gpu", "value": "0a"},
			{"kind": "nvidia-gpu", "value": "0b"},
		],
	},
	"caller": null,
	"claims": object.union(
		{"tpm": null, "snp": null, "tdx": null, "azure": null, "boot": null, "ima": null, "workload": {"caller_measured": null}, "gpus": [good_gpu("0a"), good_gpu("0b")]},
		claims,
	),
	"keys": [asked_key],
	"references": {"guests": set_of({})},
	"leases": {"node_live": 0, "asset_live": {}},
	"four_eyes_waived": false,
}

# Of each kind of guest one measurement that is accepted, and PCRs for Azure's.
set_of(changes) := object.union(
	{
		"version": 3,
		"bank": "sha256",
		"pcrs": {"4": value32("a1"), "9": value32("a1")},
		"snp": [value48("aa"), value48("ab")],
		"tdx": [value48("cd")],
		"files": false,
	},
	changes,
)

good_snp := request({"snp": snp_report})

good_tdx := request({"tdx": tdx_quote})

good_azure := request({"azure": envelope})

good_guests := [good_snp, good_tdx, good_azure]

with_report(changes) := request({"snp": object.union(snp_report, changes)})

with_quote(changes) := request({"tdx": object.union(tdx_quote, changes)})

with_envelope(changes) := request({"azure": object.union(envelope, changes)})

with_set(good, set) := object.union(object.remove(good, ["references"]), {"references": {"guests": set}})

# Without some of a set's values: `object.union` cannot take out what an object has.
with_pcrs(good, pcrs) := with_set(good, object.union(object.remove(set_of({}), ["pcrs"]), {"pcrs": pcrs}))

denials_of(asked, snp, tdx) := result if {
	result := release.deny with input as asked with data.callers as {} with data.settings.pcr_selection as selection with data.settings.version_scope_assets as [] with data.settings.snp as snp with data.settings.tdx as tdx with data.settings.gpu as gpu_asked with data.platform as platform
}

allowed(asked, snp, tdx) if {
	release.allow with input as asked with data.callers as {} with data.settings.pcr_selection as selection with data.settings.version_scope_assets as [] with data.settings.snp as snp with data.settings.tdx as tdx with data.settings.gpu as gpu_asked with data.platform as platform
}

codes(asked) := {denial.code | some denial in denials_of(asked, snp_asked, tdx_asked)}

released(asked) if released_by(asked, snp_asked, tdx_asked)

released_by(asked, snp, tdx) if {
	allowed(asked, snp, tdx)
	count(denials_of(asked, snp, tdx)) == 0
}

refused_only_by(asked, code) if refused_only_by_where(asked, snp_asked, tdx_asked, code)

# Any denial refuses, whatever `allow` says.
refused_only_by_where(asked, snp, tdx, code) if {
	{denial.code | some denial in denials_of(asked, snp, tdx)} == {code}
}

test_what_is_denied_is_not_allowed if not allowed(with_report({"vmpl": 1}), snp_asked, tdx_asked)

test_a_guest_of_each_kind_is_released if {
	released(good_snp)
	released(good_tdx)
	released(good_azure)
}

test_nothing_is_released_without_input if not release.allow with input as {}

# --- What the baseline asks goes on being asked, of every kind of guest

asked_as_by_the_baseline(good) if {
	refused_only_by(object.union(good, {"act": "identify"}), "act_not_allowed")
	refused_only_by(object.union(good, {"keys": []}), "nothing_asked")
	refused_only_by(object.union(good, {"node": {"state": "pending"}}), "node_not_approved")
	refused_only_by(object.union(good, {"node": {"single_job": false}}), "caller_not_identified")
	refused_only_by(object.union(good, {"node": {"jurisdiction": "US"}}), "jurisdiction_not_allowed")
	refused_only_by(object.union(good, {"leases": {"node_live": 1000000}}), "node_quota")
	refused_only_by(object.union(good, {"leases": {"asset_live": {"minilm": 1000000}}}), "asset_quota")
}

test_what_rests_on_no_tpm_is_asked_of_snp_as_by_the_baseline if asked_as_by_the_baseline(good_snp)

test_what_rests_on_no_tpm_is_asked_of_tdx_as_by_the_baseline if asked_as_by_the_baseline(good_tdx)

test_what_rests_on_no_tpm_is_asked_of_azure_as_by_the_baseline if asked_as_by_the_baseline(good_azure)

asking(good, changes) := object.union(good, {"keys": [object.union(asked_key, changes)]})

test_keys_are_asked_for_as_by_the_baseline if {
	every good in good_guests {
		refused_only_by(asking(good, {"key_state": "destroyed"}), "key_state")
		refused_only_by(asking(good, {"scope": "version"}), "scope_not_allowed")
		refused_only_by(asking(good, {"objects": 1000000}), "too_many_objects")
		refused_only_by(asking(good, {"reference_sets": []}), "reference_missing")
	}
}

test_a_listed_caller_is_asked_for if {
	denials := release.deny with input as good_snp with data.callers as {"minilm": {"uids": [1]}} with data.settings.pcr_selection as selection with data.settings.snp as snp_asked with data.platform as platform
	"caller_not_allowed" in {denial.code | some denial in denials}
}

# --- The guest

host_tpm := {"bank": "sha256", "pcrs": quoted_pcrs, "reset_count": 4, "restart_count": 0, "safe": true, "firmware_version": 1}

test_a_machine_that_is_no_guest_is_refused if {
	refused_only_by(request({"tpm": host_tpm}), "not_confidential")
	not allowed(request({}), snp_asked, tdx_asked)
	"not_confidential" in codes(request({}))
}

test_two_guests_are_none if {
	two := request({"snp": snp_report, "tdx": tdx_quote})
	"not_confidential" in codes(two)
	not allowed(two, snp_asked, tdx_asked)
}

test_a_tpm_that_speaks_for_the_machine_makes_it_no_guest if {
	every claims in [{"snp": snp_report}, {"tdx": tdx_quote}, {"azure": envelope}] {
		refused_only_by(request(object.union(claims, {"tpm": host_tpm})), "not_confidential")
	}
}

test_azures_quote_keeps_to_the_selection if {
	every pcrs in [object.union(quoted_pcrs, {"23": value32("a1")}), object.remove(quoted_pcrs, ["7"])] {
		other := object.union(object.remove(envelope, ["pcrs"]), {"pcrs": pcrs})
		refused_only_by(request({"azure": other}), "selection_not_exact")
	}
	sha384 := with_set(with_envelope({"pcr_bank": "sha384"}), set_of({"bank": "sha384"}))
	refused_only_by(sha384, "selection_not_exact")
}

# A guest's kernel measures nothing that the vault reads; behind Azure's virtual TPM it could.
test_a_caller_is_measured_where_there_are_pcrs if {
	ten := {"bank": "sha256", "pcrs": [0, 4, 7, 9, 10]}
	by_agent := {"node": {"single_job": false}, "caller": {"v": 1, "uid": 1000}}
	of_snp := release.deny with input as object.union(good_snp, by_agent) with data.callers as {} with data.settings.pcr_selection as ten with data.settings.snp as snp_asked with data.settings.gpu as gpu_asked with data.platform as platform
	count(of_snp) == 0
	quoting := object.union(with_envelope({"pcrs": {"10": value32("a1")}}), by_agent)
	of_azure := release.deny with input as quoting with data.callers as {} with data.settings.pcr_selection as ten with data.settings.snp as snp_asked with data.settings.gpu as gpu_asked with data.platform as platform
	{denial.code | some denial in of_azure} == {"caller_not_measured"}
}

# --- The launch

test_a_guest_that_was_launched_from_something_else_is_refused if {
	refused_only_by(with_report({"measurement": value48("ac")}), "launch_mismatch")
	refused_only_by(with_quote({"guest": {"mrtd": value48("ce")}}), "launch_mismatch")
	refused_only_by(with_envelope({"snp": {"measurement": value48("ac")}}), "launch_mismatch")
}

test_a_mismatch_names_what_was_expected_and_shown if {
	some denial in denials_of(with_report({"measurement": value48("ac")}), snp_asked, tdx_asked)
	denial.claim == "snp.measurement"
	denial.expected == [value48("aa"), value48("ab")]
	denial.got == value48("ac")
}

test_an_empty_set_matches_no_guest if {
	refused_only_by(with_set(good_snp, set_of({"snp": []})), "reference_unusable")
	refused_only_by(with_set(good_tdx, set_of({"tdx": []})), "reference_unusable")
	refused_only_by(with_set(good_azure, set_of({"snp": []})), "reference_unusable")
	refused_only_by(with_pcrs(good_azure, {}), "reference_unusable")
	refused_only_by(with_set(good_azure, set_of({"bank": "sha384"})), "reference_unusable")
}

# What a set lists for one kind of evidence says nothing of another.
test_a_set_speaks_for_its_own_kind_only if {
	refused_only_by(with_set(good_snp, set_of({"snp": [], "tdx": [value48("ab")]})), "reference_unusable")
	refused_only_by(with_set(good_tdx, set_of({"tdx": [], "snp": [value48("cd")]})), "reference_unusable")
	released(with_pcrs(good_snp, {}))
	released(with_pcrs(good_tdx, {}))
}

test_a_set_that_is_not_recorded_matches_nothing if {
	every good in good_guests {
		refused_only_by(asking(good, {"reference_sets": ["no-such-set"]}), "reference_unusable")
		released(asking(good, {"reference_sets": ["no-such-set", "guests"]}))
	}
}

test_azures_guest_is_in_its_pcrs if {
	refused_only_by(with_pcrs(good_azure, {"9": value32("b2")}), "reference_mismatch")
	some denial in denials_of(with_pcrs(good_azure, {"9": value32("b2")}), snp_asked, tdx_asked)
	denial.claim == "azure.pcrs.9"
	denial.expected == value32("b2")
	denial.got == value32("a1")
}

test_lists_of_files_are_kept_by_no_guest if {
	every good in good_guests {
		refused_only_by(with_set(good, set_of({"files": true})), "files_not_shown")
	}
}

# --- SEV-SNP

both_snp(changes) := [with_report(changes), with_envelope({"snp": changes})]

test_a_providers_key_is_accepted_where_settings_allow_it if {
	every asked in both_snp({"signing_key": "vlek", "csp_id": "x"}) {
		refused_only_by(asked, "signing_key_not_accepted")
		released_by(asked, object.union(snp_asked, {"allow_vlek": true}), tdx_asked)
	}
}

test_a_chain_without_a_revocation_list_is_accepted_where_settings_allow_it if {
	every asked in both_snp({"crl_made_at": null}) {
		refused_only_by(asked, "revocation_not_checked")
		released_by(asked, object.union(snp_asked, {"allow_missing_crl": true}), tdx_asked)
	}
}

test_the_privilege_level_is_exactly_the_one_asked_for if {
	every asked in both_snp({"vmpl": 1}) {
		refused_only_by(asked, "privilege_level")
		released_by(asked, object.union(snp_asked, {"vmpl": 1}), tdx_asked)
	}
	every asked in both_snp({}) {
		refused_only_by_where(asked, object.union(snp_asked, {"vmpl": 1}), tdx_asked, "privilege_level")
		released_by(asked, object.remove(snp_asked, ["vmpl"]), tdx_asked)
	}
}

test_a_line_of_products_may_be_refused if {
	every asked in both_snp({"product": "milan"}) {
		refused_only_by(asked, "product_refused")
		released_by(asked, object.union(snp_asked, {"refused_products": []}), tdx_asked)
	}
}

each_part_has_to_reach_its_minimum(which) if {
	every part, least in all_parts {
		refused_only_by(with_report({"tcb": {which: {part: least - 1}}}), "tcb_below_minimum")
	}
	released(with_report({"tcb": {which: all_parts}}))
}

test_each_part_of_the_reported_tcb_has_to_reach_its_minimum if each_part_has_to_reach_its_minimum("reported")

test_each_part_of_the_committed_tcb_has_to_reach_its_minimum if each_part_has_to_reach_its_minimum("committed")

test_each_part_of_the_launch_tcb_has_to_reach_its_minimum if each_part_has_to_reach_its_minimum("launch")

test_azures_tcb_has_to_reach_its_minimum_too if {
	refused_only_by(with_envelope({"snp": {"tcb": {"reported": {"snp": 19}}}}), "tcb_below_minimum")
}

test_a_tcb_that_is_too_low_is_named if {
	some denial in denials_of(with_report({"tcb": {"launch": {"microcode": 69}}}), snp_asked, tdx_asked)
	denial.claim == "snp.tcb.launch.microcode"
	denial.expected == 70
	denial.got == 69
	some of_azure in denials_of(with_envelope({"snp": {"vmpl": 1}}), snp_asked, tdx_asked)
	of_azure.claim == "azure.snp.vmpl"
}

turin := {
	"product": "turin",
	"platform": {"ciphertext_hiding": true},
	"tcb": {"reported": {"fmc": 1}, "committed": {"fmc": 1}, "launch": {"fmc": 1}},
}

test_the_first_mutable_code_counts_where_a_minimum_names_it if {
	released(with_report(turin))
	refused_only_by(with_report(object.union(turin, {"tcb": {"reported": {"fmc": 0}}})), "tcb_below_minimum")
	refused_only_by(with_report(object.union(turin, {"tcb": {"reported": {"fmc": null}}})), "tcb_below_minimum")
}

test_a_product_without_minima_is_refused if {
	every which in ["reported", "committed", "launch"] {
		without := object.remove(snp_asked.minimum_tcb.genoa, [which])
		asks := object.union(object.remove(snp_asked, ["minimum_tcb"]), {"minimum_tcb": {"genoa": without}})
		refused_only_by_where(good_snp, asks, tdx_asked, "tcb_without_minimum")
		zero := object.union(snp_asked, {"minimum_tcb": {"genoa": {which: {"boot_loader": 0, "tee": 0, "snp": 0, "microcode": 0}}}})
		refused_only_by_where(good_snp, zero, tdx_asked, "tcb_without_minimum")
	}
	refused_only_by_where(good_azure, {"vmpl": 0}, tdx_asked, "tcb_without_minimum")
}

test_a_platform_has_what_its_product_must_have if {
	every asked in both_snp({"platform": {"alias_check_complete": false}}) {
		refused_only_by(asked, "platform_setup")
	}
	every asked in both_snp({"platform": {"smt": true}}) {
		refused_only_by(asked, "platform_setup")
	}
	refused_only_by(with_report(object.union(turin, {"platform": {"ciphertext_hiding": false}})), "platform_setup")
}

platform_codes(table) := {denial.code | some denial in denials} if {
	denials := release.deny with input as good_snp with data.callers as {} with data.settings.pcr_selection as selection with data.settings.snp as snp_asked with data.settings.gpu as gpu_asked with data.platform as table
}

test_the_table_of_platforms_accepts_what_it_names if {
	platform_codes({"genoa": []}) == set()
	platform_codes({"genoa": ["ecc", "smt_off"]}) == set()
	platform_codes({"turin": []}) == {"platform_setup"}
	platform_codes({}) == {"platform_setup"}
	platform_codes({"genoa": null}) == {"platform_setup"}
	platform_codes({"genoa": ["alias_check_compleet"]}) == {"platform_setup"}
	every name in ["ciphertext_hiding", "tsme", "rapl_disabled"] {
		platform_codes({"genoa": [name]}) == {"platform_setup"}
	}
}

# --- TDX

test_a_platform_that_intel_does_not_call_up_to_date_is_refused if {
	behind := with_quote({"tcb": {"status": "OutOfDate"}})
	refused_only_by(behind, "tdx_tcb_status")
	released_by(behind, snp_asked, object.union(tdx_asked, {"tcb_statuses": ["UpToDate", "OutOfDate"]}))
	refused_only_by_where(behind, snp_asked, object.remove(tdx_asked, ["tcb_statuses"]), "tdx_tcb_status")
}

test_kernel_and_boot_loader_have_to_be_named if {
	refused_only_by(with_quote({"guest": {"rtmr1": value48("12")}}), "registers_not_accepted")
	refused_only_by(with_quote({"guest": {"rtmr2": value48("24")}}), "registers_not_accepted")
	released(with_quote({"guest": {"rtmr2": value48("23")}}))
	every asks in [{}, {"rtmrs": {}}, {"rtmrs": {"1": tdx_asked.rtmrs["1"]}}, {"rtmrs": {"1": "any", "2": "any"}}] {
		refused_only_by_where(good_tdx, snp_asked, asks, "registers_not_accepted")
	}
}

# ==================================================================================================
# tiers/tier3_test.rego
# ==================================================================================================

# What tier 3 asks beyond tier 2: the good inputs are tier 2's (`tier2_test.rego`), which have two GPUs.
with_gpus(several) := object.union(good_snp, {"claims": {"gpus": several}})

# One of two GPUs with something else: what holds for one has to hold for each.
with_second(changes) := with_gpus([good_gpu("0a"), object.union(good_gpu("0b"), changes)])

recording(identities) := object.union(good_snp, {"node": {"identities": identities}})

recorded(device) := {"kind": "nvidia-gpu", "value": device}

test_a_guest_of_each_kind_with_all_its_gpus_is_released if {
	every good in good_guests {
		released(good)
	}
}

test_a_guest_without_gpus_is_refused if {
	refused_only_by(with_gpus([]), "gpus_not_of_record")
	none := object.union(with_gpus([]), {"node": {"identities": [{"kind": "snp-chip", "value": "c1"}]}})
	refused_only_by(none, "gpus_not_of_record")
}

test_gpus_are_exactly_those_of_the_record if {
	refused_only_by(with_gpus([good_gpu("0a")]), "gpus_not_of_record")
	refused_only_by(with_gpus([good_gpu("0a"), good_gpu("0a")]), "gpus_not_of_record")
	refused_only_by(with_gpus([good_gpu("0a"), good_gpu("0c")]), "gpus_not_of_record")
	twice := [good_gpu("0a"), good_gpu("0b"), good_gpu("0b")]
	refused_only_by(with_gpus(twice), "gpus_not_of_record")
	refused_only_by(recording([recorded("0a")]), "gpus_not_of_record")
	refused_only_by(recording([]), "gpus_not_of_record")
	released(recording([recorded("0b"), recorded("0a")]))
}

# The id of another part is not that of a GPU, though it be the same digits.
test_other_identities_are_no_gpus if {
	refused_only_by(recording([recorded("0a"), {"kind": "tdx-ppid", "value": "0b"}]), "gpus_not_of_record")
}

test_each_gpu_is_in_a_mode_that_is_accepted if {
	released(with_second({"mode": "single"}))
	refused_only_by(with_second({"mode": "protected-pcie"}), "gpu_mode")
	refused_only_by(with_second({"mode": null}), "gpu_mode")
	refused_only_by(with_second({"protected_pcie": true}), "gpu_mode")
	released(with_second({"protected_pcie": null}))
}

mode_codes(asks, second) := {denial.code | some denial in denials} if {
	denials := release.deny with input as with_second(second) with data.callers as {} with data.settings.pcr_selection as selection with data.settings.snp as snp_asked with data.settings.gpu as asks with data.platform as platform
}

test_links_in_the_clear_are_the_sites_to_accept if {
	chassis := {"mode": "protected-pcie", "protected_pcie": true}
	mode_codes({"modes": ["multi", "protected-pcie"]}, chassis) == set()
	mode_codes({"modes": ["multi"]}, chassis) == {"gpu_mode"}
	mode_codes({"modes": ["multi"]}, {"mode": "single"}) == {"gpu_mode"}
	mode_codes({}, {"mode": "single"}) == set()
	mode_codes({}, chassis) == {"gpu_mode"}
}

test_devtools_is_never_off_by_assumption if {
	released(with_second({"devtools_off": "guest"}))
	refused_only_by(with_second({"devtools_off": null}), "gpu_devtools")
	refused_only_by(with_second({"devtools_off": true}), "gpu_devtools")
}

test_every_golden_value_was_compared if {
	refused_only_by(with_second({"manifests": null}), "gpu_manifests")
	refused_only_by(with_second({"manifests": {"driver": {"compared": 0}}}), "gpu_manifests")
	refused_only_by(with_second({"manifests": {"vbios": {"compared": 0}}}), "gpu_manifests")
}

test_revocation_was_looked_at if {
	refused_only_by(with_second({"revocation_checked": false}), "gpu_revocation")
}
