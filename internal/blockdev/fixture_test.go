package blockdev

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// A fixture describes a machine in tables that are easy to read.
type fixture struct {
	// devices has one device on each line, sizes in MiB and a partition
	// behind its disk: "sda 8:0 size=1000", "sda1 8:1 of=sda n=1 start=1
	// size=100", "dm-0 252:0 on=sda1,md0". The path below a loop device is
	// given by file=, read-only by ro=1; any key with a slash in it is a file
	// in sysfs.
	devices string
	mounts  string            // mountinfo
	swaps   string            // paths
	files   map[string]string // path: "MAJOR:MINOR INODE" for plain files
	loops   map[string]string // name: the same, as the ioctl tells it
	btrfs   []string          // "sda1 sdb1"
}

// machine builds the machine.
func (f fixture) machine(t testing.TB) *machine {
	t.Helper()
	sys := fstest.MapFS{"block": {Mode: fs.ModeDir | 0o755}}
	stats := map[string]fileID{"/proc/self/exe": {dev: mustDevno(t, "0:1"), inode: 1}}
	for line := range strings.Lines(f.devices) {
		if fields := strings.Fields(line); len(fields) > 0 {
			f.add(t, sys, stats, fields)
		}
	}
	for i, members := range f.btrfs {
		for _, name := range strings.Fields(members) {
			sys["fs/btrfs/uuid-"+string(rune('a'+i))+"/devices/"+name] = &fstest.MapFile{}
		}
	}
	for path, text := range f.files {
		stats[path] = parseID(t, text)
	}
	proc := fstest.MapFS{
		"self/mountinfo": {Data: []byte(f.mounts)},
		"swaps":          {Data: []byte("Filename\t\t\t\tType\t\tSize\n" + f.swaps)},
	}
	return &machine{sys: sys, proc: proc,
		stat: func(path string) (fileID, error) {
			if id, ok := stats[path]; ok {
				return id, nil
			}
			return fileID{}, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
		},
		loop: func(name string) (dev, rdev devno, ino uint64) {
			if text, ok := f.loops[name]; ok {
				id := parseID(t, text)
				return id.dev, 0, id.inode
			}
			return 0, 0, 0
		},
	}
}

// add puts one device into sysfs and its node into /dev.
func (f fixture) add(t testing.TB, sys fstest.MapFS, stats map[string]fileID, fields []string) {
	name, dev := fields[0], fields[1]
	values := map[string]string{}
	for _, field := range fields[2:] {
		key, value, _ := strings.Cut(field, "=")
		values[key] = value
	}
	dir := "block/" + name
	if disk, ok := values["of"]; ok {
		dir = "block/" + disk + "/" + name
	}
	put := func(path, text string) { sys[dir+"/"+path] = &fstest.MapFile{Data: []byte(text + "\n")} }
	put("dev", dev)
	for key, value := range values {
		switch key {
		case "of":
		case "n":
			put("partition", value)
		case "start", "size":
			put(key, value+"000") // about MiB in sectors of 512 bytes
		case "file":
			put("loop/backing_file", value)
		case "on":
			for lower := range strings.SplitSeq(value, ",") {
				put("slaves/"+lower, "")
			}
		default:
			put(key, value)
		}
	}
	path := "/dev/" + strings.ReplaceAll(name, "!", "/")
	stats[path] = fileID{mode: fs.ModeDevice, rdev: mustDevno(t, dev), dev: mustDevno(t, "0:6"), inode: 100}
	if dm, ok := values["dm/name"]; ok {
		stats["/dev/mapper/"+dm] = stats[path]
	}
}

// load returns the state of the fixture's machine.
func (f fixture) load(t testing.TB) *state {
	t.Helper()
	s, err := f.machine(t).load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verdict returns the Reason for which a target is refused, empty if it is
// not.
func (s *state) verdict(t testing.TB, path string, keep ...string) Reason {
	t.Helper()
	id, err := s.stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return reasonOf(t, s.checkTarget(path, id, TargetOptions{Keep: keep}))
}

// sourceVerdict is verdict for a source.
func (s *state) sourceVerdict(t testing.TB, path string) Reason {
	t.Helper()
	id, err := s.stat(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.checkSource(path, id)
	return reasonOf(t, err)
}

// reasonOf returns the Reason in err, empty if err is nil. Any other error
// fails the test.
func reasonOf(t testing.TB, err error) Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	refused, ok := err.(*RefusedError)
	if !ok {
		t.Fatalf("got error %v, want a *RefusedError", err)
	}
	return refused.Reason
}

func mustDevno(t testing.TB, s string) devno {
	t.Helper()
	d, err := parseDevno(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// parseID reads "MAJOR:MINOR INODE".
func parseID(t testing.TB, s string) fileID {
	t.Helper()
	dev, inode, _ := strings.Cut(s, " ")
	id := fileID{mode: 0o644, dev: mustDevno(t, dev)}
	for _, c := range inode {
		id.inode = id.inode*10 + uint64(c-'0')
	}
	return id
}

func TestParseDevno(t *testing.T) {
	d, err := parseDevno("259:65537\n")
	if err != nil || unix.Major(uint64(d)) != 259 || unix.Minor(uint64(d)) != 65537 || d.String() != "259:65537" {
		t.Errorf("got %v, %v, want 259:65537", d, err)
	}
	for _, bad := range []string{"", "8", "8:", ":1", "8:x", "-1:0", "8:1:2", "99999999999:0"} {
		if d, err := parseDevno(bad); err == nil {
			t.Errorf("parseDevno(%q) = %v, want an error", bad, d)
		}
	}
}
