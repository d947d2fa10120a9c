package blockdev

import (
	"slices"
	"strings"
)

// checkSource returns why the source must not be read: something mounted or
// used as swap changes while it is read. It returns the devices that lie on
// the source, itself included.
func (s *state) checkSource(path string, id fileID) ([]string, error) {
	if err := kindError(path, id); err != nil {
		return nil, err
	}
	stack := s.stackOn(id)
	if points := s.mountsOn(stack); len(points) > 0 {
		return nil, &RefusedError{Path: path, Reason: Mounted, Detail: strings.Join(points, ", ")}
	}
	paths := s.swapOn(stack)
	for _, swap := range s.swaps {
		if swapID, err := s.stat(swap); err == nil && swapID.same(id) && !slices.Contains(paths, swap) {
			paths = append(paths, swap)
		}
	}
	if len(paths) > 0 {
		return nil, &RefusedError{Path: path, Reason: Swap, Detail: strings.Join(paths, ", ")}
	}
	return stack, nil
}

// stackOn returns the devices that lie on a device or file, a device itself
// included.
func (s *state) stackOn(id fileID) []string {
	roots := s.loopsOf(id)
	if id.isDevice() {
		roots = append(roots, s.names(id.rdev)...)
	}
	found := map[string]bool{}
	for _, name := range roots {
		for _, above := range s.above(name) {
			found[above] = true
		}
	}
	return sortedKeys(found)
}
