package depot

import (
	"os"
	"path/filepath"
)

// A memorySink keeps a file in memory, in p.
type memorySink struct {
	p    []byte
	tell func(int64) // told of bytes that came, and of those that were forgotten; may be nil
}

// Write implements io.Writer.
func (m *memorySink) Write(p []byte) (int, error) {
	m.p = append(m.p, p...)
	m.told(int64(len(p)))
	return len(p), nil
}

// Len implements sink.
func (m *memorySink) Len() int64 { return int64(len(m.p)) }

// Reset implements sink.
func (m *memorySink) Reset() error {
	m.told(-m.Len())
	m.p = m.p[:0]
	return nil
}

func (m *memorySink) told(n int64) {
	if m.tell != nil {
		m.tell(n)
	}
}

// A fileSink keeps a file on the disk.
type fileSink struct {
	f    *os.File
	size int64
	tell func(int64)
}

// openSink opens the file at path, with what it has, for a sink.
func openSink(path string, tell func(int64)) (*fileSink, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &fileSink{f, info.Size(), tell}, nil
}

// Write implements io.Writer.
func (s *fileSink) Write(p []byte) (int, error) {
	n, err := s.f.WriteAt(p, s.size)
	s.size += int64(n)
	if s.tell != nil {
		s.tell(int64(n))
	}
	return n, err
}

// Len implements sink.
func (s *fileSink) Len() int64 { return s.size }

// Reset implements sink.
func (s *fileSink) Reset() error {
	if s.tell != nil {
		s.tell(-s.size)
	}
	s.size = 0
	return s.f.Truncate(0)
}

// close closes the file, and renames it if it gets another name.
func (s *fileSink) close(name string) error {
	if err := s.f.Close(); err != nil || name == "" {
		return err
	}
	return os.Rename(s.f.Name(), name)
}
