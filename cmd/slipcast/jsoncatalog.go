package main

// versionFields are the versions of a catalog.
func versionFields() []jsonField {
	return []jsonField{
		{name: "root", meaning: "version of the root"}, {name: "targets", meaning: "version of the list"},
		{name: "snapshot", meaning: "version of the snapshot"}, {name: "timestamp", meaning: "version of the timestamp"},
	}
}

// pendingField tells whether something counts already.
func pendingField() jsonField {
	return jsonField{name: "pending", meaning: "whether it counts only after slipcast catalog refresh"}
}

// recalledField tells of a recall.
func recalledField() jsonField {
	return jsonField{name: "recalled", meaning: "why it is not to be used any more, if it was recalled", optional: true}
}

func catalogType() jsonType {
	return jsonType{"catalog", "the result of catalog init", []jsonField{
		{name: "catalog", meaning: "its folder"}, {name: "online_key", meaning: "file that was made"},
		{name: "release_key", meaning: "file that was made, if it was", optional: true}, {name: "expires", meaning: "when the root does, as in RFC 3339"},
	}}
}

func releasedType() jsonType {
	return jsonType{"released", "the result of catalog release", append([]jsonField{
		{name: "bundles", meaning: "list of IDs"}, {name: "images", meaning: "list of NAME@VERSION"},
		{name: "recalled", meaning: "list of what was recalled"}, pendingField(),
	}, versionFields()...)}
}

func releasedBundleType() jsonType {
	return jsonType{"released_bundle", "one for each bundle that catalog list finds", []jsonField{
		{name: "bundle", meaning: "its ID"}, {name: "digest", meaning: "of its manifest, in hexadecimal"},
		{name: "file_sha256", meaning: "of its file, in hexadecimal"}, {name: "file_bytes", meaning: "length of its file"},
		{name: "header", meaning: "its header, as docs/bundles.md has it"},
		{name: "author", meaning: "number of the key of its author, if a signature was asked for", optional: true}, recalledField(),
	}}
}

func releasedImageType() jsonType {
	return jsonType{"released_image", "one for each image that catalog list finds", []jsonField{
		{name: "image", meaning: "NAME@VERSION"}, {name: "digest", meaning: "of the image, in hexadecimal"},
		{name: "disk_bytes", meaning: "size of the disk in the image"},
		{name: "parent", meaning: "digest of the image that it was made from, if it was", optional: true},
		{name: "bundles", meaning: "list of IDs that were baked in, with parent", optional: true}, recalledField(),
	}}
}

func refreshedType() jsonType {
	return jsonType{"refreshed", "the result of catalog refresh", append([]jsonField{
		{name: "signed", meaning: "whether anything was due"},
	}, versionFields()...)}
}

func rotatedType() jsonType {
	return jsonType{"rotated", "the result of catalog rotate", append([]jsonField{pendingField()}, versionFields()...)}
}

func keyType() jsonType {
	return jsonType{"key", "the result of catalog key", []jsonField{
		{name: "number", meaning: "what minisign calls the key"}, {name: "key_id", meaning: "what the catalog calls it"},
		{name: "public", meaning: "its public half, in base64"},
	}}
}

func signedType() jsonType {
	return jsonType{"signed", "one for each file that catalog sign signs", []jsonField{
		{name: "file", meaning: "FILE as it was given"}, {name: "signature", meaning: "file that was written"},
		{name: "author", meaning: "number of the key"},
	}}
}
