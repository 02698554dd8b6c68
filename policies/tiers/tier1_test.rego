# What tier 1 asks beyond the baseline; the good input is the baseline's.
package strongroom.release_test

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
