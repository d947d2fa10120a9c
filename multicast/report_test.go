package multicast

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// reportStart is what comes before Done in a report.
const reportStart = "\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"

func TestParseReportRefuses(t *testing.T) {
	tests := []struct{ name, body string }{
		{"empty", ""},
		{"ends before Done", reportStart},
		{"ends before Open", reportStart + "\x00"},
		{"Full is 2", "\x00\x02" + reportStart[2:] + "\x00\x00"},
		{"done frame that the session has not", reportStart + "\x01\x64\x01\x00"},
		{"4 billion done frames", reportStart + "\x01\x00\xff\xff\xff\xff\x0f\x00"},
		{"more done frames than there are numbers", reportStart + "\x01\x01\xff\xff\xff\xff\x0f\x00"},
		{"open frame that the session has not", reportStart + "\x00\x01\x64\x00\x00"},
		{"open frame beyond 32 bits", reportStart + "\x00\x01\x80\x80\x80\x80\x10\x00\x00"},
		{"second open frame beyond 32 bits", reportStart + "\x00\x02\x01\x00\x00\xff\xff\xff\xff\x0f\x00\x00"},
		{"more open frames than bytes", reportStart + "\x00\xff\xff\x03\x07\x00\x00"},
		{"fewer deficits than blocks", reportStart + "\x00\x01\x07\x00"},
		{"more deficits than blocks", reportStart + "\x00\x01\x07\x00\x00\x00"},
		{"deficit of 193 symbols", reportStart + "\x00\x01\x07\x00\xc1"},
		{"gap that is not the shortest", reportStart + "\x00\x01\x87\x00\x00\x00"},
		{"bytes left over", reportStart + "\x00\x00\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r report
			if err := r.parse([]byte(tt.body), twoBlocks); !errors.Is(err, errMalformed) {
				t.Errorf("parse(%x) = %v, %+v, want errMalformed", tt.body, err, r)
			}
		})
	}
}

// bigReport is one of a receiver with half of a room's frames open.
func bigReport() *report {
	r := &report{lane: 1, full: true, head: 1 << 33, received: 1 << 32, bad: 7, written: 1 << 40}
	for f := range uint32(30) {
		r.done = append(r.done, f+f/10)
		r.open = append(r.open, openFrame{60 + f, []uint8{uint8(f), maxSource}})
	}
	return r
}

// A report is parsed over and over into the same memory.
func TestReportAgain(t *testing.T) {
	var r report
	big := bigReport()
	body := big.append(nil)
	blocks := twoBlocks
	for _, want := range []*report{big, {head: 1, done: []uint32{}, open: []openFrame{}}, big} {
		if err := r.parse(want.append(nil), blocks); err != nil || !reflect.DeepEqual(&r, want) {
			t.Errorf("parsed %+v, %v, want %+v", r, err, want)
		}
	}
	n := testing.AllocsPerRun(100, func() {
		if err := r.parse(body, blocks); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}

// FuzzReport: what is accepted encodes to the same bytes.
func FuzzReport(f *testing.F) {
	f.Add(vector(f, "lane 0, not full, head 1000"))
	f.Add(bigReport().append(nil))
	f.Add([]byte(reportStart + "\x00\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		var r report
		if err := r.parse(p, twoBlocks); err != nil {
			if !errors.Is(err, errMalformed) {
				t.Errorf("%x: %v, want errMalformed", p, err)
			}
			return
		}
		if again := r.append(nil); !bytes.Equal(again, p) {
			t.Errorf("%x parses to %+v, which encodes to %x", p, r, again)
		}
	})
}

func BenchmarkReportParse(b *testing.B) {
	body := bigReport().append(nil)
	var r report
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.parse(body, twoBlocks); err != nil {
			b.Fatal(err)
		}
	}
}
