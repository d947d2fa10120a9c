package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
)

// defaultOnlineKey is where the server has the online key if nobody says otherwise.
const defaultOnlineKey = "/var/lib/slipcast/online.key"

// A signFlags says where a catalog is, and which keys sign.
type signFlags struct {
	storeFlag
	passphraseFlag
	keys     []string // files of release keys
	online   string   // file of the online key
	isOnline func() bool
}

// addSignFlags adds the flags of commands that sign: those of the online key, and
// if release is set those of release keys.
func addSignFlags(cmd *cobra.Command, f *signFlags, release bool) {
	addStoreFlag(cmd, &f.storeFlag)
	if release {
		cmd.Flags().StringArrayVar(&f.keys, "key", nil, "sign with the secret release key in `FILE`; may be given several times")
		addPassphraseFlags(cmd, &f.passphraseFlag, false)
	}
	cmd.Flags().StringVar(&f.online, "online-key", defaultOnlineKey, "sign with the online key in `FILE` (also SLIPCAST_ONLINE_KEY)")
	settings(cmd, "online-key")
	f.isOnline = func() bool { return cmd.Flags().Changed("online-key") }
}

// repository opens the catalog of the store.
func (f *storeFlag) repository() (*trust.Repository, error) {
	s, err := f.open()
	if err != nil {
		return nil, err
	}
	return trust.OpenRepository(filepath.Join(s.Dir(), "catalog"))
}

// releaseKeys reads the release keys.
func (f *signFlags) releaseKeys(ctx context.Context, env *env) ([]*trust.SecretKey, error) {
	if len(f.keys) == 0 {
		return nil, usagef("which release key signs? --key FILE says so")
	}
	return f.readSecretKeys(ctx, env, f.keys)
}

// onlineKey reads the online key. Where nobody says where it is, it may be missing:
// nil without an error.
func (f *signFlags) onlineKey(ctx context.Context, env *env) (*trust.SecretKey, error) {
	if _, err := os.Stat(f.online); errors.Is(err, fs.ErrNotExist) && !f.isOnline() {
		return nil, nil
	}
	return f.readSecretKey(ctx, env, f.online)
}

// warnExpiry tells what expires before long, or has.
func warnExpiry(ctx context.Context, env *env, r *trust.Repository) error {
	s, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if s.Pending {
		env.note(r.Dir(), "what was released last is given to nobody before slipcast catalog refresh has signed it with the online key")
	}
	now := time.Now()
	for _, role := range s.Roles {
		switch {
		case role.Version == 0 || !role.Due:
		case role.Expired(now):
			env.note(r.Dir(), fmt.Sprintf("its %s has expired at %s, and no machine takes it; %s", role.Role, clock(role.Expires), renewal(role.Role)))
		default:
			env.note(r.Dir(), fmt.Sprintf("its %s expires at %s; %s", role.Role, clock(role.Expires), renewal(role.Role)))
		}
	}
	return nil
}

// renewal tells how a role is signed anew.
func renewal(role string) string {
	switch role {
	case "root":
		return "slipcast catalog rotate signs it anew with the release keys"
	case "targets":
		return "slipcast catalog release signs it anew with the release keys"
	}
	return "slipcast catalog refresh signs it anew with the online key, and slipcast serve does that every day"
}

// clock shows a time to people.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// rfc3339 shows a time to programs.
func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// versionsObject adds the versions of a catalog to an object for programs.
func versionsObject(o map[string]any, v trust.Versions) map[string]any {
	o["root"], o["targets"], o["snapshot"], o["timestamp"] = v.Root, v.Targets, v.Snapshot, v.Timestamp
	return o
}

// isUntrusted tells whether an error is that a catalog, or a file of it, is not what
// was signed.
func isUntrusted(err error) bool {
	return slices.ContainsFunc([]error{
		trust.ErrMalformed, trust.ErrSignature, trust.ErrMismatch, trust.ErrExpired, trust.ErrRollback, trust.ErrTicket, trust.ErrAuthor,
	}, func(is error) bool { return errors.Is(err, is) })
}
