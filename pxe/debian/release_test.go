package debian

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const zeroDigest = "0000000000000000000000000000000000000000000000000000000000000000"

func TestParseRelease(t *testing.T) {
	text := "Suite: stable-security\nCodename: trixie-security\nDate: Sat, 21 Nov 2026 00:53:03 UTC\n" +
		"Valid-Until: Sat,  5 Dec 2026 00:53:03 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n 00 5 main/other\nSHA256:\n " +
		zeroDigest + "  307764 main/binary-amd64/Packages.xz\n"
	got, err := parseRelease(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got.suite != "stable-security" || got.codename != "trixie-security" || !got.byHash {
		t.Errorf("parseRelease = %+v", got)
	}
	if want := time.Date(2026, 12, 5, 0, 53, 3, 0, time.UTC); !got.validUntil.Equal(want) {
		t.Errorf("valid until %v, want %v", got.validUntil, want)
	}
	if e, ok := got.files["main/binary-amd64/Packages.xz"]; len(got.files) != 1 || !ok || e.size != 307764 {
		t.Errorf("files = %+v, want the one list with 307764 bytes", got.files)
	}
}

func TestParseReleaseRejects(t *testing.T) {
	tests := []struct{ name, text string }{
		{"empty", ""},
		{"two paragraphs", "Suite: a\n\nSuite: b\n"},
		{"no date", "Date: yesterday\n"},
		{"another time zone", "Date: Sat, 21 Nov 2026 00:53:03 CET\n"},
		{"expiry", "Valid-Until: 2026-11-21\n"},
		{"two fields", "SHA256:\n " + zeroDigest + " 1\n"},
		{"short digest", "SHA256:\n 00 1 a\n"},
		{"digest that is not hex", "SHA256:\n " + strings.Repeat("x", 64) + " 1 a\n"},
		{"negative size", "SHA256:\n " + zeroDigest + " -1 a\n"},
		{"huge size", "SHA256:\n " + zeroDigest + " 9223372036854775808 a\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := parseRelease(strings.NewReader(tt.text)); !errors.Is(err, ErrMalformed) {
				t.Errorf("parseRelease = %+v, %v, want ErrMalformed", got, err)
			}
		})
	}
}

// FuzzRelease writes down the files that were read, and reads them again.
func FuzzRelease(f *testing.F) {
	f.Add("Suite: a\nDate: Sat, 21 Nov 2026 00:53:03 UTC\nSHA256:\n " + zeroDigest + " 1 a/b\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseRelease(strings.NewReader(text))
		if err != nil {
			return
		}
		again := "SHA256:\n"
		for name, e := range got.files {
			again += fmt.Sprintf(" %x %d %s\n", e.digest, e.size, name)
		}
		back, err := parseRelease(strings.NewReader(again))
		if err != nil || len(back.files) != len(got.files) {
			t.Fatalf("%q gives %v, which reads back as %v, %v", text, got.files, back, err)
		}
		for name, e := range got.files {
			if back.files[name] != e || e.size < 0 {
				t.Errorf("%q: %q is %v, and %v when read again", text, name, e, back.files[name])
			}
		}
	})
}
