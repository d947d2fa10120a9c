package image

import (
	"bytes"
	"errors"
	"testing"

	"slipcast/partition"
)

// placed checks that the target holds the bytes in use and the table, adapted
// to its size, and returns that table.
func placed(t *testing.T, what string, d testDisk, b []byte) *partition.Table {
	t.Helper()
	used := d.dataOnly(t)
	sameUsed(t, what, b, d.b, used.Within(partition.Extent{Length: int64(len(b))}))
	table := mustTable(t, b)
	if table.ID != d.layout.Table.ID || len(table.Partitions) != len(d.layout.Table.Partitions) || len(table.Notes) > 0 {
		t.Errorf("%s: table %s with %d partitions, %q", what, table.ID, len(table.Partitions), table.Notes)
	}
	return table
}

// sizes are targets larger and smaller than the test disks, of 3.5 MiB.
var resizes = []struct {
	name  string
	delta int
}{{"a sector larger", 512}, {"larger", 3*miB + 512}, {"slightly larger", 200 * kiB}, {"smaller", -100 * kiB}, {"odd", 12345}}

// A target of another size gets the same data; the backup of a GPT goes to
// its end, and the old place of it is wiped.
func TestRestoreOtherSize(t *testing.T) {
	for name, d := range testDisks(t) {
		if d.layout.Table.Kind == partition.None {
			continue
		}
		image := smallImage(t, d)
		for _, tt := range resizes {
			for _, stream := range []bool{false, true} {
				size := len(d.b) + tt.delta
				dst := newRecorder(oldDisk(size / 512 * 512))
				dst.cache, dst.durable = append(dst.cache, make([]byte, size%512)...), append(dst.durable, make([]byte, size%512)...)
				stats := mustRestore(t, image, stream, dst, RestoreOptions{Verify: true, Workers: 2})
				table := placed(t, name+" "+tt.name, d, dst.durable)
				if !stats.Moved || stats.Grown != nil || stats.Cut != nil {
					t.Errorf("%s %s: %+v", name, tt.name, stats)
				}
				for i, p := range table.Partitions {
					if want := d.layout.Table.Partitions[i]; p != want && !p.Extended {
						t.Errorf("%s %s: partition %+v, want %+v", name, tt.name, p, want)
					}
				}
				if d.layout.Table.Kind == partition.GPT && tt.delta > 100*kiB && !isZero(dst.durable[len(d.b)-33*512:len(d.b)]) {
					t.Errorf("%s %s: the old backup table is still there", name, tt.name)
				}
			}
		}
	}
}

// A target of the same kind that is far too small is refused before the first
// byte, with both numbers; the smallest that is not refused holds everything.
func TestRestoreTooSmall(t *testing.T) {
	for name, d := range testDisks(t) {
		image := smallImage(t, d)
		least := openBytes(t, image).MinSize(0)
		for _, size := range []int64{0, 1, 512, least / 2, least - 1} {
			for _, stream := range []bool{false, true} {
				dst := newRecorder(garbage(int(size)))
				_, err := restoreBytes(t.Context(), image, stream, dst, RestoreOptions{})
				var small *TooSmallError
				if !errors.As(err, &small) || small.Have != size || small.Need < least || len(dst.ops) > 0 {
					t.Errorf("%s, %d bytes: got %v after %d operations, want at least %d", name, size, err, len(dst.ops), least)
				}
			}
		}
		dst := newRecorder(garbage(int(least)))
		stats := mustRestore(t, smallImage(t, d), false, dst, RestoreOptions{Verify: true})
		if name == "none" {
			sameUsed(t, name, dst.durable, d.b, d.layout.Used)
			continue
		}
		table := placed(t, name, d, dst.durable)
		if stats.Cut == nil || stats.Cut.Number != table.Partitions[len(table.Partitions)-1].Number {
			t.Errorf("%s: cut %+v", name, stats.Cut)
		}
	}
}

// Grow extends the last partition, and nothing else.
func TestRestoreGrow(t *testing.T) {
	for name, d := range testDisks(t) {
		if d.layout.Table.Kind == partition.None {
			continue
		}
		for _, stream := range []bool{false, true} {
			dst := newRecorder(garbage(len(d.b) + 4*miB))
			stats := mustRestore(t, smallImage(t, d), stream, dst, RestoreOptions{Verify: true, Grow: true})
			table := placed(t, name, d, dst.durable)
			last := table.Partitions[len(table.Partitions)-1]
			if stats.Grown == nil || *stats.Grown != last || last.Size < d.layout.Table.Partitions[len(table.Partitions)-1].Size+2*miB {
				t.Errorf("%s: grown %+v, the last partition is %+v", name, stats.Grown, last)
			}
		}
	}
}

// One partition of a disk goes into a partition; its ends lie within chunks.
func TestRestorePartition(t *testing.T) {
	for name, d := range testDisks(t) {
		image := smallImage(t, d)
		for _, v := range d.layout.Volumes {
			if v.Number == 0 {
				continue
			}
			used := d.layout.Used.Within(v.Extent()).Shift(-v.Start)
			want := d.b[v.Start : v.Start+v.Size]
			for i, size := range []int64{v.Size, v.Size + 512, used.End() + 4096} {
				for _, opt := range []RestoreOptions{{Verify: true, Workers: i}, {Delta: i < 2, Discard: i > 0, Verify: true}} {
					for _, stream := range []bool{false, true} {
						opt.Partition = v.Number
						dst := newRecorder(garbage(int(size)))
						stats := mustRestore(t, image, stream, dst, opt)
						sameUsed(t, name, dst.durable, want, used)
						if stats.Moved || stats.Chunks == 0 {
							t.Errorf("%s: %+v", name, stats)
						}
						again := newRecorder(dst.durable)
						opt.Delta = true
						mustRestore(t, image, stream, again, opt)
						if again.written() != 0 {
							t.Errorf("%s: %d bytes were written the second time", name, again.written())
						}
					}
				}
			}
		}
	}
}

// What cannot be is refused.
func TestRestoreRefused(t *testing.T) {
	d := testDisks(t)["mbr"]
	for _, tt := range []struct {
		name string
		size int
		opt  RestoreOptions
		want error
	}{
		{"no such partition", len(d.b), RestoreOptions{Partition: 3}, nil},
		{"the extended partition", len(d.b), RestoreOptions{Partition: 2}, nil},
		{"negative", len(d.b), RestoreOptions{Partition: -1}, nil},
		{"a partition too small", 1000*kiB - 1, RestoreOptions{Partition: 1}, nil},
		{"larger sectors", len(d.b), RestoreOptions{TargetSector: 4096}, ErrSectorSize},
		{"larger sectors for a partition", len(d.b), RestoreOptions{TargetSector: 4096, Partition: 1}, ErrSectorSize},
	} {
		dst := newRecorder(garbage(tt.size))
		_, err := restoreBytes(t.Context(), smallImage(t, d), false, dst, tt.opt)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || isDamage(err) || len(dst.ops) > 0 {
			t.Errorf("%s: got %v after %d operations", tt.name, err, len(dst.ops))
		}
	}
}

// What is in use outside of all partitions is not lost on a smaller target,
// and a hostile image cannot fill the memory with it.
func TestRestoreLoose(t *testing.T) {
	for _, name := range []string{"gpt", "mbr"} {
		d := testDisks(t)[name]
		loose := partition.Extent{Start: int64(len(d.b)) - 60*kiB, Length: 512}
		d.layout.Used = d.layout.Used.Union(partition.Extents{loose})
		for _, stream := range []bool{false, true} {
			dst := newRecorder(garbage(len(d.b) - 100*kiB))
			_, err := restoreBytes(t.Context(), smallImage(t, d), stream, dst, RestoreOptions{})
			var small *TooSmallError
			if !errors.As(err, &small) || small.Need != loose.End() {
				t.Errorf("%s: got %v, want a TooSmallError of %d", name, err, loose.End())
			}
			if (!stream || name == "mbr") && len(dst.ops) > 0 {
				t.Errorf("%s: %v was done", name, dst.ops)
			}
			noTable(t, d, dst.durable)
		}
	}
	const size = 64 * miB
	far := tableDisk(t, craftGPT(size, partition.Extent{Start: miB, Length: 1000 * kiB}))
	far.layout.Used = far.layout.Used.Union(partition.Extents{{Start: 4 * miB, Length: 50 * miB}})
	if need := openBytes(t, captureBytes(t, far.b, far.layout, CaptureOptions{})).MinSize(0); need < 54*miB {
		t.Errorf("MinSize is %d with bytes in use up to %d", need, 54*miB)
	}
}

// Compare sees what a restore onto another size has made as no difference.
func TestCompareOtherSize(t *testing.T) {
	for name, d := range testDisks(t) {
		image := smallImage(t, d)
		im := openBytes(t, image)
		for _, delta := range []int{0, 3 * miB} {
			dst := &memory{garbage(len(d.b) + delta)}
			mustRestore(t, image, false, dst, RestoreOptions{})
			found := differences(t, im, dst.b, 0)
			if len(found) > 0 {
				t.Errorf("%s, %d bytes larger: %v", name, delta, found)
			}
			u := d.layout.Used.Within(partition.Extent{Start: vitalSize, Length: 512 * kiB})[0]
			dst.b[u.Start] ^= 1
			found = differences(t, im, dst.b, 0)
			if len(found) != 1 || found[0].Intersect(u).Length == 0 {
				t.Errorf("%s: found %v, want the chunk of byte %d", name, found, u.Start)
			}
			dst.b[u.Start] ^= 1
			dst.b[440] ^= 1
			if found = differences(t, im, dst.b, 0); len(found) == 0 || found[0].Start != 0 {
				t.Errorf("%s: found %v, want the first chunk", name, found)
			}
		}
	}
}

func differences(t *testing.T, im *Image, b []byte, number int) []Difference {
	t.Helper()
	var found []Difference
	err := im.Compare(t.Context(), &memory{b}, int64(len(b)), VerifyOptions{Partition: number, Workers: 3}, func(d Difference) { found = append(found, d) })
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// One partition is compared with a partition; one that is too short differs.
func TestComparePartition(t *testing.T) {
	d := testDisks(t)["gpt"]
	im := openBytes(t, smallImage(t, d))
	p := d.layout.Table.Partitions[1]
	part := bytes.Clone(d.b[p.Start:p.End()])
	if found := differences(t, im, part, 2); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	part[300*kiB-1] ^= 1
	found := differences(t, im, part, 2)
	if len(found) != 1 || found[0].Place != "partition 2" {
		t.Errorf("found %v", found)
	}
	if found := differences(t, im, part[:950*kiB], 2); len(found) == 0 {
		t.Error("a target that is too short does not differ")
	}
	if err := im.Compare(t.Context(), &memory{part}, int64(len(part)), VerifyOptions{Partition: 9}, nil); err == nil {
		t.Error("partition 9 was compared")
	}
}
