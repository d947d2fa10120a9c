package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/depot"
	"slipcast/internal/progress"
)

// mirrorOptions say what a mirror fetches, and from whom.
type mirrorOptions struct {
	depotFlags
	pin     pin
	payload payloadFlag
	rate    bitRate
}

// slowestMirror is the least that --rate takes, in bits a second: with less, eight
// requests at a time look as if the origin were lost.
const slowestMirror = 64e3

func newStoreMirrorCmd(env *env) *cobra.Command {
	var opt mirrorOptions
	cmd := &cobra.Command{
		Use:   "mirror URL",
		Short: "Fetch what the catalog of another store names",
		Long: `Mirror makes the store have what the catalog of the store at URL names: bundles, the
most severe first, then images, of which only the data comes that the store lacks.
URL is that of the store's folder on any web server. Nothing is believed that comes
from there: the catalog is checked as a machine does it, from the root of --trust the
first time, and later from the store's own, and everything else by the catalog.

Whatever ends mirror before its end leaves the store with the catalog that it had.
The next mirror goes on there. What has been recalled is not fetched; what the
store has already stays.

With --payload critical only critical bundles come, with none only the catalog; the
rest comes with the next mirror that asks for it.

A server is sent the token in SLIPCAST_TOKEN by https alone. Redirects are refused.`,
		Example: `  slipcast store mirror https://images.example.org/store/ --trust root.json
  slipcast store mirror https://images.example.org/store/ --rate 20mbit --payload critical`,
		Args: operands("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runStoreMirror(cmd.Context(), env, args[0], &opt); err != nil {
				return fmt.Errorf("mirroring %s: %w", plain(args[0], 200), depotError(err))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	addDepotFlags(cmd, &opt.depotFlags)
	cmd.Flags().Var(&opt.pin, "pin", "take only the server whose key has this SHA-256 (SubjectPublicKeyInfo)")
	cmd.Flags().Var(&opt.payload, "payload", "fetch `WHAT` beside the catalog: all, critical or none")
	cmd.Flags().Var(&opt.rate, "rate", "fetch no more than that in a second, in all: 20mbit")
	return cmd
}

// client returns who asks the server at a URL.
func (opt *mirrorOptions) client(base *url.URL) *http.Client {
	token := ""
	if base.Scheme == "https" {
		token = os.Getenv("SLIPCAST_TOKEN")
	}
	return &http.Client{Transport: bearer{token, remoteTransport(opt.pin)}}
}

// hopeless tells whether another try would not change an error of a client.
func hopeless(err error) bool { return errors.As(explainRemote(err), new(*finalError)) }

func runStoreMirror(ctx context.Context, env *env, text string, opt *mirrorOptions) error {
	base, err := url.Parse(text)
	if err != nil || !isRemote(text) || base.Host == "" {
		return usagef("%q is no URL of a web server", plain(text, 200))
	}
	if opt.rate != 0 && opt.rate < slowestMirror {
		return usagef("--rate: want at least %s", bits(slowestMirror))
	}
	s, err := opt.open()
	if err != nil {
		return err
	}
	root, err := opt.trusted()
	if err != nil {
		return err
	}
	began := time.Now()
	var meter *progress.Meter
	done, err := depot.Mirror(ctx, s, depot.MirrorOptions{
		URL: base, Client: opt.client(base), Hopeless: hopeless, Root: root, Payload: depot.Payload(opt.payload), Rate: int64(opt.rate) / 8,
		Begin:    func(total int64) { meter = env.meter("mirroring", "mirror", total) },
		Progress: func(n int64) { meter.Add(n) },
	})
	if meter != nil {
		meter.Done(err)
	}
	if err != nil {
		return err
	}
	env.mirrored(text, s.Dir(), done, time.Since(began))
	return nil
}

// mirrored tells what a mirror has done.
func (e *env) mirrored(url, dir string, done *depot.Mirrored, took time.Duration) {
	c := done.Catalog
	if c.Expired {
		e.note(url, "its catalog has expired, and machines take nothing of it")
	}
	e.sum(fmt.Sprintf("mirrored %s in %s", url, speed(done.Bytes, took)),
		fact{"came", fmt.Sprintf("%s, %s, %s", count(done.Bundles, "bundle"), count(done.Images, "image"), progress.Bytes(done.Bytes))},
		fact{"catalog", fmt.Sprintf("version %d of the list, good until %s", c.Versions.Targets, clock(c.Expires))})
	e.result(versionsObject(map[string]any{
		"type": "mirrored", "url": url, "store": dir, "bundles": done.Bundles, "images": done.Images, "chunks": done.Frames,
		"fetched_bytes": done.Bytes, "expires": rfc3339(c.Expires), "seconds": took.Seconds(),
	}, c.Versions), false)
}
