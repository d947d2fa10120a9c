package kmod

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Insert returns a function for [NewLoader] that gives the running kernel the
// modules below folder, without options.
func Insert(folder string) func(file string) error {
	return func(file string) error {
		f, err := os.Open(filepath.Join(folder, file))
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.FinitModule(int(f.Fd()), "", 0)
	}
}
