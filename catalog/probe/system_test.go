package probe

import (
	"maps"
	"strings"
	"testing"
)

const elfX64 = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00"

func TestSystem(t *testing.T) {
	arm := elfX64[:18] + "\xb7\x00"
	tests := []struct {
		name                  string
		files                 tree
		distro, release, arch any
		fault                 string // of arch
	}{
		{"debian", tree{"etc/os-release": "-> ../usr/lib/os-release", "usr/lib/os-release": "ID=debian\nVERSION_ID=\"12\"\n", "sbin": "-> usr/sbin",
			"usr/sbin/init": "-> /lib/systemd/systemd", "lib": "-> usr/lib", "usr/lib/systemd/systemd": elfX64}, "debian", "12", "x64", ""},
		{"arm64, release in usr", tree{"usr/lib/os-release": "# x\nID='a b'\n", "bin/sh": arm}, "a b", "", "arm64", ""},
		{"init is a script", tree{"sbin/init": "#!/bin/sh\n", "bin/sh": elfX64, "etc/os-release": "VERSION_ID=1\nVERSION_ID=2"}, "", "2", "x64", ""},
		{"nothing", tree{}, "", "", nil, "no program is there"},
		{"other machine", tree{"sbin/init": elfX64[:18] + "\x03\x00"}, "", "", nil, "sbin/init: is for ELF machine 3"},
		{"big-endian", tree{"sbin/init": strings.Replace(elfX64, "\x02\x01\x01", "\x02\x02\x01", 1)}, "", "", nil, "is no program"},
		{"short", tree{"sbin/init": elfX64[:19]}, "", "", nil, "is no program"},
		{"empty", tree{"sbin/init": ""}, "", "", nil, "is no program"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, probesOf(t, tt.files), []expectation{
				{probe: "distro", want: tt.distro}, {probe: "release", want: tt.release}, {probe: "arch", want: tt.arch, fault: tt.fault},
			})
		})
	}
	check(t, probesOf(t, tree{"etc/os-release": strings.Repeat("#", maxRelease+1)}), []expectation{{probe: "distro", fault: "more than 65536 bytes"}})
	check(t, probesOf(t, tree{"etc/os-release/": ""}), []expectation{{probe: "distro", fault: "not a regular file"}})
}

func TestParseRelease(t *testing.T) {
	got := parseRelease([]byte("A=1\n  B = 2\n#C=3\nD='x \"y\" \\$'\nE=\"a \\\"q\\\" \\$5 \\n\"\nF=a\\ b\r\nG=\nno\nH=\"open\n=x\nI=a'b'\"c\"\n"))
	want := map[string]string{"A": "1", "B ": " 2", "D": `x "y" \$`, "E": `a "q" $5 \n`, "F": "a b", "G": "", "H": "open", "": "x", "I": "abc"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzRelease holds that a value that is quoted as os-release(5) says is read
// back.
func FuzzRelease(f *testing.F) {
	f.Add("debian", "# x\n")
	f.Add(`a "b" $c \d`, "ID='x")
	f.Fuzz(func(t *testing.T, value, before string) {
		if strings.ContainsAny(value, "\r\n") {
			return
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value)
		if got := parseRelease([]byte(before + "\nID=\"" + quoted + "\"\n"))["ID"]; got != value {
			t.Errorf("%q is read as %q", value, got)
		}
	})
}

func TestMachine(t *testing.T) {
	const none = "there is no machine to ask"
	p := probesOf(t, tree{})
	check(t, p, []expectation{
		{probe: "dmi|vendor", fault: none}, {probe: "modalias|*", fault: none}, {probe: "memory", fault: none}, {probe: "firmware", fault: none},
		{probe: "machine|name", fault: none},
	})
	p = New(p.root, &Machine{
		Name: "pc-1", UUID: "4c4c4544-0042", MAC: "52:54:00:12:34:56", Vendor: "ACME", Product: "Box", Serial: "7", Board: "B1", BIOS: "1.2",
		Modaliases: []string{"pci:v00008086d00001533sv00008086", "acpi:PNP0C0A:"}, Memory: 8 << 30, UEFI: true,
	})
	check(t, p, []expectation{
		{probe: "dmi|vendor", want: "ACME"}, {probe: "dmi|product", want: "Box"}, {probe: "dmi|serial", want: "7"}, {probe: "dmi|board", want: "B1"},
		{probe: "dmi|bios", want: "1.2"}, {probe: "dmi|colour", fault: `no field "colour"`},
		{probe: "modalias|pci:v00008086d0000153?sv*", want: true}, {probe: "modalias|pci:v00008086", want: false}, {probe: "modalias|pci:v0000[19]*", want: false},
		{probe: "modalias|[", fault: "syntax error in pattern"}, {probe: "memory", want: int64(8 << 30)}, {probe: "firmware", want: "uefi"},
		{probe: "machine|name", want: "pc-1"}, {probe: "machine|uuid", want: "4c4c4544-0042"}, {probe: "machine|mac", want: "52:54:00:12:34:56"},
		{probe: "machine|ip", fault: `no "ip"`},
	})
	check(t, New(p.root, &Machine{}), []expectation{{probe: "firmware", want: "bios"}, {probe: "machine|name", want: ""}, {probe: "memory", want: int64(0)}})
}
