# For an incident: releases nothing and renews nothing on evidence, whoever asks for whatever.
#
# Keep `pcr_selection` in data.json as it is in your own policy: quotes of another selection are refused
# before a policy is asked, and then the reason would not say that the vault was closed.
package strongroom.release

allow := false

deny contains {
	"code": "closed",
	"message": "Nothing is released for now: the vault was closed by a policy.",
	"claim": "act",
	"expected": "nothing",
	"got": input.act,
} if {
	true
}

obligations := {
	"lease_seconds": data.settings.lease_seconds,
	"renew_after": data.settings.renew_after,
	"reattest_after": data.settings.reattest_after,
	"handling": data.settings.handling,
	"plaintext_to_disk": false,
}
