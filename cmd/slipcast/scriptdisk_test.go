package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// The disk of the scripts: a GPT with a FAT and an ext4, and room behind them.
const (
	diskTable = `label: gpt
label-id: 11111111-2222-3333-4444-555555555555
start=1MiB, size=8MiB, type=uefi, name=EFI, uuid=11111111-2222-3333-4444-000000000001
start=9MiB, size=24MiB, type=linux, name=root, uuid=11111111-2222-3333-4444-000000000002
`
	diskSize  = 40 << 20
	fatStart  = 1 << 20
	fatSize   = 8 << 20
	ext4Start = 9 << 20
	ext4Size  = 24 << 20
)

// scriptDisk (disk FILE) makes the disk of the scripts. build is called by
// several scripts side by side.
func scriptDisk(build func() ([]byte, error)) scriptCommand {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		wantArgs(ts, !neg && len(args) == 1, "disk FILE")
		disk, err := build()
		ts.Check(err)
		ts.Check(writeSparse(ts.MkAbs(args[0]), disk))
	}
}

// buildDisk returns the bytes of the disk.
func buildDisk() ([]byte, error) {
	dir, err := os.MkdirTemp("", "slipcast-disk-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	disk, fat, ext4 := filepath.Join(dir, "disk"), filepath.Join(dir, "fat"), filepath.Join(dir, "ext4")
	tree := filepath.Join(dir, "tree")
	for path, size := range map[string]int64{disk: diskSize, fat: fatSize, ext4: ext4Size} {
		if err := writeSparse(path, make([]byte, size)); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{"noise": noise(), "prose": prose()} {
		if err := os.WriteFile(filepath.Join(tree, name), data, 0o644); err != nil {
			return nil, err
		}
	}
	for _, c := range []struct{ stdin, line string }{
		{diskTable, "sfdisk --quiet " + disk},
		{"", "mkfs.fat -F 12 -n EFI -i 11111111 " + fat},
		{"", "mcopy -i " + fat + " " + tree + "/prose ::prose"},
		{"", "mke2fs -q -t ext4 -L root -U 11111111-2222-3333-4444-000000000003 -d " + tree + " " + ext4},
	} {
		words := strings.Fields(c.line)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = strings.NewReader(c.stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", c.line, err, out)
		}
	}
	return assemble(disk, map[int64]string{fatStart: fat, ext4Start: ext4})
}

// assemble returns the bytes of a disk with the files at their offsets in it.
func assemble(disk string, parts map[int64]string) ([]byte, error) {
	whole, err := os.ReadFile(disk)
	for at, path := range parts {
		var part []byte
		if err == nil {
			part, err = os.ReadFile(path)
			copy(whole[at:], part)
		}
	}
	return whole, err
}

// writeSparse writes data to a file, with holes where it is zero.
func writeSparse(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const unit = 64 << 10
	for at := 0; at < len(data) && err == nil; at += unit {
		if part := data[at:min(at+unit, len(data))]; strings.Trim(string(part), "\x00") != "" {
			_, err = f.WriteAt(part, int64(at))
		}
	}
	if err != nil {
		return err
	}
	return f.Truncate(int64(len(data)))
}
