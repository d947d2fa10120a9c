package main

import (
	"fmt"
	"testing"
)

// Whatever is lost on the way, all targets are right in the end, and one
// repair serves several receivers.
func TestRootNetLoss(t *testing.T) {
	t.Parallel()
	n := newLabNet(t, "--receivers", "4", "--no-offload")
	x := newLabNoise(t, 8)
	for _, tt := range []struct {
		name  string
		args  []string // of lab-net
		ratio float64  // of the wire's bytes to the image's, at most
	}{
		{"none", []string{"loss", "0"}, 1.15},
		{"1 percent", []string{"loss", "1"}, 1.25},
		{"5 percent", []string{"loss", "5"}, 1.4},
		{"30 percent", []string{"loss", "30"}, 3},
		{"bursts", []string{"burst", "0.1", "20"}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := n.in(t)
			n.do(tt.args[0], tt.args[1:]...)
			defer n.do(tt.args[0], append([]string{"0"}, tt.args[2:]...)...)
			sent, received := n.room(x, 4).end(exitDone)
			missed := int64(0)
			for _, o := range received {
				missed += labNumber(t, o, "missed")
			}
			ratio := sent["wire_ratio"].(float64)
			t.Logf("wire / image %.3f, %d datagrams missed, %d repairs", ratio, missed, labNumber(t, sent, "repairs"))
			if tt.name != "none" && missed == 0 {
				t.Error("nothing was lost")
			}
			if ratio > tt.ratio || labNumber(t, sent, "fetched_bytes") > 0 {
				t.Errorf("wire / image %.3f, %v bytes by HTTPS; want at most %.3f, 0", ratio, sent["fetched_bytes"], tt.ratio)
			}
		})
	}
}

// All of it works where there is IPv6 and nothing else.
func TestRootNetIPv6(t *testing.T) {
	t.Parallel()
	n := newLabNet(t, "--receivers", "2", "--ipv6")
	sent, received := n.room(newLabNoise(t, 8), 2, "--ipv6").end(exitDone)
	if labNumber(t, sent, "fetched_bytes") > 0 {
		t.Errorf("it went by HTTPS: %v", sent)
	}
	for _, o := range received {
		if labNumber(t, o, "datagrams") < 8*mib/1500 {
			t.Errorf("it did not come by multicast: %v", o)
		}
	}
}

// The image is sent once, not once for each receiver, and more of them do not
// take longer.
func TestRootNetOneTransmission(t *testing.T) {
	t.Parallel()
	n := newLabNet(t, "--receivers", "8")
	before := n.wire()
	sent, _ := n.room(newLabNoise(t, 8), 8).end(exitDone)
	wire := n.wire() - before
	t.Logf("%d bytes on the wire for %d of an image and 8 receivers", wire, labNumber(t, sent, "image_bytes"))
	if most := labNumber(t, sent, "image_bytes") * 12 / 10; wire > most {
		t.Errorf("%d bytes on the wire, want at most %d", wire, most)
	}
}

// wire returns the bytes that the sender has put on the wire.
func (n *labNet) wire() (bytes int64) {
	n.t.Helper()
	if _, err := fmt.Sscan(n.do("wire"), &bytes); err != nil {
		n.t.Fatal(err)
	}
	return bytes
}
