package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// What is mounted over files of the tree.
const (
	policyPath = "usr/sbin/policy-rc.d"
	resolvPath = "etc/resolv.conf"
)

// policyText refuses to start or stop any service: exit code 101 of the
// interface that invoke-rc.d(8) asks.
const policyText = "#!/bin/sh\nexit 101\n"

// configuration lays files of our own over files of the tree.
func (r *room) configuration() error {
	dir, err := r.inRun("etc")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := r.cover(dir, policyPath, policyText, 0o755); err != nil {
		return err
	}
	if !r.Net {
		return nil
	}
	if text, ok := r.linkIntoRun(resolvPath); ok {
		return r.placeInRun(text)
	}
	return r.cover(dir, resolvPath, string(r.DNS), 0o644)
}

// cover mounts a file with our text over one of the tree. If there is none,
// because its folder is not there, nobody will look for it.
func (r *room) cover(dir *os.File, name, text string, mode uint32) error {
	if err := put(dir, path.Base(name), []byte(text), mode); err != nil {
		return err
	}
	source, err := pathrs.OpenatInRoot(dir, path.Base(name))
	if err != nil {
		return err
	}
	defer source.Close()
	err = r.bind(source, name, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// linkIntoRun tells whether a file is a symbolic link into /run, which is ours:
// so systemd-resolved has it. It returns the path from there.
func (r *room) linkIntoRun(name string) (string, bool) {
	folder, err := r.at(path.Dir(name))
	if err != nil {
		return "", false
	}
	defer folder.Close()
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(folder.Fd()), path.Base(name), text)
	if err != nil {
		return "", false
	}
	target := string(text[:n])
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(name), target)
	}
	return strings.CutPrefix(path.Clean(target), "/run/")
}

// placeInRun puts the configuration of the resolver into our /run.
func (r *room) placeInRun(name string) error {
	run, err := r.at("run")
	if err != nil {
		return err
	}
	defer run.Close()
	dir, err := pathrs.MkdirAllHandle(run, path.Dir(name), 0o755)
	if err != nil {
		return err
	}
	defer dir.Close()
	return put(dir, path.Base(name), r.DNS, 0o644)
}
