package wire

import "testing"

func TestMAC(t *testing.T) {
	for text, want := range map[string]string{
		"00:00:5e:00:53:01": "00:00:5e:00:53:01", " 00-00-5E-00-53-AF\n": "00:00:5e:00:53:af", "0000.5e00.5301": "00:00:5e:00:53:01",
		"": "", "00:00:00:00:00:00": "", "ff:ff:ff:ff:ff:ff": "", "01:00:5e:00:00:01": "", "00:00:5e:00:53": "",
		"00:00:5e:ef:10:00:00:00": "", "not an address": "",
	} {
		if got := MAC(text); got != want {
			t.Errorf("MAC(%q) = %q, want %q", text, got, want)
		}
		if again := MAC(MAC(text)); again != want {
			t.Errorf("MAC of MAC(%q) = %q, want %q", text, again, want)
		}
	}
}
