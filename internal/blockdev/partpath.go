package blockdev

import "fmt"

// PartitionPath returns the path of the node of partition n of a disk. Where
// the kernel knows the partition, the path is what the kernel calls it; else
// it is what the kernel would call it.
func PartitionPath(disk string, n int) string {
	m := thisMachine()
	id, err := m.stat(disk)
	nodes, treeErr := readTree(m.sys)
	if err != nil || treeErr != nil || !id.isDevice() {
		return partName(disk, n)
	}
	return nodes.partitionPath(disk, id.rdev, n)
}

// partitionPath is PartitionPath for the disk with the number dev.
func (t tree) partitionPath(disk string, dev devno, n int) string {
	d := t.byDev(dev)
	if d == nil {
		return partName(disk, n)
	}
	for _, name := range d.parts {
		if p := t[name]; p.number == n {
			return "/dev/" + p.devName
		}
	}
	return "/dev/" + partName(d.devName, n)
}

// partName returns the name of a partition by the kernel's rule: a disk whose
// name ends in a digit has a p before the number.
func partName(disk string, n int) string {
	if last := disk[max(len(disk)-1, 0):]; last >= "0" && last <= "9" {
		return fmt.Sprintf("%sp%d", disk, n)
	}
	return fmt.Sprintf("%s%d", disk, n)
}
