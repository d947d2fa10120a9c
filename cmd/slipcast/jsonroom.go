package main

// machineType documents the objects of the machine commands.
func machineType() jsonType {
	return jsonType{"machine", "one for each machine that machine list, show and set are about", []jsonField{
		{name: "id", meaning: "8 hexadecimal digits, never changes"}, {name: "name", meaning: "a host name"},
		{name: "uuid", meaning: "of SMBIOS", optional: true}, {name: "serial", meaning: "number", optional: true},
		{name: "vendor", meaning: "that made it", optional: true}, {name: "product", meaning: "its model", optional: true},
		{name: "mac", meaning: "address that it was booted from last"},
		{name: "settings", meaning: "loader, args, disk, hostname, note: what machine set has set"},
		{name: "ambiguous", meaning: "why it cannot be told from another one, and gets no job", optional: true},
		{name: "first_seen", meaning: "when, as in RFC 3339"}, {name: "last_seen", meaning: "when it said hello or reported"},
		{name: "inventory", meaning: "what it is made of (show, set)", optional: true},
		{name: "macs", meaning: "list of the addresses that tell it (show, set)", optional: true},
		{name: "job", meaning: "the open one, or else the last, as the object job", optional: true},
		{name: "compliance", meaning: "how it stood to the catalog after its last restore: cells, good, percent, looked", optional: true},
		{name: "cells", meaning: "list of product, version, state, severity, reason, since: one for each product (show, set)", optional: true},
		{name: "events", meaning: "list of time, machine, job, actor, text, the newest first (show)", optional: true},
	}}
}

// jobType documents the objects of the job commands.
func jobType() jsonType {
	return jsonType{"job", "one for each job that a job command makes, shows or changes", []jsonField{
		{name: "id", meaning: "its number"}, {name: "batch", meaning: "the same for jobs that were created together"},
		{name: "machine", meaning: "id of its machine"}, {name: "machine_name", meaning: "its name"},
		{name: "kind", meaning: "restore, capture, inventory, wipe or shell"},
		{name: "image", meaning: "NAME@VERSION to restore, NAME to capture to", optional: true},
		{name: "digest", meaning: "of the image to restore", optional: true},
		{name: "need_bytes", meaning: "the smallest disk that holds it", optional: true},
		{name: "options", meaning: "multicast, delta, grow, verify, level, disk, hostname, as_is, apply, end, wake"},
		{name: "state", meaning: "pending, offered, working, done, failed or cancelled"},
		{name: "offers", meaning: "how often the machine fetched its archive since the last hello"},
		{name: "attempts", meaning: "how often the job was taken"},
		{name: "not_before", meaning: "when its window opens, as in RFC 3339"}, {name: "not_after", meaning: "when it closes"},
		{name: "offered", meaning: "when the last time", optional: true}, {name: "error", meaning: "why it failed or was cancelled", optional: true},
		{name: "created", meaning: "when"}, {name: "by", meaning: "who created it"},
		{name: "started", meaning: "when it was taken first", optional: true}, {name: "reported", meaning: "when the agent did last", optional: true},
		{name: "ended", meaning: "when", optional: true},
		{name: "status", meaning: "what the agent said last: step, done_bytes, total_bytes, bytes_per_second, disk, asking, question, candidates, result, notes"},
		{name: "choice", meaning: "of a disk, by somebody", optional: true},
		{name: "lines", meaning: "list of time and text of the agent's log (show)", optional: true},
	}}
}

// findingType documents what serve --check finds.
func findingType() jsonType {
	return jsonType{"finding", "one for each thing that serve --check finds", []jsonField{
		{name: "severity", meaning: "note; warning: some machines may not boot; fatal: none does"},
		{name: "about", meaning: "what it is, for people"}, {name: "way_out", meaning: "for people; empty if it needs none"},
	}}
}

// dhcpServerType documents the lines for DHCP servers.
func dhcpServerType() jsonType {
	return jsonType{"dhcp_server", "one for each kind of DHCP server, by serve --check --dhcp off", []jsonField{
		{name: "server", meaning: "dnsmasq, ISC dhcpd, Kea or Windows"},
		{name: "file", meaning: "where the lines go, for people"}, {name: "lines", meaning: "what it must be told"},
	}}
}

// checkedType documents how serve --check ends.
func checkedType() jsonType {
	return jsonType{"checked", "the result of serve --check", []jsonField{
		{name: "findings", meaning: "how many there are"}, {name: "fatal", meaning: "how many of them keep all machines from booting"},
	}}
}
