# Tier 3: a confidential machine (tier 2), and every GPU of its record in confidential mode.
#
# What reports of GPUs have to satisfy stands in `settings.gpu`, and the vault's verifier keeps to it. The rules below
# ask of the claims what settings cannot switch off here: manifests that were compared, revocation that was looked
# at, and a word that DEVTOOLS mode is off.
package strongroom.release

gpus := object.get(input.claims, "gpus", [])

recorded_gpus := {identity.value | some identity in object.get(input.node, "identities", []); identity.kind == "nvidia-gpu"}

# As many as the record lists, the same ones, and at least one.
gpus_ok if {
	count(gpus) > 0
	count(gpus) == count(recorded_gpus)
	{gpu.device | some gpu in gpus} == recorded_gpus
}

deny contains {
	"code": "gpus_not_of_record",
	"message": "The GPUs that attested are not exactly those of the node's record, or there are none.",
	"claim": "gpus",
	"expected": recorded_gpus,
	"got": [object.get(gpu, "device", null) | some gpu in gpus],
} if {
	not gpus_ok
}

gpu_modes := object.get(data.settings, ["gpu", "modes"], ["single", "multi"])

# The report says in which mode the GPU is, and that no link is in the clear unless that is accepted.
mode_ok(gpu) if {
	gpu.mode in gpu_modes
	clear_links_ok(gpu)
}

clear_links_ok(gpu) if gpu.protected_pcie in {false, null}

clear_links_ok(gpu) if "protected-pcie" in gpu_modes

deny contains {
	"code": "gpu_mode",
	"message": "A GPU does not show that it is in a confidential mode which settings.gpu accepts.",
	"claim": "gpus.mode",
	"expected": gpu_modes,
	"got": {"device": object.get(gpu, "device", null), "mode": object.get(gpu, "mode", null), "protected_pcie": object.get(gpu, "protected_pcie", null)},
} if {
	some gpu in gpus
	not mode_ok(gpu)
}

devtools_ok(gpu) if gpu.devtools_off in {"guest", "measurements"}

deny contains {
	"code": "gpu_devtools",
	"message": "Nothing shows that a GPU cannot be debugged (DEVTOOLS mode).",
	"claim": "gpus.devtools_off",
	"expected": ["guest", "measurements"],
	"got": {"device": object.get(gpu, "device", null), "devtools_off": object.get(gpu, "devtools_off", null)},
} if {
	some gpu in gpus
	not devtools_ok(gpu)
}

# Every golden value of both manifests was compared.
manifests_ok(gpu) if {
	gpu.manifests.driver.compared > 0
	gpu.manifests.vbios.compared > 0
}

deny contains {
	"code": "gpu_manifests",
	"message": "The measurements of a GPU were not compared with NVIDIA's manifests of its driver and VBIOS.",
	"claim": "gpus.manifests",
	"expected": "values compared with both",
	"got": {"device": object.get(gpu, "device", null), "manifests": object.get(gpu, "manifests", null)},
} if {
	some gpu in gpus
	not manifests_ok(gpu)
}

gpu_revocation_ok(gpu) if gpu.revocation_checked == true

deny contains {
	"code": "gpu_revocation",
	"message": "Nothing recent says whether the certificates of a GPU or of its manifests are revoked.",
	"claim": "gpus.revocation_checked",
	"expected": true,
	"got": {"device": object.get(gpu, "device", null), "revocation_checked": object.get(gpu, "revocation_checked", null)},
} if {
	some gpu in gpus
	not gpu_revocation_ok(gpu)
}
