package probe

import (
	"bytes"
	"errors"
	"testing"

	"slipcast/catalog/bundle"
)

func TestEditIni(t *testing.T) {
	const file = "; top\nglobal = 1\n\n[main]\nkey = value\nother=2\n\n[more]\nkey=3\n"
	tests := []struct {
		name, before string
		edit         bundle.Ini
		after        string
	}{
		{"value", file, bundle.Ini{Section: "main", Key: "key", Value: "new"}, "; top\nglobal = 1\n\n[main]\nkey = new\nother=2\n\n[more]\nkey=3\n"},
		{"no blanks", file, bundle.Ini{Section: "main", Key: "other", Value: "3"}, "; top\nglobal = 1\n\n[main]\nkey = value\nother=3\n\n[more]\nkey=3\n"},
		{"as it is", file, bundle.Ini{Section: "main", Key: "key", Value: "value"}, file},
		{"new key", file, bundle.Ini{Section: "main", Key: "a", Value: "b"}, "; top\nglobal = 1\n\n[main]\nkey = value\nother=2\na=b\n\n[more]\nkey=3\n"},
		{"new key at the end", file, bundle.Ini{Section: "more", Key: "a", Value: "b"}, file + "a=b\n"},
		{"new section", file, bundle.Ini{Section: "x y", Key: "a", Value: "b=c"}, file + "\n[x y]\na=b=c\n"},
		{"before the first section", file, bundle.Ini{Key: "a", Value: "b"}, "; top\nglobal = 1\na=b\n\n[main]\nkey = value\nother=2\n\n[more]\nkey=3\n"},
		{"global", file, bundle.Ini{Key: "global", Value: "2"}, "; top\nglobal = 2\n\n[main]\nkey = value\nother=2\n\n[more]\nkey=3\n"},
		{"empty file", "", bundle.Ini{Section: "s", Key: "a", Value: "b"}, "[s]\na=b\n"},
		{"empty file, no section", "", bundle.Ini{Key: "a"}, "a=\n"},
		{"no line end", "[s]", bundle.Ini{Section: "s", Key: "a", Value: "b"}, "[s]\na=b\n"},
		{"only sections", "[s]\n", bundle.Ini{Key: "a", Value: "b"}, "a=b\n[s]\n"},
		{"absent", file, bundle.Ini{Section: "main", Key: "key", Absent: true}, "; top\nglobal = 1\n\n[main]\nother=2\n\n[more]\nkey=3\n"},
		{"absent already", file, bundle.Ini{Section: "more", Key: "other", Absent: true}, file},
		{"several", "[s]\na=1\nb=2\na = 3\n[t]\na=9\n[s]\na=4\n", bundle.Ini{Section: "s", Key: "a", Value: "5"}, "[s]\nb=2\n[t]\na=9\n[s]\na=5\n"},
		{"several, the last is right", "[s]\na=1\na=2\n", bundle.Ini{Section: "s", Key: "a", Value: "2"}, "[s]\na=2\n"},
		{"several absent", "[s]\na=1\n[t]\n[s]\na=2\n", bundle.Ini{Section: "s", Key: "a", Absent: true}, "[s]\n[t]\n[s]\n"},
		{"comments", "[s]\n#a=1\n;a=2\n", bundle.Ini{Section: "s", Key: "a", Value: "3"}, "[s]\n#a=1\n;a=2\na=3\n"},
		{"blanks", "  [ s ]  \n\ta\t=\t1\t\n", bundle.Ini{Section: "s", Key: "a", Value: "2"}, "  [ s ]  \n\ta\t=\t2\n"},
		{"carriage returns", "[s]\r\na=1\r\n", bundle.Ini{Section: "s", Key: "b", Value: "2"}, "[s]\r\na=1\r\nb=2\r\n"},
		{"byte order mark", "\xef\xbb\xbf[s]\na=1\n", bundle.Ini{Section: "s", Key: "a", Value: "2"}, "\xef\xbb\xbf[s]\na=2\n"},
		{"case", "[S]\nA=1\n", bundle.Ini{Section: "S", Key: "a", Value: "2"}, "[S]\nA=1\na=2\n"},
		{"windows path", "[s]\nDir=C:\\Temp\\\n", bundle.Ini{Section: "s", Key: "Dir", Value: `D:\Temp\`}, "[s]\nDir=D:\\Temp\\\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := EditIni([]byte(tt.before), tt.edit)
			if string(got) != tt.after || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tt.after)
			}
			if again, err := EditIni(got, tt.edit); !bytes.Equal(again, got) || err != nil {
				t.Errorf("the second time gives %q, %v, want %q", again, err, got)
			}
		})
	}
}

func TestEditIniRejects(t *testing.T) {
	for _, e := range []bundle.Ini{
		{}, {Key: " "}, {Key: "a=b"}, {Key: "a\nb"}, {Key: "#a"}, {Key: ";a"}, {Key: " a"}, {Key: "[a", Value: "b]"}, {Key: "a", Value: " b"},
		{Key: "a", Value: "b\t"}, {Key: "a", Value: "b\nc"}, {Key: "a", Value: "b\rc"}, {Section: "a]", Key: "a"}, {Section: " a", Key: "a"},
		{Section: "a\nb", Key: "a"}, {Section: " ", Key: "a"}, {Key: "a", Value: "b", Absent: true}, {Key: "\ufeffa"}, {Key: "\xff"}, {Section: "\xff", Key: "a"},
	} {
		if got, err := EditIni(nil, e); !errors.Is(err, ErrEdit) {
			t.Errorf("EditIni(nil, %+v) = %q, %v, want ErrEdit", e, got, err)
		}
	}
	if got, err := EditIni([]byte("\xff\xfea\x00"), bundle.Ini{Key: "a"}); !errors.Is(err, ErrEdit) {
		t.Errorf("a file in UTF-16 is edited to %q, %v, want ErrEdit", got, err)
	}
}

// FuzzEditIni holds that doing an edit twice is doing it once, that the value
// is read back, and that another setting keeps its value.
func FuzzEditIni(f *testing.F) {
	f.Add([]byte("a=1\n[s]\nb = 2\r\n[s]\nb=3"), "s", "b", "4", false, "t", "x")
	f.Add([]byte("\xef\xbb\xbf[]\n[ s ]\n;b=2\n"), "", "b", "", true, "s", "b")
	f.Fuzz(func(t *testing.T, before []byte, section, key, value string, absent bool, otherSection, otherKey string) {
		e := bundle.Ini{Section: section, Key: key, Value: value, Absent: absent}
		kept := bytes.Clone(before)
		once, err := EditIni(before, e)
		if !bytes.Equal(kept, before) {
			t.Fatal("the edit changed what it was given")
		}
		if err != nil {
			return
		}
		twice, err := EditIni(once, e)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q with %+v is %q, and the second time %q, %v", before, e, once, twice, err)
		}
		if got, err := iniValue(once, section, key); got != value || err != nil {
			t.Errorf("%q with %+v is %q, where the value is %q, %v", before, e, once, got, err)
		}
		if otherSection == section && otherKey == key {
			return
		}
		was, _ := iniValue(before, otherSection, otherKey)
		if is, err := iniValue(once, otherSection, otherKey); is != was || err != nil {
			t.Errorf("%q with %+v is %q: [%s] %s was %q and is %q, %v", before, e, once, otherSection, otherKey, was, is, err)
		}
	})
}
