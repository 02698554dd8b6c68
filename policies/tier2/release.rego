# Written by a test from `baseline/release.rego`, `tiers/tier2.rego`: change those, not this file.
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
# tiers/tier2.rego
# ==================================================================================================

# Tier 2: a confidential machine, judged by the evidence of the guest itself.
#
# All that the baseline asks of request, node, caller, place, key and quotas (`release.rego`, unchanged). In the place
# of the TPM's rules stand those of the guest: a host's TPM says nothing of a guest, and the vault leaves its claims
# out. Where more than one guest shows itself, or a TPM speaks for the machine, nothing here is proved.
#
# What reports and quotes have to satisfy stands in `settings.snp` and `settings.tdx`; the vault's verifiers keep to
# it before any rule is asked. The rules below ask it again of the claims, so that a decision shows it, and refuse
# where the settings leave open what they must name.
# --- The guest ---------------------------------------------------------------------------------

guests := [kind | some kind in ["azure", "snp", "tdx"]; is_object(object.get(input.claims, kind, null))]

guest := guests[0] if {
	count(guests) == 1
	is_null(object.get(input.claims, "tpm", null))
}

# Claims of a guest exist only where its memory cannot be read by debugging: the verifier refuses all others.
guest_ok if guest in {"azure", "snp", "tdx"}

deny contains {
	"code": "not_confidential",
	"message": "The machine does not show that it is one confidential guest, by a report of SEV-SNP, a quote of TDX or Azure's envelope.",
	"claim": "snp",
	"expected": "claims of one guest, and none of a TPM",
	"got": guests,
} if {
	not guest_ok
}

# The report of SEV-SNP, by itself or in Azure's envelope.
report := input.claims.snp if guest == "snp"

report := object.get(input.claims.azure, "snp", {}) if guest == "azure"

report_claim := "snp" if guest == "snp"

report_claim := "azure.snp" if guest == "azure"

# A denial whose words are missing would be none: they are looked up so that there is always one.
shown(name) := object.get(report, name, null)

# Rules of the TPM that a guest has no claims for. Azure's quote keeps to the selection; no other guest has PCRs.
clock_ok if guest_ok

selection_ok if guest in {"snp", "tdx"}

selection_ok if {
	guest == "azure"
	input.claims.azure.pcr_bank == data.settings.pcr_selection.bank
	quoted := {to_number(index) | some index, _ in input.claims.azure.pcrs}
	quoted == {index | some index in data.settings.pcr_selection.pcrs}
}

caller_measured_ok if guest in {"snp", "tdx"}

# --- The launch --------------------------------------------------------------------------------

# A set speaks for a guest by the measurements that it lists for its kind; one that lists none matches none.
set_matches(reference) if {
	guest == "snp"
	report.measurement in reference.snp
}

set_matches(reference) if {
	guest == "tdx"
	input.claims.tdx.guest.mrtd in reference.tdx
}

# Azure's launch measurement is of the layer below the guest; the guest itself is in the PCRs of its virtual TPM.
set_matches(reference) if {
	guest == "azure"
	report.measurement in reference.snp
	reference.bank == input.claims.azure.pcr_bank
	count(reference.pcrs) > 0
	object.subset(input.claims.azure.pcrs, reference.pcrs)
}

set_usable(name) if {
	guest == "snp"
	count(input.references[name].snp) > 0
}

set_usable(name) if {
	guest == "tdx"
	count(input.references[name].tdx) > 0
}

set_usable(name) if {
	guest == "azure"
	count(input.references[name].snp) > 0
	input.references[name].bank == input.claims.azure.pcr_bank
	count(input.references[name].pcrs) > 0
}

launch := {"claim": sprintf("%s.measurement", [report_claim]), "got": shown("measurement"), "kind": "snp"} if guest in {"azure", "snp"}

launch := {"claim": "tdx.guest.mrtd", "got": object.get(shown_guest, "mrtd", null), "kind": "tdx"} if guest == "tdx"

deny contains {
	"code": "launch_mismatch",
	"message": sprintf("%s: what the guest was launched from is not in reference set %s, version %d.", [key.asset, name, reference.version]),
	"claim": launch.claim,
	"expected": array.slice(reference[launch.kind], 0, 4),
	"got": launch.got,
} if {
	some key in input.keys
	not reference_ok(key)
	some name in key.reference_sets
	set_usable(name)
	reference := input.references[name]
	not launch.got in reference[launch.kind]
}

deny contains {
	"code": "reference_mismatch",
	"message": sprintf("%s: PCR %s is not as in reference set %s, version %d.", [key.asset, index, name, reference.version]),
	"claim": sprintf("azure.pcrs.%s", [index]),
	"expected": accepted,
	"got": object.get(input.claims.azure.pcrs, index, null),
} if {
	guest == "azure"
	some key in input.keys
	not reference_ok(key)
	some name in key.reference_sets
	set_usable(name)
	reference := input.references[name]
	some index, accepted in reference.pcrs
	object.get(input.claims.azure.pcrs, index, null) != accepted
}

# --- SEV-SNP: who signed ------------------------------------------------------------------------

asked_of_snp := object.get(data.settings, "snp", {})

key_kind_ok if guest == "tdx"

key_kind_ok if report.signing_key == "vcek"

key_kind_ok if {
	report.signing_key == "vlek"
	asked_of_snp.allow_vlek == true
}

deny contains {
	"code": "signing_key_not_accepted",
	"message": "The report is not signed by a key of the chip, and settings.snp does not allow a provider's (VLEK).",
	"claim": sprintf("%s.signing_key", [report_claim]),
	"expected": "vcek",
	"got": shown("signing_key"),
} if {
	guest_ok
	not key_kind_ok
}

revocation_ok if guest == "tdx"

revocation_ok if is_number(report.crl_made_at)

revocation_ok if {
	is_null(report.crl_made_at)
	asked_of_snp.allow_missing_crl == true
}

deny contains {
	"code": "revocation_not_checked",
	"message": "No revocation list of AMD's covers the report's chain, and settings.snp does not allow that.",
	"claim": sprintf("%s.crl_made_at", [report_claim]),
	"expected": "the time of a list",
	"got": shown("crl_made_at"),
} if {
	guest_ok
	not revocation_ok
}

privilege_ok if guest == "tdx"

privilege_ok if report.vmpl == object.get(asked_of_snp, "vmpl", 0)

deny contains {
	"code": "privilege_level",
	"message": "The report was asked for at another privilege level (VMPL) than settings.snp names.",
	"claim": sprintf("%s.vmpl", [report_claim]),
	"expected": object.get(asked_of_snp, "vmpl", 0),
	"got": shown("vmpl"),
} if {
	guest_ok
	not privilege_ok
}

# --- SEV-SNP: product and firmware --------------------------------------------------------------

product_ok if guest == "tdx"

product_ok if {
	is_string(report.product)
	not report.product in object.get(asked_of_snp, "refused_products", [])
}

deny contains {
	"code": "product_refused",
	"message": sprintf("The line of processors %v is not accepted.", [shown("product")]),
	"claim": sprintf("%s.product", [report_claim]),
	"expected": {"refused": object.get(asked_of_snp, "refused_products", [])},
	"got": shown("product"),
} if {
	guest_ok
	not product_ok
}

parts := ["boot_loader", "tee", "snp", "microcode"]

tcbs := ["reported", "committed", "launch"]

# Of each TCB some part has to have a minimum above 0, or nothing is asked of it.
minima := object.get(asked_of_snp, "minimum_tcb", {})

minimum := object.get(minima, report.product, {})

minimum_ok if guest == "tdx"

minimum_ok if {
	every which in tcbs {
		some part in parts
		minimum[which][part] > 0
	}
}

deny contains {
	"code": "tcb_without_minimum",
	"message": "settings.snp.minimum_tcb names no minimum of reported, committed and launch TCB for this line of processors.",
	"claim": sprintf("%s.product", [report_claim]),
	"expected": object.keys(minima),
	"got": shown("product"),
} if {
	guest_ok
	not minimum_ok
}

# Parts of the TCBs that are below their minimum; a part without one may have any, and a part that is missing is 0.
below contains {"which": which, "part": part, "expected": least, "got": version} if {
	some which in tcbs
	some part in ["fmc", "boot_loader", "tee", "snp", "microcode"]
	least := object.get(minimum, [which, part], 0)
	version := object.get(report, ["tcb", which, part], null)
	not at_least(version, least)
}

at_least(version, least) if {
	is_number(version)
	version >= least
}

# Milan and Genoa do not count the first mutable code.
at_least(version, least) if {
	is_null(version)
	least == 0
}

tcb_ok if guest == "tdx"

tcb_ok if {
	minimum_ok
	count(below) == 0
}

deny contains {
	"code": "tcb_below_minimum",
	"message": sprintf("The %s TCB is below the minimum: %s.", [low.which, low.part]),
	"claim": sprintf("%s.tcb.%s.%s", [report_claim, low.which, low.part]),
	"expected": low.expected,
	"got": low.got,
} if {
	guest_ok
	minimum_ok
	not tcb_ok
	some low in below
}

# What the platform has to have, by product; a line that the table leaves out is not accepted.
platform_ok if guest == "tdx"

platform_ok if {
	every name in platform_asked {
		platform_has(name)
	}
}

default platform_asked := null

platform_asked := data.platform[report.product]

platform_has(name) if {
	name in {"alias_check_complete", "ciphertext_hiding", "ecc", "rapl_disabled", "tsme"}
	report.platform[name] == true
}

platform_has("smt_off") if report.platform.smt == false

deny contains {
	"code": "platform_setup",
	"message": "The platform is not set up as `platform` in data.json asks of this line of processors.",
	"claim": sprintf("%s.platform", [report_claim]),
	"expected": platform_asked,
	"got": shown("platform"),
} if {
	guest_ok
	not platform_ok
}

# --- TDX ----------------------------------------------------------------------------------------

asked_of_tdx := object.get(data.settings, "tdx", {})

tdx_status_ok if guest in {"azure", "snp"}

tdx_status_ok if input.claims.tdx.tcb.status in object.get(asked_of_tdx, "tcb_statuses", ["UpToDate"])

deny contains {
	"code": "tdx_tcb_status",
	"message": "Intel does not call the platform's firmware what settings.tdx accepts.",
	"claim": "tdx.tcb.status",
	"expected": object.get(asked_of_tdx, "tcb_statuses", ["UpToDate"]),
	"got": object.get(input.claims, ["tdx", "tcb", "status"], null),
} if {
	guest_ok
	not tdx_status_ok
}

# MRTD is of the guest's firmware only: boot loader, kernel and command line are in RTMR1 and RTMR2, so that these have
# to be named.
registers_ok if guest in {"azure", "snp"}

registers_ok if {
	input.claims.tdx.guest.rtmr1 in asked_of_tdx.rtmrs["1"].one_of
	input.claims.tdx.guest.rtmr2 in asked_of_tdx.rtmrs["2"].one_of
}

deny contains {
	"code": "registers_not_accepted",
	"message": "settings.tdx.rtmrs does not list what the guest's boot loader and kernel were (RTMR1, RTMR2), or the guest shows others.",
	"claim": "tdx.guest.rtmr1",
	"expected": object.get(asked_of_tdx, "rtmrs", {}),
	"got": object.filter(shown_guest, ["rtmr1", "rtmr2"]),
} if {
	guest_ok
	not registers_ok
}

default shown_guest := {}

shown_guest := input.claims.tdx.guest if guest == "tdx"
