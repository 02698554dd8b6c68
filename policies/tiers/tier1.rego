# Tier 1: a machine whose TPM shows how it was booted.
#
# All that the baseline asks (`release.rego`), and that the boot log which leads to the quoted values shows Secure Boot
# on. A machine without a TPM that speaks for it is refused by the baseline's own rules.
package strongroom.release

# What a boot has to be explained in: firmware, option ROMs, boot loaders, boot configuration, Secure Boot.
explained_pcrs := {0, 2, 4, 5, 7}

boot_explained_ok if {
	shown := {pcr | some pcr in input.claims.boot.explained}
	count(explained_pcrs - shown) == 0
}

deny contains {
	"code": "boot_not_explained",
	"message": "No boot log explains the quoted PCRs of firmware, boot loader and Secure Boot.",
	"claim": "boot.explained",
	"expected": explained_pcrs,
	"got": object.get(input.claims, ["boot", "explained"], null),
} if {
	not boot_explained_ok
}

# On, with keys in place, so that nobody at the machine may set them.
secure_boot_ok if {
	input.claims.boot.secure_boot.enabled == true
	input.claims.boot.secure_boot.setup_mode == false
}

deny contains {
	"code": "secure_boot_off",
	"message": "Secure Boot is not shown to be on.",
	"claim": "boot.secure_boot.enabled",
	"expected": {"enabled": true, "setup_mode": false},
	"got": object.filter(shown_secure_boot, ["enabled", "setup_mode"]),
} if {
	not secure_boot_ok
}

default shown_secure_boot := {}

shown_secure_boot := input.claims.boot.secure_boot if is_object(input.claims.boot.secure_boot)

# While firmware ran, no device could write to memory by itself.
dma_ok if input.claims.boot.secure_boot.dma_protection_disabled == false

deny contains {
	"code": "dma_protection_off",
	"message": "Firmware is not shown to have kept devices out of memory.",
	"claim": "boot.secure_boot.dma_protection_disabled",
	"expected": false,
	"got": object.get(shown_secure_boot, "dma_protection_disabled", null),
} if {
	not dma_ok
}

tolerances_refused := {"exit_boot_services_missing", "exit_boot_services_failure_missing", "exit_boot_services_retry_missing"}

# Firmware handed over in order: a log that does not show it leaves open what ran in between.
firmware_ok if {
	input.claims.boot.boot_path.exit_boot_services == true
	every name in input.claims.boot.tolerances {
		not name in tolerances_refused
	}
}

deny contains {
	"code": "firmware_tolerated",
	"message": "Firmware is not shown to be left in order.",
	"claim": "boot.tolerances",
	"expected": [],
	"got": object.get(input.claims, ["boot", "tolerances"], null),
} if {
	not firmware_ok
}
