package fleet

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"slipcast/agent/wire"
)

// What ParseRule takes, FormatRule writes so that it is taken as the same.
func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"", "serial=S4EWNX0R", "min=200G,transport=nvme", "path=pci-0000:00:17.0-ata-1,max=1.5TiB", "min=1,min=2", "=", "model=a=b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("ParseRule(%q) = %v, want ErrMalformed", text, err)
			}
			return
		}
		if again, err := ParseRule(FormatRule(r)); err != nil || again != r {
			t.Errorf("%q is %+v, written as %q, which is %+v, %v", text, r, FormatRule(r), again, err)
		}
	})
}

// An inventory that is taken is plain, within its bounds, and the same when it
// is cleaned again; so is what it is known by.
func FuzzInventory(f *testing.F) {
	f.Add([]byte(mustJSON(newPC(1).Inventory)))
	f.Add([]byte(`{"uuid":"FFFFFFFF-ffff-ffff-ffff-ffffffffffff","serial":" \u0000To Be Filled By O.E.M. ","nics":[{"mac":"ff:ff:ff:ff:ff:ff"}]}`))
	f.Add([]byte(`{"disks":[{"size_bytes":-1}],"threads":-2}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		var inv wire.Inventory
		if decode(p, &inv) != nil || cleanInventory(&inv) != nil {
			return
		}
		text := mustJSON(inv)
		var again wire.Inventory
		if err := json.Unmarshal([]byte(text), &again); err != nil {
			t.Fatal(err)
		}
		if err := cleanInventory(&again); err != nil || mustJSON(again) != text {
			t.Errorf("cleaned twice: %s, %v; once: %s", mustJSON(again), err, text)
		}
		for _, field := range []string{inv.Serial, inv.Vendor, inv.Product, inv.CPU} {
			checkPlain(t, field, wire.MaxField)
		}
		id := identify(&inv, nil)
		for _, mac := range id.macs {
			if wire.MAC(mac) != mac {
				t.Errorf("known by the MAC address %q", mac)
			}
		}
	})
}

func checkPlain(t *testing.T, text string, most int) {
	t.Helper()
	if len(text) > most || !utf8.ValidString(text) || strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q is not plain", text)
	}
}

// A report that is taken is within its bounds.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"schema":1,"job":"7","seq":1,"state":"working","done_bytes":5,"total_bytes":10,"lines":[{"time":"2026-11-22T10:00:00Z","text":"a\u001b[2J"}]}`))
	f.Add([]byte(`{"seq":18446744073709551615,"state":"asking","candidates":[{"serial":"S"}]}`))
	f.Add([]byte(`{"seq":2,"state":"done","cells":[{"product":"reader","state":"ok"},{"product":"a\u202eb","version":" 1\u0000","state":"missing","severity":"critical","reason":"no way\nfrom 8.1"}]}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		var r wire.Report
		if decode(p, &r) != nil || cleanReport(&r) != nil {
			return
		}
		if r.Seq == 0 || int64(r.Seq) < 0 || r.Done < 0 || r.Total < 0 || r.Rate < 0 || len(r.Lines) > wire.MaxLines {
			t.Errorf("taken: %+v", r)
		}
		for _, l := range r.Lines {
			checkPlain(t, l.Text, wire.MaxText)
		}
		for _, c := range r.Cells {
			for _, field := range []string{c.Product, c.Version, c.Severity, string(c.State)} {
				checkPlain(t, field, wire.MaxField)
			}
			checkPlain(t, c.Reason, wire.MaxText)
			if c.Product == "" || c.State == "" {
				t.Errorf("taken: the cell %+v", c)
			}
		}
	})
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64
	}{
		{"1", 1}, {"200G", 200e9}, {"1.5TiB", 3 << 39}, {"465.8GiB", 500148941619}, {"", 0}, {"0", 0}, {"-1", 0}, {"1e9", 0}, {"G", 0}, {"1..5G", 0}, {"9999999T", 0},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.text)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestFormatRule(t *testing.T) {
	want := wire.Rule{Model: "WDC WD10EZEX", Min: 5e8, Max: 1 << 40}
	if got, err := ParseRule(FormatRule(want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseRule(FormatRule(%+v)) = %+v, %v", want, got, err)
	}
}
