package multicast

import (
	"context"
	"net"
	"net/netip"
)

// A dataOut sends trains of datagrams. It is a [dataSender] but in tests.
type dataOut interface {
	send(train []byte, size int) error
	offload() string
	close() error
}

// A dataIn receives datagrams. It is a [dataReceiver] but in tests.
type dataIn interface {
	receive(each func(p []byte)) error
	rejoin() error
	buffer() int
	offload() string
	close() error
}

// A ports is the network as a session or a reception knows it. Tests have
// others than that of the kernel.
type ports struct {
	pick    func(name string, peer netip.Addr) (*net.Interface, error)
	listen  func(addr string) (net.Listener, error)
	connect connector
	beacon  func(name string, from netip.Addr) (*beacon, error)
	send    func(senderOptions) (dataOut, error)
	receive func(receiverOptions) (dataIn, error)
}

// kernelPorts returns the network of the kernel.
func kernelPorts() *ports {
	return &ports{
		pick:    pickInterface,
		listen:  listen,
		connect: connectTCP,
		beacon:  openBeacon,
		send: func(o senderOptions) (dataOut, error) {
			s, err := newDataSender(o)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		receive: func(o receiverOptions) (dataIn, error) {
			r, err := newDataReceiver(o)
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	}
}

// connectTCP connects to a control port.
func connectTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTime}
	return dialer.DialContext(ctx, "tcp", to.String())
}
