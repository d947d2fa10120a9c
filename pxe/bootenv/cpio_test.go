package bootenv

import (
	"bytes"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// archive returns an archive of the entries.
func archive(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	c := NewCPIOWriter(&b)
	for _, e := range entries {
		if err := c.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unarchived returns the entries of an archive.
func unarchived(p []byte) (entries []Entry, err error) {
	err = ReadCPIO(bytes.NewReader(p), func(e Entry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func TestCPIO(t *testing.T) {
	console := Entry{Name: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Data: []byte{}, Major: 5, Minor: 1}
	file := Entry{Name: "lib/firmware/a.bin", Mode: 0o644, Data: []byte("12345")}
	link := Entry{Name: "lib/firmware/b.bin", Mode: fs.ModeSymlink | 0o777, Data: []byte("a.bin")}
	p := archive(t, console, file, link)
	dir := func(name string) Entry { return Entry{Name: name, Mode: fs.ModeDir | 0o755, Data: []byte{}} }
	want := []Entry{dir("dev"), console, dir("lib"), dir("lib/firmware"), file, link}
	got, err := unarchived(p)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("archive reads as %+v, %v, want %+v", got, err, want)
	}
	if len(p)%4 != 0 {
		t.Errorf("archive has %d bytes, want a multiple of four", len(p))
	}
	if again := archive(t, console, file, link); !bytes.Equal(p, again) {
		t.Error("the same entries make another archive")
	}
}

func TestCPIOWriterRefuses(t *testing.T) {
	for _, e := range []Entry{
		{Name: "/init"}, {Name: "../init"}, {Name: "."}, {Name: ""}, {Name: "TRAILER!!!"},
		{Name: "pipe", Mode: fs.ModeNamedPipe},
	} {
		if err := NewCPIOWriter(&bytes.Buffer{}).Add(e); err == nil {
			t.Errorf("Add(%+v) = nil, want an error", e)
		}
	}
}

func TestReadCPIORejects(t *testing.T) {
	good := string(archive(t, Entry{Name: "init", Mode: 0o755, Data: []byte("x")}))
	tests := []struct{ name, archive string }{
		{"empty", ""},
		{"cut short in the header", good[:50]},
		{"cut short in the data", good[:cpioHeader+10]},
		{"without a trailer", good[:cpioHeader+12]},
		{"old magic", strings.Replace(good, "070701", "070707", 1)},
		{"no hexadecimal", strings.Replace(good, "07070100000001", "0707010000000g", 1)},
		{"a huge name", good[:94] + "ffffffff" + good[102:]},
		{"a huge file", good[:54] + "ffffffff" + good[62:]},
		{"a name that leads out", strings.Replace(good, "init", "../i", 1)},
		{"a socket", strings.Replace(good, "000081ed", "0000c1ed", 1)},
		{"bytes between", strings.Replace(good, "x\x00\x00\x00", "xyz\x00", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := unarchived([]byte(tt.archive)); !errors.Is(err, ErrMalformed) {
				t.Errorf("ReadCPIO = %+v, %v, want ErrMalformed", got, err)
			}
		})
	}
}

// What is read and written again reads the same.
func FuzzReadCPIO(f *testing.F) {
	f.Add(archive(f, Entry{Name: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice, Major: 5, Minor: 1}))
	f.Add(archive(f, Entry{Name: "init", Mode: 0o755, Data: []byte("x")}, Entry{Name: "l", Mode: fs.ModeSymlink, Data: []byte("init")}))
	f.Fuzz(func(t *testing.T, p []byte) {
		entries, err := unarchived(p)
		if err != nil {
			return // refusing is always allowed, panicking never
		}
		names := map[string]bool{}
		for _, e := range entries {
			if names[e.Name] || e.Name == "." {
				return // the writer writes folders once, and before what is in them
			}
			for name := range names {
				if strings.HasPrefix(name, e.Name+"/") {
					return
				}
			}
			names[e.Name] = true
		}
		again, err := unarchived(archive(t, entries...))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Mode.IsDir() {
				continue // has lost its permissions if it was made for a file
			}
			found := false
			for _, a := range again {
				found = found || reflect.DeepEqual(a, e)
			}
			if !found {
				t.Errorf("%+v is not in what is written again", e)
			}
		}
	})
}
