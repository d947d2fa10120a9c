package main

// planStates are what states of a product or bundle there are in a plan.
const planStates = "installed, missing, not-applicable, unknown, superseded or recalled"

func probesField() jsonField {
	return jsonField{name: "probes", meaning: "list of what was asked: probe, args, and value or err", optional: true}
}

func severityField() jsonField {
	return jsonField{name: "severity", meaning: "critical, important, moderate or low", optional: true}
}

func planStepType() jsonType {
	return jsonType{"plan_step", "one for each bundle that catalog plan would bring, in order", []jsonField{
		{name: "bundle", meaning: "its ID"}, {name: "digest", meaning: "of its manifest, in hexadecimal"},
		{name: "from", meaning: "version that it goes onto", optional: true},
		{name: "from_release", meaning: "release of that, if it is known", optional: true},
		severityField(), {name: "bytes", meaning: "length of its file", optional: true},
		{name: "reboot", meaning: "never, deferred, required or between", optional: true},
		{name: "restart", meaning: "whether the system is started anew before it", optional: true},
		{name: "downgrade", meaning: "whether it is older than what is there", optional: true},
		{name: "params", meaning: "list of settings: name, and value, secret or machine", optional: true},
		{name: "why", meaning: "for people"},
	}}
}

func planProductType() jsonType {
	return jsonType{"plan_product", "one for each product, by catalog plan", []jsonField{
		{name: "name", meaning: "NAME or NAME/TRACK"}, {name: "state", meaning: planStates},
		{name: "version", meaning: "that is there", optional: true}, {name: "release", meaning: "of it, if it is known", optional: true},
		{name: "unsure", meaning: "whether nobody knows which version is there", optional: true},
		{name: "goal", meaning: "ID of the bundle that ought to be there", optional: true},
		{name: "after", meaning: "version after the plan, if that changes it", optional: true}, severityField(),
		{name: "reason", meaning: "for people"}, probesField(),
	}}
}

func planBundleType() jsonType {
	return jsonType{"plan_bundle", "one for each bundle of the catalog, by catalog plan", []jsonField{
		{name: "bundle", meaning: "its ID"}, {name: "state", meaning: planStates}, {name: "reason", meaning: "for people"}, probesField(),
	}}
}

func planType() jsonType {
	return jsonType{"plan", "the result of catalog plan", []jsonField{
		{name: "digest", meaning: "of the plan, in hexadecimal"},
		{name: "root", meaning: "digest of the image or tree that was looked at; empty for the system that runs"},
		{name: "catalog", meaning: "version of the catalog's list"}, {name: "steps", meaning: "how many there are"},
		{name: "reboots", meaning: "how many there are"}, {name: "bytes", meaning: "length of the files of all steps"},
	}}
}

func complianceCellType() jsonType {
	return jsonType{"compliance_cell", "one for each product, by catalog compliance", []jsonField{
		{name: "root", meaning: "the system, as it was given"}, {name: "product", meaning: "NAME or NAME/TRACK"},
		{name: "state", meaning: "ok, missing, pending-reboot, failed, detect-broken, drifted, recalled, superseded, waived, not-applicable or unknown"},
		{name: "compliant", meaning: "whether it is as it ought to be"}, {name: "version", meaning: "that is there", optional: true},
		{name: "goal", meaning: "ID of the bundle that ought to be there", optional: true}, severityField(),
		{name: "since", meaning: "when it was first seen not to be compliant, as in RFC 3339", optional: true},
		{name: "overdue", meaning: "whether that is longer ago than its severity allows"}, {name: "reason", meaning: "for people"},
	}}
}

func complianceType() jsonType {
	return jsonType{"compliance", "the result of catalog compliance", []jsonField{
		{name: "time", meaning: "of the judgement, as in RFC 3339"}, {name: "percent", meaning: "compliant ones of those that apply"},
		{name: "overdue", meaning: "how many are"}, {name: "states", meaning: "how many are in each state"},
	}}
}

func impactType() jsonType {
	return jsonType{"impact", "the result of catalog impact", []jsonField{
		{name: "machines", meaning: "how many there are"}, {name: "steps", meaning: "how many bundles"}, {name: "reboots", meaning: "how many"},
		{name: "bytes", meaning: "length of the bundles' files"}, {name: "written_bytes", meaning: "of contents, besides what packages and programs write"},
		{name: "files", meaning: "list of path, effect (new, replaced, edited, removed), owner, files (in a folder that goes) and bundles"},
		{name: "owners", meaning: "list of name and files"},
		{name: "packages", meaning: "list of name, from, to, effect (new, replaced, downgraded, same) and bundle"},
		{name: "downgrades", meaning: "list of texts"}, {name: "programs", meaning: "list of texts: what these change, nobody knows before"},
	}}
}

func appliedType() jsonType {
	return jsonType{"applied", "one for each bundle that catalog apply applies", []jsonField{
		{name: "bundle", meaning: "its ID"}, {name: "digest", meaning: "of its manifest, in hexadecimal"},
		{name: "paths", meaning: "how many were changed"}, {name: "reboot", meaning: "never, deferred, required, between or empty, which is never"},
		{name: "first_boot", meaning: "whether programs wait for the next start of the system"},
	}}
}

func failedType() jsonType {
	return jsonType{"failed", "by catalog apply, for a bundle of which nothing is there", []jsonField{
		{name: "bundle", meaning: "its ID"}, {name: "digest", meaning: "of its manifest, in hexadecimal"}, {name: "reason", meaning: "for people"},
	}}
}

func productType() jsonType {
	return jsonType{"product", "one for each product, by catalog apply at its end", []jsonField{
		{name: "product", meaning: "NAME or NAME/TRACK"}, {name: "state", meaning: "as that of a compliance_cell"},
		{name: "version", meaning: "that is there, or empty"}, {name: "goal", meaning: "ID of the bundle that ought to be there, or empty"},
		{name: "severity", meaning: "critical, important, moderate, low or empty"}, {name: "reason", meaning: "for people"},
	}}
}

func undoneType() jsonType {
	return jsonType{"undone", "one for each product that catalog undo takes off", []jsonField{
		{name: "bundle", meaning: "its ID"}, {name: "paths", meaning: "how many were changed back"},
	}}
}

func bakedType() jsonType {
	return jsonType{"baked", "the result of catalog bake", []jsonField{
		{name: "source", meaning: "IMAGE as it was given"}, {name: "parent", meaning: "digest of that, in hexadecimal"},
		{name: "bundles", meaning: "list of IDs that were baked in"}, {name: "digest", meaning: "of the new image; of the parent if nothing was lacking"},
		{name: "new", meaning: "whether it was baked now; false if it was there already, or nothing was lacking"},
		{name: "name", meaning: "of the new image in the store", optional: true}, {name: "version", meaning: "of it", optional: true},
		{name: "recipe", meaning: "digest of the recipe", optional: true}, {name: "new_chunks", meaning: "that the store did not have", optional: true},
		{name: "written_bytes", meaning: "of these", optional: true}, {name: "seconds", meaning: "that it took"},
	}}
}
