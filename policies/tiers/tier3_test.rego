# What tier 3 asks beyond tier 2: the good inputs are tier 2's (`tier2_test.rego`), which have two GPUs.
package strongroom.release_test

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
