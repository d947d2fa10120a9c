package bundle

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed example.yaml
var exampleYAML string

// exampleName is what the example calls the bundle.
const exampleName = "example-greeting"

// Init makes dir, which must be empty or not there, the folder of a bundle of
// that name: a bundle.yaml that explains itself, and the files that it names. It can be
// built as it is.
func Init(dir, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	for _, f := range []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"files/etc/" + name + ".conf", "greeting = {{greeting}}\n", 0o666},
		{"scripts/post.sh", postScript, 0o777},
		{yamlName, strings.ReplaceAll(exampleYAML, exampleName, name), 0o666},
	} {
		if err := writeNew(filepath.Join(dir, f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// ErrNotEmpty reports a folder that has something in it.
var ErrNotEmpty = errors.New("the folder is not empty")

// postScript is the program of the example.
const postScript = `#!/bin/sh
# Runs in the root of the system that is changed, which is not the one that
# runs: no services, no network. Whatever it changes is part of the bundle.
set -eu
log=/var/log/slipcast-example.log
echo "$SLIPCAST_BUNDLE: $SLIPCAST_PHASE, greeting $SLIPCAST_PARAM_greeting" >>"$log"
`

// writeNew writes a file that is not there yet, in folders that may not be
// there yet.
func writeNew(path, text string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
