# Written by a test from `baseline/release.rego`, `tiers/tier1.rego`: change those, not this file.
# Each part stands whole, between lines of `=`: who has read one needs to read only the others.

# ==================================================================================================
# baseline/release.rego
# ==================================================================================================

# The baseline: what every release has to satisfy.
#
# Each condition is a rule that must be proved (`..._ok`), and `allow` needs all of them. `deny`
# gives a reason for each that could not be proved. So a fact that is missing, or a slip in a
# condition, refuses.
package strongroom.release

default allow := false

allow if {
	act_ok
	node_ok
	caller_ok
	caller_measured_ok
	clock_ok
	selection_ok
	node_quota_ok
	count(input.keys) > 0
	every key in input.keys {
		key_ok(key)
	}
	count(deny) == 0
}

key_ok(key) if {
	jurisdiction_ok(key)
	reference_ok(key)
	files_ok(key)
	state_ok(key)
	asset_quota_ok(key)
	scope_ok(key)
	objects_ok(key)
	caller_allowed(key)
}

# --- What is asked -----------------------------------------------------------------------------

act_ok if input.act in {"release", "renew"}

deny contains {
	"code": "act_not_allowed",
	"message": "Keys are released and leases renewed by this policy, nothing else.",
	"claim": "act",
	"expected": ["release", "renew"],
	"got": input.act,
} if {
	not act_ok
}

deny contains {
	"code": "nothing_asked",
	"message": "The request names no key.",
	"claim": "keys",
} if {
	count(input.keys) == 0
}

# --- The node ----------------------------------------------------------------------------------

node_ok if input.node.state == "approved"

deny contains {
	"code": "node_not_approved",
	"message": "An operator has not approved the node, or has revoked it.",
	"claim": "node.state",
	"expected": "approved",
	"got": input.node.state,
} if {
	not node_ok
}

# Every process of a machine that can open its TPM looks the same in a quote, and so do the caller
# bytes that any of them may bind. So either the machine runs a single job, or its agent alone can
# open the devices: whoever approves a node without `--single-job` says that this is so.
caller_ok if input.node.single_job == true

caller_ok if is_object(input.caller)

deny contains {
	"code": "caller_not_identified",
	"message": "Which process asked is not proved: no agent named it, and this node is not approved to run one job only.",
	"claim": "caller",
	"expected": "a caller, or a node that runs one job only",
	"got": input.caller,
} if {
	not caller_ok
}

# Assets in `data.callers` are released to certain callers only: each list that stands there has to hold
# what the agent says of the caller. On a node that runs a single job, what is said of a caller is no
# proof, so no such asset is released to it.
caller_allowed(key) if {
	is_object(data.callers)
	not data.callers[key.asset]
}

caller_allowed(key) if {
	wanted := data.callers[key.asset]
	input.node.single_job == false
	is_object(input.caller)
	every name, accepted in wanted {
		caller_fact(name) in accepted
	}
}

caller_fact("exe_sha256") := input.caller.exe.sha256

caller_fact("uids") := input.caller.uid

caller_fact("units") := input.caller.unit

caller_fact("slurm_jobs") := input.caller.slurm_job.id

caller_fact("pods") := input.caller.pod.uid

deny contains {
	"code": "caller_not_allowed",
	"message": sprintf("%s may be opened by certain callers only, and this one is not among them.", [key.asset]),
	"claim": "caller",
	"expected": [wanted | wanted := data.callers[key.asset]],
	"got": input.caller,
} if {
	some key in input.keys
	not caller_allowed(key)
}

# Where IMA is quoted, the program that asks has to be among what it measured. A caller whose digest no
# log shows is one that was started where IMA does not look, or is not what the agent took it for.
caller_measured_ok if not 10 in data.settings.pcr_selection.pcrs

caller_measured_ok if not is_object(input.caller)

caller_measured_ok if input.claims.workload.caller_measured == true

deny contains {
	"code": "caller_not_measured",
	"message": "The kernel did not measure the program that asks.",
	"claim": "workload.caller_measured",
	"expected": true,
	"got": object.get(input.claims, ["workload", "caller_measured"], null),
} if {
	not caller_measured_ok
}

# --- The place ---------------------------------------------------------------------------------

jurisdiction_ok(key) if input.node.jurisdiction in key.jurisdictions

deny contains {
	"code": "jurisdiction_not_allowed",
	"message": sprintf("%s may not be opened where the node stands.", [key.asset]),
	"claim": "node.jurisdiction",
	"expected": key.jurisdictions,
	"got": input.node.jurisdiction,
} if {
	some key in input.keys
	not jurisdiction_ok(key)
}

# --- The TPM -----------------------------------------------------------------------------------

# Counters that the TPM does not vouch for could have been set back with its clock.
clock_ok if input.claims.tpm.safe == true

deny contains {
	"code": "clock_not_safe",
	"message": "The TPM does not vouch for its clock and counters (`safe` is not set), or sent no quote.",
	"claim": "tpm.safe",
	"expected": true,
	"got": object.get(input.claims, ["tpm", "safe"], null),
} if {
	not clock_ok
}

# The vault asks for exactly this selection already when it verifies the quote.
selection_ok if {
	input.claims.tpm.bank == data.settings.pcr_selection.bank
	quoted := {to_number(index) | some index, _ in input.claims.tpm.pcrs}
	quoted == {index | some index in data.settings.pcr_selection.pcrs}
}

deny contains {
	"code": "selection_not_exact",
	"message": "The quote does not select exactly the PCRs of the policy.",
	"claim": "tpm.pcrs",
	"expected": data.settings.pcr_selection,
	"got": object.keys(object.get(input.claims, ["tpm", "pcrs"], {})),
} if {
	not selection_ok
}

# --- The measurements --------------------------------------------------------------------------

# One of the asset's sets has to match in every PCR that it names, and has to name one.
reference_ok(key) if {
	some name in key.reference_sets
	set_matches(input.references[name])
}

set_matches(reference) if {
	reference.bank == input.claims.tpm.bank
	count(reference.pcrs) > 0
	object.subset(input.claims.tpm.pcrs, reference.pcrs)
}

deny contains {
	"code": "reference_mismatch",
	"message": sprintf("%s: PCR %s is not as in reference set %s, version %d.", [key.asset, index, name, reference.version]),
	"claim": sprintf("tpm.pcrs.%s", [index]),
	"expected": accepted,
	"got": object.get(input.claims, ["tpm", "pcrs", index], null),
} if {
	is_object(input.claims.tpm)
	some key in input.keys
	not reference_ok(key)
	some name in key.reference_sets
	reference := input.references[name]
	some index, accepted in reference.pcrs
	object.get(input.claims, ["tpm", "pcrs", index], null) != accepted
}

deny contains {
	"code": "reference_unusable",
	"message": sprintf("%s: reference set %s is not recorded, has no values for this evidence, or is of another bank.", [key.asset, name]),
	"claim": "references",
	"expected": object.get(input.references, [name, "bank"], null),
	"got": object.get(input.claims, ["tpm", "bank"], null),
} if {
	some key in input.keys
	not reference_ok(key)
	some name in key.reference_sets
	not set_usable(name)
}

set_usable(name) if {
	input.references[name].bank == input.claims.tpm.bank
	count(input.references[name].pcrs) > 0
}

deny contains {
	"code": "reference_missing",
	"message": sprintf("%s names no reference set, so no node matches.", [key.asset]),
	"claim": "keys.reference_sets",
} if {
	some key in input.keys
	count(key.reference_sets) == 0
}

# --- The files ---------------------------------------------------------------------------------

# Of the sets that match, one has to have all its lists kept by what the node measured since it booted.
files_ok(key) if {
	some name in key.reference_sets
	set_matches(input.references[name])
	lists_kept(name)
}

lists_kept(name) if input.references[name].files == false

lists_kept(name) if {
	listed := input.claims.ima.listed[name]
	listed.forbidden == 0
	listed.unlisted == 0
	count(listed.missing) == 0
}

# The matching sets of a key whose lists are not kept, by name.
broken(key) := {name: object.get(input.claims, ["ima", "listed", name], null) |
	not files_ok(key)
	some name in key.reference_sets
	set_matches(input.references[name])
}

deny contains {
	"code": "file_forbidden",
	"message": sprintf("%s: the node measured %d files that reference set %s forbids.", [key.asset, listed.forbidden, name]),
	"claim": sprintf("ima.listed.%s.forbidden", [name]),
	"expected": 0,
	"got": examples(listed, true),
} if {
	some key in input.keys
	some name, listed in broken(key)
	listed.forbidden > 0
}

deny contains {
	"code": "file_not_listed",
	"message": sprintf("%s: the node measured %d files that reference set %s does not list.", [key.asset, listed.unlisted, name]),
	"claim": sprintf("ima.listed.%s.unlisted", [name]),
	"expected": 0,
	"got": examples(listed, false),
} if {
	some key in input.keys
	some name, listed in broken(key)
	listed.unlisted > 0
}

deny contains {
	"code": "file_missing",
	"message": sprintf("%s: the node did not measure %d files that reference set %s requires.", [key.asset, count(listed.missing), name]),
	"claim": sprintf("ima.listed.%s.missing", [name]),
	"expected": array.slice(listed.missing, 0, 5),
	"got": "not measured",
} if {
	some key in input.keys
	some name, listed in broken(key)
	count(listed.missing) > 0
}

deny contains {
	"code": "files_not_shown",
	"message": sprintf("%s: reference set %s lists files, and no IMA log that the quote covers shows any.", [key.asset, name]),
	"claim": "ima",
	"expected": "PCR 10 in settings.pcr_selection, and an IMA log",
	"got": null,
} if {
	some key in input.keys
	some name, listed in broken(key)
	is_null(listed)
}

# The first of the files, each with its digest and the beginning of a path under which it was measured.
examples(listed, forbidden) := array.slice(found, 0, 5) if {
	found := [sprintf("%s %s", [file.digest, substring(file.path, 0, 60)]) |
		some file in listed.examples
		file.forbidden == forbidden
	]
}

# --- The key -----------------------------------------------------------------------------------

state_ok(key) if key.key_state == "active"

state_ok(key) if {
	key.key_state == "decrypt-only"
	key.access == "read"
}

deny contains {
	"code": "key_state",
	"message": sprintf("%s@%d is %s and cannot be used to %s.", [key.asset, key.version, key.key_state, key.access]),
	"claim": "keys.key_state",
	"expected": "active",
	"got": key.key_state,
} if {
	some key in input.keys
	not state_ok(key)
}

# An object or a writer key opens little. The key of a whole version opens everything in it.
scope_ok(key) if key.scope in {"object", "writer"}

scope_ok(key) if key.labels.version_scope == "allowed"

scope_ok(key) if key.asset in data.settings.version_scope_assets

deny contains {
	"code": "scope_not_allowed",
	"message": sprintf("The whole key version of %s may not be released; ask for the objects.", [key.asset]),
	"claim": "keys.scope",
	"expected": "object",
	"got": key.scope,
} if {
	some key in input.keys
	not scope_ok(key)
}

objects_ok(key) if key.objects <= data.settings.max_objects_per_key

deny contains {
	"code": "too_many_objects",
	"message": sprintf("The request names too many objects of %s.", [key.asset]),
	"claim": "keys.objects",
	"expected": data.settings.max_objects_per_key,
	"got": key.objects,
} if {
	some key in input.keys
	not objects_ok(key)
}

# --- Quotas ------------------------------------------------------------------------------------

node_quota_ok if input.leases.node_live < data.settings.max_leases_per_node

deny contains {
	"code": "node_quota",
	"message": "The node holds as many leases as it may.",
	"claim": "leases.node_live",
	"expected": data.settings.max_leases_per_node,
	"got": input.leases.node_live,
} if {
	not node_quota_ok
}

asset_quota_ok(key) if object.get(input.leases.asset_live, key.asset, 0) < most_leases(key)

most_leases(key) := key.max_leases if key.max_leases != null

most_leases(key) := data.settings.max_leases_per_asset if key.max_leases == null

deny contains {
	"code": "asset_quota",
	"message": sprintf("As many leases of %s are live as may be.", [key.asset]),
	"claim": sprintf("leases.asset_live.%s", [key.asset]),
	"expected": most_leases(key),
	"got": object.get(input.leases.asset_live, key.asset, 0),
} if {
	some key in input.keys
	not asset_quota_ok(key)
}

# --- Obligations -------------------------------------------------------------------------------

obligations := {
	"lease_seconds": data.settings.lease_seconds,
	"renew_after": data.settings.renew_after,
	"reattest_after": data.settings.reattest_after,
	"handling": data.settings.handling,
	"plaintext_to_disk": plaintext_to_disk,
}

default plaintext_to_disk := false

# The settings permit it, and no asked asset is labelled otherwise.
plaintext_to_disk if {
	data.settings.plaintext_to_disk == true
	every key in input.keys {
		object.get(key.labels, "plaintext_to_disk", "allowed") == "allowed"
	}
}

# ==================================================================================================
# tiers/tier1.rego
# ==================================================================================================

# Tier 1: a machine whose TPM shows how it was booted.
#
# All that the baseline asks (`release.rego`), and that the boot log which leads to the quoted values shows Secure Boot
# on. A machine without a TPM that speaks for it is refused by the baseline's own rules.
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
