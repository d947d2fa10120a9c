package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"slipcast/image"
	"slipcast/internal/blockdev"
	"slipcast/internal/progress"
	"slipcast/partition"
)

// A source is what is captured: a device or file, or a part of a file.
type source struct {
	*blockdev.Device
	window partition.Extent // of the device
	part   bool             // the window is a partition
	number int              // of the partition, if it is one of a file
}

// openSource opens the disk, partition or file at path; number, if not 0,
// chooses one of its partitions.
func openSource(path string, number int) (*source, error) {
	if number != 0 {
		info, err := blockdev.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.Kind == blockdev.Disk { // the others may be mounted
			part := blockdev.PartitionPath(info.Device, number)
			if !exists(part) {
				return nil, fmt.Errorf("%s has no partition %d, there is no %s", path, number, part)
			}
			path, number = part, 0
		}
	}
	dev, err := blockdev.OpenSource(path)
	if err != nil {
		return nil, err
	}
	s := &source{Device: dev, window: partition.Extent{Length: dev.Size()}}
	s.part = dev.Info().Kind == blockdev.Partition
	switch {
	case dev.Size() == 0:
		err = &refusal{path + " is empty"}
	case number != 0:
		err = s.choose(number)
	}
	if err != nil {
		dev.Close()
		return nil, err
	}
	return s, nil
}

// choose narrows s to a partition.
func (s *source) choose(number int) error {
	if s.part {
		return usagef("--partition %d: it is a partition already", number)
	}
	table, err := partition.Read(s.Device, s.Size(), 0)
	if err != nil {
		return err
	}
	for _, p := range table.Partitions {
		if p.Number == number && !p.Extended {
			s.window, s.part, s.number = p.Extent(), true, number
			return nil
		}
	}
	return fmt.Errorf("%s has no partition %d", s.Info().Path, number)
}

// ReadAt implements io.ReaderAt within the window.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.window.Length {
		return 0, io.EOF
	}
	short := min(int64(len(p)), s.window.Length-off)
	n, err := s.Device.ReadAt(p[:short], off+s.window.Start)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// NextData tells where the data of a sparse file is, within the window.
func (s *source) NextData(off int64) (start, end int64, err error) {
	start, end, err = s.Device.NextData(off + s.window.Start)
	return start - s.window.Start, end - s.window.Start, err
}

func (s *source) scanOptions(skipSwapfiles bool) image.ScanOptions {
	opt := image.ScanOptions{Size: s.window.Length, NoTable: s.part, SkipSwapfiles: skipSwapfiles}
	if info := s.Info(); info.Kind != blockdev.File {
		opt.LogicalSector, opt.PhysicalSector = info.LogicalSector, info.PhysicalSector
	}
	return opt
}

// describe tells people what kind of thing s is.
func (s *source) describe() string {
	what := describe(s.Info())
	if s.number != 0 {
		what = fmt.Sprintf("partition %d, %s, of a %s", s.number, progress.Bytes(s.window.Length), what)
	}
	return what
}

// describe tells people what kind of thing a device is: size, model, serial.
func describe(i *blockdev.Info) string {
	words := []string{progress.Bytes(i.Size), string(i.Kind)}
	if i.Transport != "" && !strings.HasPrefix(i.Model, i.Transport+":") {
		words = append(words, i.Transport)
	}
	if i.Model != "" {
		words = append(words, i.Model)
	}
	if i.Serial != "" {
		words = append(words, "serial "+i.Serial)
	}
	if i.Removable {
		words = append(words, "removable")
	}
	return strings.Join(words, ", ")
}

// identity names the hardware for the image's origin, never the device.
func (s *source) identity() string {
	i := s.Info()
	if i.Kind == blockdev.File || strings.HasPrefix(i.Model, "loop:") {
		return ""
	}
	return strings.TrimSpace(i.Model + " " + i.Serial)
}

// exists tells whether something is at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// sameFile tells whether two paths lead to the same file or device.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
