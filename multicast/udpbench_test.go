package multicast

import (
	"testing"
	"time"
)

// BenchmarkSend sends trains to a group that nobody has joined.
func BenchmarkSend(b *testing.B) {
	for _, mode := range offloads.send {
		b.Run(mode, func(b *testing.B) {
			lo, group := loopback(b)
			s := openSender(b, senderOptions{Interface: lo, Group: group}, mode)
			train := pattern(maxTrain * 1440)
			b.SetBytes(int64(len(train)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.send(train, 1440); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(maxTrain*b.N)/b.Elapsed().Seconds(), "datagrams/s")
		})
	}
}

// BenchmarkReceive receives trains that it sends itself, as one piece or as
// single datagrams, which is what most network cards deliver.
func BenchmarkReceive(b *testing.B) {
	for _, sending := range []string{offloadGSO, offloadBatch} {
		for _, mode := range offloads.receive {
			b.Run(sending+"-"+mode, func(b *testing.B) {
				lo, group := loopback(b)
				r := openReceiver(b, receiverOptions{Interface: lo, Group: group}, mode)
				s := openSender(b, senderOptions{Interface: lo, Group: group}, sending)
				if err := r.conn.SetReadDeadline(time.Time{}); err != nil {
					b.Fatal(err)
				}
				train := pattern(maxTrain * 1440)
				left := 0
				count := func([]byte) { left-- }
				b.SetBytes(int64(len(train)))
				b.ReportAllocs()
				for b.Loop() {
					if err := s.send(train, 1440); err != nil {
						b.Fatal(err)
					}
					for left = maxTrain; left > 0; {
						if err := r.receive(count); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(maxTrain*b.N)/b.Elapsed().Seconds(), "datagrams/s")
			})
		}
	}
}
