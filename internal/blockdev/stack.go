package blockdev

import (
	"fmt"
	"slices"
	"strings"
)

// below returns what the named devices lie on, themselves included. direct
// are the devices whose bytes are theirs: the devices below, and below those.
// disks are the disks that those are partitions of; overwriting such a disk
// destroys the named devices, overwriting another partition of it does not.
func (s *state) below(names ...string) (direct, disks map[string]bool) {
	direct, disks = map[string]bool{}, map[string]bool{}
	for queue := slices.Clone(names); len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if direct[name] {
			continue
		}
		direct[name] = true
		queue = append(queue, s.under[name]...)
		if n := s.nodes[name]; n != nil && n.disk != "" {
			disks[n.disk] = true
			queue = append(queue, s.under[n.disk]...)
		}
	}
	return direct, disks
}

// above returns the device, its partitions and everything that lies on any of
// them, sorted. For a partition the disk is among them, since what uses the
// disk as a whole uses the partition; its other partitions are not.
func (s *state) above(name string) []string {
	found := map[string]bool{}
	queue := []string{name}
	if n := s.nodes[name]; n != nil && n.disk != "" {
		found[n.disk] = true
		queue = append(queue, s.over[n.disk]...)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if found[name] {
			continue
		}
		found[name] = true
		queue = append(queue, s.over[name]...)
		if n := s.nodes[name]; n != nil {
			queue = append(queue, n.parts...)
		}
	}
	return sortedKeys(found)
}

// overlaps reports whether writing to the device called name changes what the
// devices that hold (each by its name) lie on.
func (s *state) overlaps(name string, hold []string) bool {
	direct, disks := s.below(hold...)
	if direct[name] || disks[name] {
		return true
	}
	n := s.nodes[name]
	return n != nil && n.disk != "" && direct[n.disk]
}

// foundation returns the devices that the file at path is stored on, or the
// device itself if path is one. What lies on no block device (a network file
// system, memory) has none.
func (s *state) foundation(path string) ([]string, error) {
	id, err := s.stat(path)
	if err != nil {
		return nil, err
	}
	if id.isDevice() {
		return s.names(id.rdev), nil
	}
	names := s.names(id.dev)
	for i := range s.mounts {
		if s.mounts[i].id == id.mount {
			return append(names, s.mountDevices(&s.mounts[i], map[int]bool{})...), nil
		}
	}
	return append(names, s.mountDevices(mountOf(s.mounts, path), map[int]bool{})...), nil
}

// mountsOn returns where the file systems on the named devices are mounted,
// sorted.
func (s *state) mountsOn(names []string) []string {
	points := map[string]bool{}
	for i := range s.mounts {
		m := &s.mounts[i]
		if m.fsType == "overlay" {
			continue // its layers are mounts of their own
		}
		for _, name := range s.mountDevices(m, map[int]bool{}) {
			if slices.Contains(names, name) {
				points[m.point] = true
			}
		}
	}
	return sortedKeys(points)
}

// swapOn returns the swap devices among the named devices, as /proc/swaps
// names them. A path that is gone is compared by its last part.
func (s *state) swapOn(names []string) []string {
	var found []string
	for _, path := range s.swaps {
		name := path[strings.LastIndexByte(path, '/')+1:]
		if id, err := s.stat(path); err == nil {
			name = s.name(id.rdev)
		}
		if slices.Contains(names, name) {
			found = append(found, path)
		}
	}
	return found
}

// loopsOf returns the loop devices that are attached to a file or device.
func (s *state) loopsOf(id fileID) []string {
	var names []string
	for name, file := range s.files {
		if file.same(id) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// label formats the name of a device for people: dm-0 (vg-root).
func (s *state) label(name string) string {
	if n := s.nodes[name]; n != nil {
		if dm := clean(attr(s.sys, n.dir, "dm/name")); dm != "" {
			return fmt.Sprintf("%s (%s)", name, dm)
		}
	}
	return name
}

func sortedKeys(set map[string]bool) []string {
	var keys []string
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
