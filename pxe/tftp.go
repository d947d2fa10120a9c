package pxe

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"slipcast/pxe/tftp"
)

// serveTFTP gives the boot folder and the scripts that are the same for all.
func (s *Server) serveTFTP(ctx context.Context, conn *net.UDPConn) error {
	s.tftp.Files, s.tftp.Log = s.tftpFile, s.Log
	return s.tftp.Serve(ctx, conn)
}

// tftpFile returns what a machine asks for by TFTP.
func (s *Server) tftpFile(_ context.Context, r tftp.Request) (tftp.File, error) {
	if !s.near(r.Client.Addr()) {
		return tftp.File{}, tftp.ErrRefused
	}
	if text, ok := s.commonScript(r.Name); ok {
		return tftp.File{ReaderAt: strings.NewReader(text), Size: int64(len(text))}, nil
	}
	local, ok := filePath(r.Name)
	if !ok {
		return tftp.File{}, fmt.Errorf("%s: %w", r.Name, fs.ErrNotExist)
	}
	f, info, err := s.openFile(local)
	if err != nil {
		return tftp.File{}, err
	}
	return tftp.File{ReaderAt: f, Size: info.Size(), Closer: f}, nil
}
