package strongroom.release_test

import data.strongroom.release

refused_as_closed(request) if {
	not release.allow with input as request
	denials := release.deny with input as request
	{denial.code | some denial in denials} == {"closed"}
}

test_nothing_is_released if refused_as_closed({"act": "release", "keys": [{"asset": "minilm"}]})

test_nothing_is_renewed if refused_as_closed({"act": "renew", "keys": [{"asset": "minilm"}]})
