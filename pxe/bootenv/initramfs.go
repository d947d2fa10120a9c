package bootenv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// An initramfs is what goes into one.
type initramfs struct {
	version  string // of the kernel
	agent    []byte
	modules  []*Module // by path
	builtin  []byte
	firmware map[string][]byte
}

// initrdSizes are the bytes of an initramfs before compression.
type initrdSizes struct {
	raw, modules, firmware int64
}

// pack returns the compressed archive, filled up to a multiple of four so that
// another one may follow. The same contents and the same
// compressor make the same bytes.
func (i *initramfs) pack(ctx context.Context) ([]byte, initrdSizes, error) {
	var sizes initrdSizes
	z, err := newCompressor(ctx)
	if err != nil {
		return nil, sizes, err
	}
	raw := &countingWriter{w: z}
	failed := i.write(NewCPIOWriter(raw), &sizes)
	packed, err := z.finish()
	if err = errors.Join(failed, err); err != nil {
		return nil, sizes, err
	}
	sizes.raw = raw.n
	packed.WriteString(zeros(packed.Len()))
	return packed.Bytes(), sizes, nil
}

// write writes the entries, docs/boot.md, section 2.
func (i *initramfs) write(c *CPIOWriter, sizes *initrdSizes) error {
	for _, e := range []Entry{
		{Name: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
		{Name: "init", Mode: 0o755, Data: i.agent},
	} {
		if err := c.Add(e); err != nil {
			return err
		}
	}
	if err := i.writeModules(c, sizes); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(i.firmware)) {
		data := i.firmware[name]
		sizes.firmware += int64(len(data))
		if err := c.Add(Entry{Name: "lib/firmware/" + name, Mode: 0o644, Data: data}); err != nil {
			return err
		}
	}
	return c.Close()
}

// writeModules writes the modules, one at a time, and their index.
func (i *initramfs) writeModules(c *CPIOWriter, sizes *initrdSizes) error {
	dir := "lib/modules/" + i.version + "/"
	for _, m := range i.modules {
		data, err := m.load()
		if err != nil {
			return err
		}
		sizes.modules += int64(len(data))
		if err := c.Add(Entry{Name: dir + m.Path, Mode: 0o644, Data: data}); err != nil {
			return err
		}
	}
	dep, err := depLines(i.modules)
	if err != nil {
		return err
	}
	for _, e := range []Entry{
		{Name: "modules.alias", Data: aliasLines(i.modules)},
		{Name: "modules.builtin", Data: i.builtin},
		{Name: "modules.dep", Data: dep},
		{Name: "modules.softdep", Data: softdepLines(i.modules)},
	} {
		if err := c.Add(Entry{Name: dir + e.Name, Mode: 0o644, Data: e.Data}); err != nil {
			return err
		}
	}
	return nil
}

// ticketArchive returns the archive that follows the initramfs of a boot.img,
// docs/boot.md, section 5. There is no seed in it: what many machines share
// makes none of them random.
func ticketArchive(ticket []Entry) ([]byte, error) {
	var b bytes.Buffer
	c := NewCPIOWriter(&b)
	for _, e := range ticket {
		e.Mode = 0o600
		if err := c.Add(e); err != nil {
			return nil, err
		}
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// A countingWriter counts what passes.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
