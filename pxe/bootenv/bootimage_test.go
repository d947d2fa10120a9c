package bootenv

import "testing"

// TestCheckArg shows that what GRUB would expand, split or end a line at is no
// word for the kernel.
func TestCheckArg(t *testing.T) {
	for w, want := range map[string]bool{
		"quiet": true, "console=ttyS0,115200n8": true, "root=/dev/disk/by-path/pci-0000:00:1f.2": true, "a@b+c": true,
		"": false, "a b": false, "a\tb": false, "a\nb": false, "$a": false, "a;reboot": false, "a&b": false, "'a'": false, `"a"`: false,
		`a\b`: false, "{a}": false, "#a": false, "*": false, "ä": false,
	} {
		if err := CheckArg(w); (err == nil) != want {
			t.Errorf("CheckArg(%q) = %v, want one that is taken: %v", w, err, want)
		}
		_, err := (&image{arch: X64, args: []string{w}}).build()
		if (err == nil) != want {
			t.Errorf("a boot.img with the argument %q: %v, want one that is built: %v", w, err, want)
		}
	}
}
