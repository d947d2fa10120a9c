package multicast

import (
	"encoding/binary"
	"time"
)

// A phase is what a sender is doing, as pulses and announcements tell it.
type phase uint8

const (
	phaseWaiting phase = 0
	phaseSending phase = 1
	phaseIdle    phase = 2 // nothing left to send
)

// A pulse is what a sender says once a second, section 4.
type pulse struct {
	phase     phase
	interval  time.Duration // between reports
	sent      uint64        // datagrams in the lane
	receivers uint32
	ready     uint32
	rate      uint64 // bits per second
}

func (pulse) messageType() messageType { return typePulse }

func (m pulse) append(dst []byte) []byte {
	dst = append(dst, byte(m.phase))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(m.interval.Microseconds()))
	dst = binary.LittleEndian.AppendUint64(dst, m.sent)
	dst = binary.LittleEndian.AppendUint32(dst, m.receivers)
	dst = binary.LittleEndian.AppendUint32(dst, m.ready)
	return binary.LittleEndian.AppendUint64(dst, m.rate)
}

func (d *decoder) pulse() pulse {
	m := pulse{
		phase: phase(d.u8()), interval: time.Duration(d.u32()) * time.Microsecond,
		sent: d.u64(), receivers: d.u32(), ready: d.u32(), rate: d.u64(),
	}
	if m.phase > phaseIdle {
		d.fail("state %d", m.phase)
	}
	if m.interval < minInterval || m.interval > maxInterval {
		d.fail("an interval of %v", m.interval)
	}
	return m
}
