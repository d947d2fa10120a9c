package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"slipcast/catalog/trust"
	"slipcast/internal/durable"
)

// Endings of the files of a key.
const (
	secretEnding = ".key"
	publicEnding = ".pub"
)

// A newKey is a key on its way into two files: base.key and base.pub.
type newKey struct {
	base   string
	key    *trust.SecretKey
	secret []byte // the file
}

// newKeyFiles makes a key that is encrypted with the passphrase, if there is one.
func newKeyFiles(base, passphrase string) (*newKey, error) {
	key, err := trust.GenerateKey()
	if err != nil {
		return nil, err
	}
	secret, err := key.Encode(passphrase)
	if err != nil {
		return nil, err
	}
	return &newKey{base, key, secret}, nil
}

// freeKeyFiles refuses names for a key's files that are taken.
func freeKeyFiles(base string) error {
	for _, path := range []string{base + secretEnding, base + publicEnding} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
		}
	}
	return nil
}

// write makes the files. Both are on the disk then.
func (k *newKey) write() error {
	if err := writeFresh(k.base+secretEnding, 0o600, k.secret); err != nil {
		return err
	}
	if err := writeFresh(k.base+publicEnding, 0o644, k.key.Public().Encode()); err != nil {
		return errors.Join(err, os.Remove(k.base+secretEnding))
	}
	return durable.SyncDir(filepath.Dir(k.base))
}

// remove takes the files away again, where the key is of no use.
func (k *newKey) remove() error {
	return errors.Join(os.Remove(k.base+secretEnding), os.Remove(k.base+publicEnding))
}

// writeFresh makes a file that was not there. Whoever else makes it at the same time
// is not overwritten.
func writeFresh(path string, mode fs.FileMode, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
