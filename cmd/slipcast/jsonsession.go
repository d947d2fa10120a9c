package main

// Fields that several objects about sessions have.
func sessionFields() (name, session, digest, wire, fetched, dropped jsonField) {
	return jsonField{name: "name", meaning: "of the session"},
		jsonField{name: "session", meaning: "its number, in hexadecimal"},
		jsonField{name: "digest", meaning: "of the image, in hexadecimal"},
		jsonField{name: "wire_bytes", meaning: "put onto the wire by multicast, headers of Ethernet, IP and UDP included"},
		jsonField{name: "fetched_bytes", meaning: "that went by HTTPS"},
		jsonField{name: "dropped", meaning: "datagrams that receivers dropped, because they were forged or damaged"}
}

func sessionType() jsonType {
	name, session, digest, _, _, _ := sessionFields()
	return jsonType{"session", "printed by send as soon as receivers can connect", []jsonField{
		name, session, {name: "image", meaning: "IMAGE as it was given"}, digest,
		{name: "image_bytes", meaning: "length of the image"},
		{name: "control", meaning: "address and port where receivers connect"},
		{name: "interface", meaning: "on which it sends"}, {name: "group", meaning: "multicast address and port"},
		{name: "fingerprint", meaning: "SHA-256 of the sender's certificate, in hexadecimal"},
		{name: "keyed", meaning: "whether receivers need the key"},
		{name: "offload", meaning: "how datagrams go to the kernel: gso, batch or single"},
		{name: "max_rate", meaning: "bits a second on the wire that it does not exceed"},
		{name: "status", meaning: "URL of the status page (--status)", optional: true},
	}}
}

func receiversType() jsonType {
	name, session, digest, wire, fetched, dropped := sessionFields()
	return jsonType{"receivers", "on standard error, by send once a second; also /status", []jsonField{
		name, session, digest, {name: "title", meaning: "name of the image"},
		{name: "state", meaning: "of the session: waiting, sending, idle (the last receivers write), over"},
		{name: "frames", meaning: "that the image has"}, {name: "lacking", meaning: "of these, how many some receiver lacks"},
		{name: "frame_bytes", meaning: "bytes of all frames"}, wire, fetched,
		{name: "datagrams", meaning: "that were sent"}, {name: "repairs", meaning: "of these, how many made good for loss"}, dropped,
		{name: "rate", meaning: "bits a second on the wire"}, {name: "max_rate", meaning: "bits a second that it does not exceed"},
		{name: "wait", meaning: "receivers that the start waits for, 0 for none (--wait)"},
		{name: "ready", meaning: "receivers that wait for the start"},
		{name: "start_seconds", meaning: "until the start at the latest, while it waits", optional: true},
		{name: "left_seconds", meaning: "that sending what is lacking takes, if known", optional: true},
		{name: "receivers", meaning: "list of id, name, target, address, state (joining, ready, receiving, behind, fetching, done, failed, lost), reason, " +
			"done and lacked (frames), percent, written_bytes, loss (0 to 1), rate (bits a second of frames), full (its disk is slow)"},
	}}
}

func sentType() jsonType {
	name, session, digest, wire, fetched, dropped := sessionFields()
	return jsonType{"sent", "the result of send, if a receiver came", []jsonField{
		{name: "image", meaning: "IMAGE as it was given"}, digest, {name: "image_bytes", meaning: "length of the image"}, name, session,
		{name: "done", meaning: "receivers that have the image on their disks"}, {name: "receivers", meaning: "list as above"}, wire,
		{name: "wire_ratio", meaning: "wire_bytes for each byte of the image"}, fetched,
		{name: "datagrams", meaning: "that were sent"}, {name: "repairs", meaning: "of these, how many made good for loss"}, dropped,
		{name: "seconds", meaning: "that it took"},
	}}
}

func offerType() jsonType {
	name, session, digest, _, _, _ := sessionFields()
	return jsonType{"offer", "on standard error, by receive when it has found a session", []jsonField{
		name, session, {name: "host", meaning: "name of the sender"}, {name: "from", meaning: "its address and port"},
		{name: "title", meaning: "name of the image"}, digest, {name: "frames", meaning: "that the image has"},
		{name: "frame_bytes", meaning: "bytes of all frames"},
		{name: "fingerprint", meaning: "SHA-256 of the sender's certificate, in hexadecimal"},
		{name: "keyed", meaning: "whether the sender has proved that it knows the key"},
	}}
}

func receivedType() jsonType {
	name, session, digest, _, fetched, dropped := sessionFields()
	return jsonType{"received", "the result of receive", []jsonField{
		{name: "target", meaning: "TARGET as it was given"}, digest, name, session,
		{name: "used_bytes", meaning: "that are in use"}, {name: "written_bytes", meaning: "that were written to the target"},
		{name: "chunks", meaning: "how many there are"}, {name: "kept_chunks", meaning: "of these, already on the target"},
		{name: "table_moved", meaning: "whether the partition table was adapted to a target of another size"},
		{name: "verified", meaning: "whether everything was read back (--verify)"},
		{name: "resumed", meaning: "whether it went on with what an earlier run had left"},
		{name: "datagrams", meaning: "that were taken"}, {name: "missed", meaning: "datagrams that were sent and never came"}, dropped,
		{name: "repaired", meaning: "symbols that were computed from parity"}, fetched,
		{name: "bundles", meaning: "files of bundles that came with the image (--bundles-to)"},
		{name: "seconds", meaning: "that it took"},
	}}
}
