package blockdev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipcast/internal/lab"
)

// pieces cuts size bytes into ranges: long aligned ones, and short ones that
// begin and end anywhere, so that pages are shared.
func pieces(rng *rand.Rand, size int64) [][2]int64 {
	var list [][2]int64
	for off := int64(0); off < size; {
		n := 1 + rng.Int64N(9000)
		if rng.IntN(3) == 0 {
			n = directMin + rng.Int64N(8)<<16
			if next := (off + 4095) &^ 4095; next > off {
				n = next - off // up to the next page, so that it can be long
			}
		}
		n = min(n, size-off)
		list = append(list, [2]int64{off, n})
		off += n
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// each calls f for every piece from four goroutines.
func each(t *testing.T, list [][2]int64, f func(off, n int64) error) {
	t.Helper()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < len(list); i += 4 {
				if err := f(list[i][0], list[i][1]); err != nil {
					t.Errorf("%d bytes at %d: %v", list[i][1], list[i][0], err)
				}
			}
		})
	}
	wg.Wait()
}

// Direct and cached writes and reads beside each other, in shared pages too,
// must give what plain memory gives. The bytes arrive in the file below.
func TestRootMixedTransfers(t *testing.T) {
	lab.Root(t)
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			size := int64(12*mib + 3*sector) // no whole number of pages with 512
			file := lab.File(t, size)
			d := openTarget(t, lab.Loop(t, file, sector))
			if d.direct == nil {
				t.Error("the device is not open past the page cache")
			}
			if info := d.Info(); info.LogicalSector != sector || info.Size != size || info.Kind != Disk {
				t.Errorf("got %+v", info)
			}
			rng := rand.New(rand.NewPCG(uint64(sector), 1))
			for round := range 3 {
				want := AlignedBuffer(int(size))
				fillRandom(want, uint64(round))
				each(t, pieces(rng, size), func(off, n int64) error {
					_, err := d.WriteAt(want[off:off+n], off)
					return err
				})
				compare(t, d, want, pieces(rng, size))
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("the file below differs, %v", err)
				}
				if err := d.DropCache(); err != nil {
					t.Fatal(err)
				}
				compare(t, d, want, pieces(rng, size))
			}
			if d.slow.Load() {
				t.Error("direct transfers were given up")
			}
			if n, err := d.WriteAt(make([]byte, sector), size-1); n != 0 || !errors.Is(err, ErrPastEnd) {
				t.Errorf("past the end: got %d, %v, want 0, %v", n, err, ErrPastEnd)
			}
			if n, err := d.ReadAt(make([]byte, 2*sector), size-int64(sector)); n != sector || err != io.EOF {
				t.Errorf("over the end: got %d, %v, want %d, %v", n, err, sector, io.EOF)
			}
		})
	}
}

// compare reads the pieces and compares them with want.
func compare(t *testing.T, d *Device, want []byte, list [][2]int64) {
	t.Helper()
	got := AlignedBuffer(len(want))
	each(t, list, func(off, n int64) error {
		_, err := d.ReadAt(got[off:off+n], off)
		return err
	})
	if !bytes.Equal(got, want) {
		t.Fatal("what was read differs from what was written")
	}
}

// A driver that turns direct transfers down costs nothing but speed.
func TestRootDirectRefused(t *testing.T) {
	lab.Root(t)
	d := openTarget(t, lab.Loop(t, lab.File(t, 4*mib), 4096))
	want := AlignedBuffer(2 * mib)
	fillRandom(want, 1)
	calls := 0
	n, err := d.transfer(want, 0, func(f *os.File, p []byte, off int64) (int, error) {
		calls++
		if f == d.direct { // as the kernel does for memory that is not aligned
			return f.WriteAt(p[1:], off)
		}
		return f.WriteAt(p, off)
	})
	if n != len(want) || err != nil || calls != 2 || !d.slow.Load() {
		t.Errorf("got %d, %v after %d calls", n, err, calls)
	}
	compare(t, d, append(want, make([]byte, 2*mib)...), [][2]int64{{0, 4 * mib}})
}

func TestRootZeroAndDiscard(t *testing.T) {
	lab.Root(t)
	for _, sector := range []int{512, 4096} {
		d := openTarget(t, lab.Loop(t, lab.File(t, 2*mib), sector))
		for _, r := range [][2]int64{{0, 2 * mib}, {4096, 8192}, {5, 9}, {511, 2}, {1000, 300001}, {2*mib - 77, 77}, {2*mib - 4096, 4096}} {
			checkZero(t, d, r[0], r[1])
		}
		want := make([]byte, d.Size())
		fillRandom(want, 9)
		if _, err := d.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		// A range that is no whole number of sectors: its edges must survive.
		if err := d.Discard(100, mib); err != nil {
			t.Fatal(err)
		}
		for _, edge := range [][2]int64{{0, 100}, {mib + 100, mib - 100}} {
			got := make([]byte, edge[1])
			if _, err := d.ReadAt(got, edge[0]); err != nil || !bytes.Equal(got, want[edge[0]:edge[0]+edge[1]]) {
				t.Errorf("discard changed the %d bytes at %d, %v", edge[1], edge[0], err)
			}
		}
		if err := d.Discard(1, 10); err != nil {
			t.Errorf("less than a sector: %v", err)
		}
		if start, end, err := d.NextData(7); start != 7 || end != d.Size() || err != nil {
			t.Errorf("NextData: got %d, %d, %v", start, end, err)
		}
		if err := d.SetSize(d.Size()); err != nil {
			t.Errorf("the same size: %v", err)
		}
		if err := d.SetSize(d.Size() + 1); err == nil {
			t.Error("another size: got no error")
		}
	}
}

// A read after DropCache comes from the file below, not from memory.
func TestRootDropCache(t *testing.T) {
	lab.Root(t)
	file := lab.File(t, 4*mib)
	d, err := OpenSource(lab.Loop(t, file, 512))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := make([]byte, 100)
	if _, err := d.ReadAt(got, 1000); err != nil || !bytes.Equal(got, make([]byte, 100)) {
		t.Fatalf("got %x, %v", got, err)
	}
	want := bytes.Repeat([]byte{7}, 100)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(want, 1000); err != nil {
		t.Fatal(err)
	}
	if err := d.DropCache(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadAt(got, 1000); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}

// gpt makes a file with a GPT of twoParts.
func gpt(t *testing.T) string {
	t.Helper()
	lab.Tools(t, "sfdisk")
	path := lab.File(t, 64*mib)
	cmd := exec.Command("sfdisk", "--no-reread", "--no-tell-kernel", path)
	cmd.Stdin = strings.NewReader("label: gpt\nsize=20MiB\nsize=20MiB\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	return path
}

func TestRootRereadTable(t *testing.T) {
	lab.Root(t)
	raw, err := os.ReadFile(gpt(t))
	if err != nil {
		t.Fatal(err)
	}
	disk := lab.Loop(t, lab.File(t, 64*mib), 512)
	d := openTarget(t, disk)
	for _, r := range [][2]int64{{0, mib}, {63 * mib, mib}} {
		if _, err := d.WriteAt(raw[r[0]:r[0]+r[1]], r[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Sync(), d.RereadTable()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(PartitionPath(disk, 1)); err != nil {
		t.Logf("this kernel reads no GPT: %v", err)
	}
	for range 2 { // the second time there is nothing to do
		if err := d.AddPartitions(twoParts()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range twoParts() {
		info, err := Stat(PartitionPath(disk, r.Number))
		want := Range{info.Number, info.Start, info.Size}
		if err != nil || info.Kind != Partition || want != r || info.Parent != disk {
			t.Errorf("partition %d: got %+v, %v", r.Number, info, err)
		}
	}
	if err := d.AddPartitions([]Range{{1, mib, 19 * mib}}); err == nil {
		t.Error("a partition that the kernel has elsewhere: got no error")
	}
	if err := d.AddPartitions([]Range{{5, 2 * mib, 19 * mib}}); err == nil {
		t.Error("a partition over another: got no error")
	}
}

// RereadTable waits for others to let go of an old partition, and then it is
// gone.
func TestRootRereadHeldTable(t *testing.T) {
	lab.Root(t)
	disk := partedDisk(t)
	d := openTarget(t, disk)
	held, err := os.Open(PartitionPath(disk, 1))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- d.RereadTable() }()
	held.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(disk + "p1"); err == nil {
		t.Error("a partition of a table that is no more")
	}
}

// A loop device that scans no partitions has none to re-read.
func TestRootRereadWithoutPartitions(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup")
	dev := strings.TrimSpace(lab.Run(t, "losetup", "--find", "--show", lab.File(t, mib)))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", dev).Run() })
	if err := openTarget(t, dev).RereadTable(); err != nil {
		t.Error(err)
	}
}

func TestRootPartitionTarget(t *testing.T) {
	lab.Root(t)
	disk := partedDisk(t)
	d := openTarget(t, PartitionPath(disk, 2))
	want := AlignedBuffer(mib)
	fillRandom(want, 3)
	if _, err := d.WriteAt(want, 19*mib); err != nil {
		t.Fatal(err)
	}
	if n, err := d.WriteAt(want, 19*mib+512); n != 0 || !errors.Is(err, ErrPastEnd) {
		t.Errorf("past the end: got %d, %v", n, err)
	}
	if err := errors.Join(d.Sync(), d.RereadTable(), d.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSource(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := AlignedBuffer(mib)
	if _, err := s.ReadAt(got, 40*mib); err != nil || !bytes.Equal(got, want) {
		t.Errorf("through the disk: contents differ, %v", err)
	}
}

func TestRootList(t *testing.T) {
	lab.Root(t)
	disk := lab.Loop(t, lab.File(t, mib), 512)
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(list, func(i *Info) bool { return i.Path == disk && i.Size == mib }) {
		t.Errorf("%s is not listed", disk)
	}
}
