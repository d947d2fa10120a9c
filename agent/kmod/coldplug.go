package kmod

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Aliases returns the modaliases of all devices in sys, the root of a sysfs,
// sorted and each once. What cannot be read is passed over: devices come and
// go.
func Aliases(sys fs.FS) []string {
	var list []string
	fs.WalkDir(sys, "devices", func(name string, d fs.DirEntry, err error) error { // never fails
		if err != nil || d.IsDir() || path.Base(name) != "modalias" {
			return nil
		}
		if text, err := fs.ReadFile(sys, name); err == nil {
			list = append(list, strings.Fields(string(text))...)
		}
		return nil
	})
	slices.Sort(list)
	return slices.Compact(list)
}

// Coldplug loads the modules of all devices in sys, and of those that come up
// by it, until no new ones have appeared twice in a row, pause apart, or ctx is
// done. It returns the modaliases that it saw.
func (l *Loader) Coldplug(ctx context.Context, sys fs.FS, pause time.Duration) []string {
	var all []string
	for quiet := 0; quiet < 2; {
		all = Aliases(sys)
		quiet++
		if l.LoadAll(all) > 0 {
			quiet = 0
			continue
		}
		select {
		case <-ctx.Done():
			return all
		case <-time.After(pause):
		}
	}
	return all
}
