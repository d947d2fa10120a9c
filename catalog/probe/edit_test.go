package probe

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

func TestEditLine(t *testing.T) {
	const sshd = "# sshd\n#PermitRootLogin yes\nPort 22\nPermitRootLogin yes\n\nMatch all\n"
	tests := []struct {
		name, before string
		edit         bundle.Line
		after        string
	}{
		{"replace the last that matches", sshd, bundle.Line{Match: "^#?PermitRootLogin ", Line: "PermitRootLogin no"},
			"# sshd\n#PermitRootLogin yes\nPort 22\nPermitRootLogin no\n\nMatch all\n"},
		{"the line does not match itself", "a=1\na=2\n", bundle.Line{Match: "^a=[12]$", Line: "a=3"}, "a=1\na=3\n"},
		{"it is there before one that matches", "a=3\na=1\n", bundle.Line{Match: "^a=", Line: "a=3"}, "a=3\na=3\n"},
		{"it is there", "x\na=3\ny\n", bundle.Line{Line: "a=3"}, "x\na=3\ny\n"},
		{"at the end", "x\n", bundle.Line{Line: "y"}, "x\ny\n"},
		{"at the end without a line end", "x", bundle.Line{Line: "y"}, "x\ny\n"},
		{"replace the last without a line end", "x", bundle.Line{Match: "x", Line: "y"}, "y"},
		{"empty file", "", bundle.Line{Line: "y"}, "y\n"},
		{"an empty line", "x\n", bundle.Line{}, "x\n\n"},
		{"empty the last without a line end", "x\ny", bundle.Line{Match: "y"}, "x\n\n"},
		{"after", sshd, bundle.Line{After: "^Port", Line: "ListenAddress ::"}, "# sshd\n#PermitRootLogin yes\nPort 22\nListenAddress ::\nPermitRootLogin yes\n\nMatch all\n"},
		{"after the last", "a\nb\na\n", bundle.Line{After: "a", Line: "c"}, "a\nb\na\nc\n"},
		{"after nothing", "a\n", bundle.Line{After: "z", Line: "c"}, "a\nc\n"},
		{"carriage returns", "a\r\nb\r\n", bundle.Line{After: "^a$", Line: "c"}, "a\r\nc\r\nb\r\n"},
		{"replace with carriage returns", "a\r\nb\r\n", bundle.Line{Match: "^b$", Line: "c"}, "a\r\nc\r\n"},
		{"byte order mark", "\xef\xbb\xbfa\nb\n", bundle.Line{Match: "^a$", Line: "c"}, "\xef\xbb\xbfc\nb\n"},
		{"absent", sshd, bundle.Line{Match: "PermitRootLogin", Absent: true}, "# sshd\nPort 22\n\nMatch all\n"},
		{"absent already", "a\n", bundle.Line{Match: "b", Absent: true}, "a\n"},
		{"absent from nothing", "", bundle.Line{Match: "b", Absent: true}, ""},
		{"not UTF-8", "\xff\xffa\nb\n", bundle.Line{Match: "^b", Line: "c"}, "\xff\xffa\nc\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := EditLine([]byte(tt.before), tt.edit)
			if string(got) != tt.after || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tt.after)
			}
			if again, err := EditLine(got, tt.edit); !bytes.Equal(again, got) || err != nil {
				t.Errorf("the second time gives %q, %v, want %q", again, err, got)
			}
		})
	}
}

func TestEditLineRejects(t *testing.T) {
	large := strings.Repeat("a", MaxEdit+1)
	tests := []struct {
		before string
		edit   bundle.Line
	}{
		{"", bundle.Line{Line: "a\nb"}}, {"", bundle.Line{Line: "a\r"}}, {"", bundle.Line{Line: "\ufeffa"}}, {"", bundle.Line{Line: "a\xff"}},
		{"", bundle.Line{Absent: true}}, {"", bundle.Line{Absent: true, Match: "a", Line: "a"}}, {"", bundle.Line{Match: "("}},
		{"", bundle.Line{After: "(?<=a)"}}, {"\xff\xfea\x00", bundle.Line{Line: "a"}}, {"\xfe\xff\x00a", bundle.Line{Line: "a"}}, {large, bundle.Line{Line: "a"}},
	}
	for _, tt := range tests {
		if got, err := EditLine([]byte(tt.before), tt.edit); !errors.Is(err, ErrEdit) {
			t.Errorf("EditLine(%.20q, %+v) = %.20q, %v, want ErrEdit", tt.before, tt.edit, got, err)
		}
	}
}

// FuzzEditLine holds that doing an edit twice is doing it once, that the line
// is there, or gone, afterwards, and that no other line changes.
func FuzzEditLine(f *testing.F) {
	f.Add([]byte("# a\r\nb=1\r\n"), "^b", "b=2", "", false)
	f.Add([]byte("a\nb\na"), "", "c", "a", false)
	f.Add([]byte("\xef\xbb\xbfa\n\na\n"), "a|^$", "", "", true)
	f.Fuzz(func(t *testing.T, before []byte, match, line, after string, absent bool) {
		e := bundle.Line{Match: match, Line: line, After: after, Absent: absent}
		kept := bytes.Clone(before)
		once, err := EditLine(before, e)
		if !bytes.Equal(kept, before) {
			t.Fatal("the edit changed what it was given")
		}
		if err != nil {
			return
		}
		twice, err := EditLine(once, e)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q with %+v is %q, and the second time %q, %v", before, e, once, twice, err)
		}
		old, _ := splitText(before)
		edited, _ := splitText(once)
		if more := len(edited.lines) - len(old.lines); more > 1 || !absent && more < 0 {
			t.Errorf("%q with %+v is %q: %d lines more", before, e, once, more)
		}
		if matches, _ := pattern(match); absent && edited.last(matches) >= 0 {
			t.Errorf("%q with %+v is %q, which matches", before, e, once)
		}
		if there := edited.last(func(l string) bool { return l == line }); !absent && there < 0 {
			t.Errorf("%q with %+v is %q, without the line", before, e, once)
		}
	})
}
