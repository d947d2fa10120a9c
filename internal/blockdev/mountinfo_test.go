package blockdev

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseMounts(t *testing.T) {
	const text = `22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
40 22 0:45 /@home /home rw - btrfs /dev/sdb1 rw,subvol=/@home
41 22 8:17 / /media/my\040stick\134 rw,nosuid shared:9 master:3 propagate_from:2 - fuseblk /dev/sdb1 rw
42 22 0:50 / /merged rw - overlay overlay rw,lowerdir=/a\054b:/c,upperdir=/u
43 22 0:51 / /empty rw - tmpfs  rw
`
	got, err := parseMounts(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []mount{
		{22, 1, mustDevno(t, "259:2"), "/", "/", "ext4", "/dev/nvme0n1p2", []string{"rw", "errors=remount-ro"}},
		{40, 22, mustDevno(t, "0:45"), "/@home", "/home", "btrfs", "/dev/sdb1", []string{"rw", "subvol=/@home"}},
		{41, 22, mustDevno(t, "8:17"), "/", `/media/my stick\`, "fuseblk", "/dev/sdb1", []string{"rw"}},
		{42, 22, mustDevno(t, "0:50"), "/", "/merged", "overlay", "overlay", []string{"rw", "lowerdir=/a,b:/c", "upperdir=/u"}},
		{43, 22, mustDevno(t, "0:51"), "/", "/empty", "tmpfs", "", []string{"rw"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseMountsRejects(t *testing.T) {
	tests := []struct{ name, line string }{
		{"empty line", ""},
		{"no dash", "22 1 8:2 / / rw ext4 /dev/sda2 rw"},
		{"too few fields", "22 1 8:2 / / - ext4 /dev/sda2 rw"},
		{"nothing after the dash", "22 1 8:2 / / rw - "},
		{"a field too many", "22 1 8:2 / / rw - ext4 /dev/sda2 rw more"},
		{"no number", "x 1 8:2 / / rw - ext4 /dev/sda2 rw"},
		{"no device", "22 1 82 / / rw - ext4 /dev/sda2 rw"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := parseMounts(strings.NewReader(tt.line + "\n")); err == nil {
				t.Errorf("got %+v, want an error", got)
			}
		})
	}
}

func TestUnescape(t *testing.T) {
	tests := []struct{ in, want string }{
		{`plain`, "plain"},
		{`a\040b`, "a b"},
		{`\011\012\134`, "\t\n\\"},
		{`end\`, `end\`},
		{`end\04`, `end\04`},
		{`\999`, `\999`},
		{`\777`, `\777`}, // more than a byte
		{`\134040`, `\040`},
	}
	for _, tt := range tests {
		if got := Unescape(tt.in); got != tt.want {
			t.Errorf("Unescape(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestMountOf(t *testing.T) {
	mounts := []mount{{id: 1, point: "/"}, {id: 2, point: "/srv"}, {id: 3, point: "/srv/a"}, {id: 4, point: "/srv"}}
	for path, want := range map[string]int{"/": 1, "/srvx": 1, "/srv": 4, "/srv/b": 4, "/srv/a/b": 3} {
		if got := mountOf(mounts, path); got == nil || got.id != want {
			t.Errorf("mountOf(%s) = %+v, want id %d", path, got, want)
		}
	}
	if got := mountOf(mounts[1:], "/etc"); got != nil {
		t.Errorf("got %+v, want none", got)
	}
}

func TestParseSwaps(t *testing.T) {
	const text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" +
		"/dev/dm-1                               partition\t999420\t\t0\t\t-2\n" +
		"/my\\040swap                             file\t\t1024\t\t0\t\t-3\n" +
		"/gone\\040(deleted)                      file\t\t1024\t\t0\t\t-4\n"
	got, err := parseSwaps(strings.NewReader(text))
	want := []string{"/dev/dm-1", "/my swap", "/gone"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := parseSwaps(strings.NewReader("")); err != nil || got != nil {
		t.Errorf("empty: got %q, %v", got, err)
	}
}

// escape writes a string as the kernel does, with all that could divide the
// line escaped.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(" \t\n\r,\\", s[i]) >= 0 {
			fmt.Fprintf(&b, `\%03o`, s[i])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// FuzzMountinfo checks that what was understood can be written down and is
// understood in the same way again.
func FuzzMountinfo(f *testing.F) {
	f.Add("22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro")
	f.Add(`41 22 8:17 / /media/my\040stick rw - fuseblk /dev/sdb1 rw`)
	f.Add("42 22 0:50 / /merged rw - overlay overlay rw,lowerdir=/a\\054b:/c\n43 22 0:51 / /e rw - tmpfs  rw")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseMounts(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, m := range mounts {
			options := make([]string, len(m.options))
			for i, o := range m.options {
				options[i] = escape(o)
			}
			line := fmt.Sprintf("%d %d %v %s %s rw - %s %s %s", m.id, m.parent, m.dev, escape(m.root), escape(m.point),
				escape(m.fsType), escape(m.source), strings.Join(options, ","))
			again, err := parseMount(line)
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Errorf("%+v becomes %q, which is read as %+v, %v", m, line, again, err)
			}
		}
	})
}
