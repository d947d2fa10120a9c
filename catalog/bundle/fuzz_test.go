package bundle

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A file that opens and verifies has the manifest that it says, and opening it
// ends with an error of ours otherwise.
func FuzzOpen(f *testing.F) {
	f.Add(seekable(f, goodStream(f)))
	f.Add(seekable(f, member(manifestName, encoded(f, full()))+end))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		b, err := Open(bytes.NewReader(file), int64(len(file)))
		if err == nil {
			err = b.Verify(t.Context(), nil)
		}
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBundle) {
				t.Errorf("err = %v, want ErrDamaged or ErrNotBundle", err)
			}
			return
		}
		p, err := b.Manifest.Encode()
		if err != nil || digestOf(string(p)) != b.Digest {
			t.Errorf("the digest is %s, but that of the manifest is %s (%v)", b.Digest, digestOf(string(p)), err)
		}
		for n, want := range b.Manifest.Files {
			if got := digestOf(read(t, b, n)); got != want.SHA256 {
				t.Errorf("contents %d have the digest %s, want %s", n, got, want.SHA256)
			}
		}
	})
}

// Whatever is no stream of ours is refused before the frames are: so the
// stream itself is fuzzed here.
func FuzzStream(f *testing.F) {
	f.Add([]byte(goodStream(f)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 1<<20 {
			return
		}
		if err := check(t, seekable(t, string(stream))); err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBundle) {
				t.Errorf("err = %v, want ErrDamaged or ErrNotBundle", err)
			}
			return
		}
		if !bytes.HasSuffix(stream, []byte(end)) || !bytes.HasPrefix(stream, []byte(manifestName)) {
			t.Errorf("a stream that is no bundle is accepted: %q", stream)
		}
	})
}

// What decodes encodes to the same bytes.
func FuzzManifest(f *testing.F) {
	for _, m := range []*Manifest{full(), windowsManifest(), sample("x")} {
		f.Add([]byte(encoded(f, m)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := DecodeManifest(p)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("err = %v, want ErrDamaged", err)
			}
			return
		}
		again, err := m.Encode()
		if err != nil || !bytes.Equal(again, p) {
			t.Errorf("decodes, but encodes to %s (%v), want %s", again, err, p)
		}
	})
}

// A header that decodes encodes to one that decodes to the same.
func FuzzHeader(f *testing.F) {
	for _, m := range []*Manifest{full(), windowsManifest()} {
		p, err := m.Header.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := DecodeHeader(p)
		if err != nil {
			return
		}
		q, err := h.Encode()
		if err != nil {
			t.Fatalf("decodes, but does not encode: %v", err)
		}
		again, err := DecodeHeader(q)
		if err != nil {
			t.Fatalf("encodes to %s, which does not decode: %v", q, err)
		}
		if r, err := again.Encode(); err != nil || !bytes.Equal(q, r) {
			t.Errorf("encodes to %s and then to %s (%v)", q, r, err)
		}
		if _, err := ParseID(h.ID()); err != nil {
			t.Errorf("ID %s: %v", h.ID(), err)
		}
	})
}

// A package that is read has what dpkg would find in it: values of one line.
func FuzzDeb(f *testing.F) {
	for _, ending := range []string{"", ".gz", ".xz", ".zst"} {
		f.Add([]byte(debOf(f, ending, control)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := readDeb(bytes.NewReader(p))
		if err != nil {
			return
		}
		if strings.ContainsAny(got.Name+got.Version+got.Arch, "\n") {
			t.Errorf("%+v has a value of more than one line", got)
		}
	})
}

// The bounds of an RPM package's header hold: nothing behind its end is read.
func FuzzRPM(f *testing.F) {
	f.Add([]byte(rpmOf(headerOf(tag{1, rpmString, "odd\x00"}), headerOf(rpmTagsOf()...))))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := readRPM(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			return
		}
		if strings.ContainsAny(got.Name+got.Version+got.Arch, "\x00") || len(got.Name) > maxRPMText {
			t.Errorf("%+v has a value beyond its end", got)
		}
		for _, part := range []string{got.Name, got.Arch} {
			if !bytes.Contains(p, []byte(part)) {
				t.Errorf("%q is not in the package", part)
			}
		}
	})
}

// What is wrong with bundle.yaml is told with the file's name; a line is one of
// the file's.
func FuzzYAML(f *testing.F) {
	f.Add(everything)
	f.Add(exampleYAML)
	f.Add(head + "payload:\n  - overlay: {from: files}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 {
			return
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		r, err := readRecipe([]byte(text))
		if err != nil {
			var line *lineError
			if errors.As(err, &line) && (line.line < 1 || line.line > lines) {
				t.Errorf("line %d of %d: %v", line.line, lines, err)
			}
			if !strings.HasPrefix(err.Error(), yamlName+":") {
				t.Errorf("err = %v, want one that begins with %s:", err, yamlName)
			}
			return
		}
		for where, line := range r.lines {
			if line < 1 || line > lines {
				t.Errorf("%s is on line %d of %d", where, line, lines)
			}
		}
	})
}
