# Tier 2: a confidential machine, judged by the evidence of the guest itself.
#
# All that the baseline asks of request, node, caller, place, key and quotas (`release.rego`, unchanged). In the place
# of the TPM's rules stand those of the guest: a host's TPM says nothing of a guest, and the vault leaves its claims
# out. Where more than one guest shows itself, or a TPM speaks for the machine, nothing here is proved.
#
# What reports and quotes have to satisfy stands in `settings.snp` and `settings.tdx`; the vault's verifiers keep to
# it before any rule is asked. The rules below ask it again of the claims, so that a decision shows it, and refuse
# where the settings leave open what they must name.
package strongroom.release

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
