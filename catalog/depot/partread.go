package depot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// sumSize is how long the contents of the member sum are.
const sumSize = 2*sha256.Size + 1

// A partReader reads a part from its beginning to its end. Where it is damaged it goes
// on at the next block that is the header of a member.
type partReader struct {
	ctx  context.Context
	r    *bufio.Reader
	sum  hash.Hash   // of what was read
	at   int64       // bytes that were read
	tell func(int64) // told of them; may be nil
	good bool        // the sum was there and is right, and nothing came after it
	err  error       // the first damage
}

func newPartReader(ctx context.Context, r io.Reader, tell func(int64)) *partReader {
	return &partReader{ctx: ctx, r: bufio.NewReaderSize(r, 1<<20), sum: sha256.New(), tell: tell}
}

// damaged notes a damage.
func (p *partReader) damaged(format string, args ...any) {
	p.good = false
	if p.err == nil {
		p.err = wrong(format, args...)
	}
}

// Read implements io.Reader. What cannot be read is a damage, and the end.
func (p *partReader) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	p.sum.Write(b[:n])
	p.at += int64(n)
	if p.tell != nil {
		p.tell(int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		p.damaged("at byte %d: %v", p.at, err)
		err = io.EOF
	}
	return n, err
}

// full reads as many bytes as b has. If there are fewer, that is a damage, and the
// error is io.EOF.
func (p *partReader) full(b []byte) error {
	_, err := io.ReadFull(p, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		p.damaged("it ends early, after %d bytes", p.at)
		return io.EOF
	}
	return err
}

// next returns the next member. What is not read of its contents before the call that
// follows, that call reads. io.EOF is the end of the part; then good and err tell
// whether it is whole. Any other error is that of ctx.
func (p *partReader) next() (name string, size int64, err error) {
	block := make([]byte, tarBlock)
	for {
		before := p.sum.Sum(nil)
		if err := p.full(block); err != nil {
			return "", 0, err
		}
		if allZero(block) {
			if err := p.end(block); err != nil {
				return "", 0, err
			}
			continue
		}
		name, size, err := parseHeader(block)
		switch {
		case err != nil:
			p.damaged("at byte %d there is no header of a piece", p.at-tarBlock)
		case name == sumName && size == sumSize:
			if err := p.checkSum(before); err != nil {
				return "", 0, err
			}
		default:
			if p.good {
				p.damaged("at byte %d there is a piece behind its sum", p.at-tarBlock)
			}
			return name, size, nil
		}
	}
}

// end reads the second block of zeros, and returns io.EOF if that is all.
func (p *partReader) end(block []byte) error {
	if err := p.full(block); err != nil {
		return err
	}
	_, err := p.r.Peek(1)
	if !allZero(block) || err == nil {
		p.damaged("at byte %d there is no header of a piece", p.at-2*tarBlock)
		return nil
	}
	if !p.good {
		p.damaged("its sum is not there")
	}
	return io.EOF
}

// checkSum compares the sum of what was read with the one that the part has.
func (p *partReader) checkSum(have []byte) error {
	want := make([]byte, padded(sumSize))
	if err := p.full(want); err != nil {
		return err
	}
	if p.err != nil || p.good || string(want[:sumSize]) != hex.EncodeToString(have)+"\n" || !allZero(want[sumSize:]) {
		p.damaged("its bytes are not those that were written")
		return nil
	}
	p.good = true
	return nil
}

// contents hands the contents of a member of size bytes to use, and reads what that
// left. An error of use comes back; use reads io.EOF where the part ends early, and
// full tells whether it did not.
func (p *partReader) contents(size int64, use func(io.Reader) error) (full bool, err error) {
	begin := p.at
	r := io.LimitReader(p, size)
	err = use(r)
	if _, copyErr := io.Copy(io.Discard, r); copyErr != nil {
		return false, errors.Join(err, copyErr)
	}
	if p.at-begin < size {
		p.damaged("it ends early, after %d bytes", p.at)
		return false, err
	}
	zeros := make([]byte, padded(size)-size)
	if e := p.full(zeros); e != nil && !errors.Is(e, io.EOF) {
		return true, errors.Join(err, e)
	}
	if !allZero(zeros) {
		p.damaged("at byte %d there are other bytes than zeros", p.at)
	}
	return true, err
}

func allZero(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }
