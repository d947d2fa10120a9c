package partition_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// A recipe makes a disk with the tools that people use.
type recipe struct {
	name   string
	size   int64
	script string     // for sfdisk
	sgdisk [][]string // afterwards, one run each
	notes  int        // how many are expected
}

func recipes() []recipe {
	return []recipe{
		{name: "gpt", size: 64 * miB, script: "label: gpt\nsize=8MiB, type=U, name=\"EFI ä\"\nsize=4MiB, type=S\nsize=40MiB, attrs=\"RequiredPartition GUID:63,60\"\n"},
		{name: "gpt unordered with gaps", size: 64 * miB, sgdisk: [][]string{{"-n7:40M:+2M", "-n2:20M:+5M", "-n128:4M:+1M", "-n1:50M:+9M"}}},
		{name: "gpt 128 partitions", size: 64 * miB, sgdisk: [][]string{manyPartitions(128)}},
		{name: "gpt 300 entries", size: 64 * miB, sgdisk: [][]string{{"-S300"}, {"-n300:2M:+2M", "-n1:5M:+2M"}}},
		{name: "gpt 8 entries", size: 64 * miB, sgdisk: [][]string{{"-S8"}, {"-n1:2M:+2M"}}},
		{name: "gpt moved entries", size: 64 * miB, sgdisk: [][]string{{"-j500"}, {"-n1:2M:+2M", "-n2:9M:+30M"}}},
		{name: "gpt hybrid", size: 64 * miB, sgdisk: [][]string{{"-n1:2M:+2M", "-n2:9M:+30M"}, {"-h1:2"}}, notes: 1},
		{name: "gpt empty", size: 64 * miB, script: "label: gpt\n"},
		{name: "gpt 3 TiB", size: 3 << 40, sgdisk: [][]string{{"-n1:2M:+2M", "-n2:9M:+3G"}}},
		{name: "mbr", size: 64 * miB, script: "label: dos\nsize=8MiB, type=c, bootable\nsize=4MiB, type=82\nsize=40MiB\n"},
		{name: "mbr gaps", size: 64 * miB, script: "label: dos\n3: start=90000, size=4000\n1: start=20000, size=2048, type=7\n"},
		{name: "mbr logical", size: 64 * miB, script: "label: dos\nsize=8MiB\nsize=50MiB, type=f\n" + strings.Repeat("size=2MiB\n", 12)},
		{name: "mbr logical odd order", size: 64 * miB, script: "label: dos\n1: start=2048, size=2048\n4: start=8192, size=100000, type=5\n" +
			"5: start=90000, size=2048\n6: start=20000, size=4096\n7: start=60000, size=20000, type=82\n8: start=10240, size=2048\n"},
		{name: "mbr empty container", size: 64 * miB, script: "label: dos\n1: start=2048, size=2048\n2: start=8192, size=100000, type=5\n"},
		{name: "mbr container first", size: 64 * miB, script: "label: dos\n2: start=2048, size=40960, type=f\n1: start=50000, size=20480\n5: start=4096, size=2048\n"},
	}
}

// manyPartitions returns arguments of sgdisk for n partitions side by side.
func manyPartitions(n int) []string {
	args := []string{"-a1"}
	for i := range n {
		args = append(args, fmt.Sprintf("-n%d:%d:+99", i+1, 2048+i*100))
	}
	return args
}

// make writes the table onto the disk at path.
func (r recipe) make(t *testing.T, path string) {
	t.Helper()
	if r.script != "" {
		cmd := exec.Command("sfdisk", "--quiet", path)
		cmd.Stdin = strings.NewReader(r.script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sfdisk: %v\n%s", err, out)
		}
	}
	for _, args := range r.sgdisk {
		lab.Run(t, "sgdisk", append(args, path)...)
	}
}

// dump is what sfdisk --json prints.
type dump struct {
	Table struct {
		Label      string
		ID         string
		SectorSize int64
		Partitions []struct {
			Node             string
			Start, Size      int64
			Type, UUID, Name string
			Bootable         bool
		}
	} `json:"partitiontable"`
}

// sfdisk returns the partitions as sfdisk sees them, as far as it tells.
func sfdisk(t *testing.T, path string) *partition.Table {
	t.Helper()
	text, err := exec.Command("sfdisk", "--json", path).Output() // warnings go to stderr
	if err != nil {
		t.Fatal(err)
	}
	var d dump
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	kind := map[string]partition.Kind{"gpt": partition.GPT, "dos": partition.MBR}[d.Table.Label]
	out := &partition.Table{Kind: kind, ID: strings.TrimPrefix(d.Table.ID, "0x"), SectorSize: int(d.Table.SectorSize)}
	for _, p := range d.Table.Partitions {
		q := partition.Partition{
			Number: numberOf(t, path, p.Node),
			Start:  p.Start * d.Table.SectorSize, Size: p.Size * d.Table.SectorSize,
			Type: p.Type, UUID: p.UUID, Name: p.Name, Boot: p.Bootable,
		}
		if kind == partition.MBR {
			q.Type = fmt.Sprintf("0x%02s", p.Type)
			q.UUID = fmt.Sprintf("%s-%02x", out.ID, q.Number)
			q.Logical = q.Number > 4
			q.Extended = partition.TypeName(q.Type) == "extended"
		}
		out.Partitions = append(out.Partitions, q)
	}
	slices.SortFunc(out.Partitions, func(a, b partition.Partition) int { return a.Number - b.Number })
	return out
}

func numberOf(t *testing.T, path, node string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimPrefix(node, path), "p"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// agree fails the test unless sfdisk sees the same, and neither it nor sgdisk
// finds anything wrong.
func agree(t *testing.T, path string, table *partition.Table) {
	t.Helper()
	got := *table
	got.Partitions = slices.Clone(table.Partitions)
	for i := range got.Partitions {
		got.Partitions[i].Attributes = 0 // sfdisk has names for them
	}
	sameTable(t, &got, sfdisk(t, path))
	partxAgrees(t, path, table)
	if out := lab.Run(t, "sfdisk", "--verify", path); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk --verify: %s", out)
	}
	if table.Kind != partition.GPT || strings.Contains(strings.Join(table.Notes, " "), "hybrid") {
		return // sgdisk compares a hybrid MBR with the GPT, we leave it as it is
	}
	if out := lab.Run(t, "sgdisk", "-v", path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v: %s", out)
	}
}

// Tables of sfdisk and sgdisk are read as sfdisk reads them. Placed on disks
// of other sizes, with and without growth, the tools find nothing wrong.
func TestTools(t *testing.T) {
	lab.Tools(t, "sfdisk", "sgdisk", "partx")
	for _, r := range recipes() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel() // sgdisk waits for the disk
			path := lab.File(t, r.size)
			r.make(t, path)
			table := mustRead(t, open(t, path), r.size, 0)
			agree(t, path, table)
			if len(table.Notes) != r.notes {
				t.Errorf("notes %q, want %d", table.Notes, r.notes)
			}
			for _, size := range []int64{r.size, table.MinSize(nil), r.size + 33*miB, 6 << 40} {
				for _, grow := range []bool{false, true} {
					if grow || size <= 64*miB || size == r.size {
						agreeOn(t, table, partition.PlaceOptions{Size: size, Grow: grow})
					}
				}
			}
			if last := len(table.Partitions); last > 0 && r.size == 64*miB {
				cut := halfOfLast(table)
				agreeOn(t, table, partition.PlaceOptions{Size: table.MinSize(cut), Need: cut})
			}
		})
	}
}

// halfOfLast needs all but half of the last partition by its place.
func halfOfLast(table *partition.Table) map[int]int64 {
	last := slices.MaxFunc(table.Partitions, func(a, b partition.Partition) int {
		if a.Extended != b.Extended {
			return map[bool]int{true: -1, false: 1}[a.Extended]
		}
		return int(a.Start/512 - b.Start/512)
	})
	return map[int]int64{last.Number: last.Size / 2}
}

// agreeOn places the table on a new disk and has the tools look at it.
func agreeOn(t *testing.T, table *partition.Table, o partition.PlaceOptions) {
	t.Helper()
	path := lab.File(t, o.Size)
	f := open(t, path)
	p := place(t, table, o)
	for _, w := range p.Writes {
		if _, err := f.WriteAt(w.Data, w.Offset); err != nil {
			t.Fatal(err)
		}
	}
	agree(t, path, p.Table)
	sameTable(t, mustRead(t, f, o.Size, 0), p.Table)
	if p.Grown == nil && p.Cut == nil && table.MinSize(nil) <= o.Size && !hasContainerBehind(table, o.Size) {
		samePartitions(t, p.Table.Partitions, table.Partitions)
	}
}

// hasContainerBehind reports whether the extended partition ends behind size.
func hasContainerBehind(table *partition.Table, size int64) bool {
	return slices.ContainsFunc(table.Partitions, func(p partition.Partition) bool { return p.Extended && p.End() > size })
}

// The same on disks with sectors of 4096 bytes, which need a loop
// device.
func TestRootTools4096(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "sfdisk", "sgdisk", "losetup", "partx")
	for _, r := range []recipe{
		{name: "gpt", script: "label: gpt\nsize=8MiB, type=U\nsize=4MiB, type=S\nsize=20MiB\n"},
		{name: "gpt sgdisk", sgdisk: [][]string{{"-n3:2M:+2M", "-n2:9M:+20M"}}},
		{name: "gpt moved entries", sgdisk: [][]string{{"-j64"}, {"-n3:2M:+2M", "-n2:9M:+20M"}}},
		{name: "mbr", script: "label: dos\n1: size=8MiB, bootable\n2: size=50MiB, type=f\n5: size=4MiB\n6: size=6MiB, type=82\n7: size=7MiB\n"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			const size = 64 * miB
			dev := lab.Loop(t, lab.File(t, size), 4096)
			r.make(t, dev)
			table := mustRead(t, open(t, dev), size, 4096)
			agree(t, dev, table)
			if table.Kind == partition.GPT {
				sameTable(t, mustRead(t, open(t, dev), size, 0), table)
			}
			for _, size := range []int64{size, table.MinSize(nil), 100 * miB} {
				dev := lab.Loop(t, lab.File(t, size), 4096)
				p := place(t, table, partition.PlaceOptions{Size: size, Grow: true})
				f := open(t, dev)
				for _, w := range p.Writes {
					if _, err := f.WriteAt(w.Data, w.Offset); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
				agree(t, dev, p.Table)
			}
		})
	}
}

// partxAgrees compares with libblkid, which counts as the kernel does. It
// gives a container no more than two sectors.
func partxAgrees(t *testing.T, path string, table *partition.Table) {
	t.Helper()
	sector := int64(table.SectorSize)
	var want []string
	containers := map[string]bool{}
	for _, p := range table.Partitions {
		containers[fmt.Sprint(p.Number)] = p.Extended
		if !p.Extended {
			want = append(want, fmt.Sprintf("%d %d %d %s", p.Number, p.Start/512, p.Size/512, strings.ToLower(p.UUID)))
		}
	}
	args := []string{"--noheadings", "--raw", "--output", "NR,START,SECTORS,UUID", "--sector-size", fmt.Sprint(sector), path}
	if len(want) == 0 {
		return // partx fails where there is none
	}
	var got []string
	for line := range strings.Lines(lab.Run(t, "partx", args...)) {
		if line = strings.TrimSpace(line); !containers[strings.Fields(line)[0]] {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("partx has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// libblkid numbers the partitions of an odd chain as we do.
func TestToolsCrafted(t *testing.T) {
	lab.Tools(t, "partx")
	for name, c := range crafted() {
		t.Run(name, func(t *testing.T) {
			path := lab.File(t, c.disk.size())
			if _, err := open(t, path).WriteAt(c.disk, 0); err != nil {
				t.Fatal(err)
			}
			partxAgrees(t, path, mustRead(t, c.disk, c.disk.size(), c.sector))
		})
	}
}
