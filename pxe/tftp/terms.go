package tftp

import "time"

// What a transfer may cost, whatever the client asks for.
const (
	maxWindow      = 64       // blocks
	maxWindowBytes = 96 << 10 // with their headers; 64 blocks of Ethernet fit
)

// What RFC 2348 allows for a block.
const (
	minBlock = 8
	maxBlock = 65464
)

// defaultBlock is the size of a block without the option (RFC 1350).
const defaultBlock = 512

// overhead4 and overhead6 are the bytes of a packet before the data of a
// block: the headers of IP, UDP and TFTP.
const (
	overhead4 = 20 + 8 + headerSize
	overhead6 = 40 + 8 + headerSize
)

// terms are what server and client have agreed on.
type terms struct {
	block   int           // bytes of data in a block
	window  int           // blocks that are sent before an acknowledgement
	timeout time.Duration // until a window is sent again; 0 is as the server likes
	accept  []option      // what is told to the client; empty is nothing
}

// agree answers the options of a request: each one that was asked for and no
// other. size is that of the file, limit the largest block that is one
// packet on the way.
func agree(asked []option, size int64, limit int) terms {
	t := terms{block: min(defaultBlock, limit), window: 1}
	window := int64(1)
	for _, o := range asked {
		switch o.name {
		case blockSize:
			o.value = min(o.value, int64(limit))
			t.block = int(o.value)
		case timeout:
			t.timeout = time.Duration(o.value) * time.Second
		case totalSize:
			o.value = size
		case windowSize:
			window = o.value
		}
		t.accept = append(t.accept, o)
	}
	t.window = int(min(window, maxWindow, int64(max(1, maxWindowBytes/(t.block+headerSize)))))
	for i := range t.accept {
		if t.accept[i].name == windowSize {
			t.accept[i].value = int64(t.window)
		}
	}
	return t
}
