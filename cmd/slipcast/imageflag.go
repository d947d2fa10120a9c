package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/image/store"
)

// defaultStore is where images lie if nobody says otherwise.
const defaultStore = "/var/lib/slipcast/store"

// imageFlags say where an IMAGE that is no file is looked for.
type imageFlags struct {
	storeFlag
	pin pin
}

// addImageFlags adds the flags that all commands have that read an IMAGE.
func addImageFlags(cmd *cobra.Command, flags *imageFlags) {
	addStoreFlag(cmd, &flags.storeFlag)
	cmd.Flags().Var(&flags.pin, "pin", "take only the web server whose key has this SHA-256 (SubjectPublicKeyInfo)")
	settings(cmd, "pin")
	cmd.ValidArgsFunction = flags.complete
}

// imageHelp tells what IMAGE may be, in the help of all commands that read one.
const imageHelp = `IMAGE is a file, NAME or NAME@VERSION in the store of --store, or a URL of http
or https; what exists, has a slash in it or ends like a file (.zst) is one. With
--pin the web server needs no other certificate; it is sent the token in
SLIPCAST_TOKEN by https alone.`

// A storeFlag is the flag --store.
type storeFlag struct {
	dir    string
	settle func() error // gives flags that were not given their settings
}

// addStoreFlag adds the flag --store.
func addStoreFlag(cmd *cobra.Command, f *storeFlag) {
	cmd.Flags().StringVar(&f.dir, "store", defaultStore, "the folder `DIR` of the store (also SLIPCAST_STORE)")
	settings(cmd, "store")
	f.settle = func() error { return applySettings(cmd) }
}

// open opens the store.
func (f *storeFlag) open() (*store.Store, error) {
	if err := f.settle(); err != nil {
		return nil, err
	}
	return store.Open(f.dir)
}

// isStored tells whether IMAGE names an image in a store rather than a file.
func isStored(path string) bool {
	return path != "-" && !exists(path) && !strings.Contains(path, "/") && !store.IsFileName(path)
}

// openStoredImage opens an image in the store.
func openStoredImage(ref string, flags *imageFlags) (*imageFile, error) {
	s, err := flags.open()
	if err != nil {
		if errors.Is(err, store.ErrNotStore) {
			err = &noImageError{ref, flags.dir, err}
		}
		return nil, err
	}
	r, err := store.ParseRef(ref)
	if err != nil {
		return nil, &noImageError{ref, s.Dir(), err}
	}
	im, err := s.OpenImage(r)
	if errors.Is(err, store.ErrNotFound) {
		err = &noImageError{ref, s.Dir(), err}
	}
	if err != nil {
		return nil, err
	}
	return &imageFile{im.Assembled.Image, im}, nil
}

// A noImageError reports an IMAGE that is neither a file nor in the store.
type noImageError struct {
	ref, dir string
	err      error
}

func (e *noImageError) Error() string {
	if errors.Is(e.err, store.ErrNotFound) {
		return fmt.Sprintf("there is no file %s, and no such image in the store %s", e.ref, e.dir)
	}
	return fmt.Sprintf("there is no file %s, and as an image of a store: %v", e.ref, e.err)
}

func (e *noImageError) Unwrap() error { return e.err }

// openRemoteImage opens an image on a web server.
func openRemoteImage(ctx context.Context, url string, flags *imageFlags) (*imageFile, error) {
	f, err := openRemoteFile(ctx, url, flags)
	if err != nil {
		return nil, err
	}
	return openRaw(f)
}

func openRemoteFile(ctx context.Context, url string, flags *imageFlags) (*remoteFile, error) {
	if err := flags.settle(); err != nil {
		return nil, err
	}
	if flags.pin != nil && !strings.HasPrefix(url, "https://") {
		return nil, usagef("--pin: only https has keys")
	}
	return openRemote(ctx, url, flags.pin)
}

// complete completes IMAGE: with names in the store, and files.
func (f *imageFlags) complete(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return f.names(), cobra.ShellCompDirectiveDefault
}

// names returns the images in the store for the shell, which hears of no error.
func (f *storeFlag) names() []string {
	s, err := f.open()
	if err != nil {
		return nil
	}
	names, err := s.Names()
	if err != nil {
		return nil
	}
	return names
}

// A pin is the value of a flag for the SHA-256 of a key: nil until it is given.
type pin []byte

// Set implements pflag.Value.
func (p *pin) Set(text string) error {
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(b) != 32 {
		return errors.New("want 64 hexadecimal digits")
	}
	*p = b
	return nil
}

// String implements pflag.Value.
func (p *pin) String() string { return hex.EncodeToString(*p) }

// Type implements pflag.Value.
func (p *pin) Type() string { return "hex" }

var _ rawImage = (*store.Image)(nil)
var _ rawImage = (*remoteFile)(nil)
var _ rawImage = (*localFile)(nil)
