package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/bundle"
	"slipcast/catalog/trust"
	"slipcast/internal/progress"
)

// bundleBuildOptions are the flags of bundle build.
type bundleBuildOptions struct {
	output     string
	force      bool
	signKey    string
	passphrase passphraseFlag
}

func newBundleBuildCmd(env *env) *cobra.Command {
	var opt bundleBuildOptions
	cmd := &cobra.Command{
		Use:   "build DIR",
		Short: "Make a bundle of a folder",
		Long: `Build reads DIR/bundle.yaml and the files that it names, and makes one file of them.
What is wrong with bundle.yaml is told with its line. Owners, times and umask do
not matter: the same files give the same bundle.

The file is called NAME@VERSION-RELEASE.slb, in the current folder, unless -o
says where it goes; - is standard output.

With --sign-key it writes FILE.minisig as well, as slipcast catalog sign does: the
signature of its author, by which who releases the bundle knows whose it is.

` + passphraseHelp,
		Example: `  slipcast bundle build licence-server
  slipcast bundle build licence-server -o licence.slb --sign-key ann.key`,
		Args: operands("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runBundleBuild(cmd.Context(), env, args[0], opt); err != nil {
				return fmt.Errorf("building %s: %w", args[0], err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&opt.output, "output", "o", "", "write the bundle to `FILE`")
	cmd.Flags().BoolVar(&opt.force, "force", false, "replace a file that is there")
	cmd.Flags().StringVar(&opt.signKey, "sign-key", "", "sign the bundle with the secret key in `FILE`")
	addPassphraseFlags(cmd, &opt.passphrase, false)
	return cmd
}

// runBundleBuild builds the bundle of a folder.
func runBundleBuild(ctx context.Context, env *env, dir string, opt bundleBuildOptions) error {
	began := time.Now()
	key, err := opt.key(ctx, env)
	if err != nil {
		return err
	}
	out := &bundleOutput{env: env, opt: opt}
	defer out.discard()
	meter := env.meter("building", "build", 0)
	m, err := bundle.Build(ctx, dir, out, bundle.BuildOptions{Progress: meter.Add, Ready: out.create})
	if err == nil {
		err = out.file.commit()
	}
	if err == nil && key != nil {
		err = signFile(ctx, out.opt.output, key)
	}
	meter.Done(err)
	if err != nil {
		return err
	}
	digest, err := bundleDigest(m)
	if err != nil {
		return err
	}
	took := time.Since(began)
	env.sum(fmt.Sprintf("built %s in %s", out.opt.output, progress.Duration(took)),
		fact{"bundle", m.ID()},
		fact{"holds", fmt.Sprintf("%s in %s", progress.Bytes(contentBytes(m)), progress.Bytes(out.written))},
		fact{"digest", digest})
	o := bundleFileObject("bundle_built", out.opt.output, m, digest, out.written)
	o["seconds"] = took.Seconds()
	env.result(o, out.opt.output == "-")
	return nil
}

// key returns the key that signs, nil if none does.
func (opt *bundleBuildOptions) key(ctx context.Context, env *env) (*trust.SecretKey, error) {
	switch {
	case opt.signKey == "":
		return nil, nil
	case opt.output == "-":
		return nil, usagef("--sign-key needs a file that the signature can be put beside, not standard output")
	}
	return opt.passphrase.readSecretKey(ctx, env, opt.signKey)
}

// A bundleOutput is a bundle that is being written: its name may be known only
// when its manifest is.
type bundleOutput struct {
	env     *env
	opt     bundleBuildOptions
	file    *newImage
	written int64
}

// create starts the file.
func (f *bundleOutput) create(m *bundle.Manifest) error {
	if f.opt.output == "" {
		f.opt.output = m.Ident().FileName()
	}
	if err := checkNewImage(f.env, "", f.opt.output, captureOptions{force: f.opt.force}); err != nil {
		return err
	}
	var err error
	f.file, err = createImage(f.env, f.opt.output)
	return err
}

// Write implements io.Writer.
func (f *bundleOutput) Write(p []byte) (int, error) {
	if f.file == nil {
		return 0, errors.New("written to before it is there")
	}
	n, err := f.file.Write(p)
	f.written += int64(n)
	return n, err
}

// discard removes what was not committed.
func (f *bundleOutput) discard() {
	if f.file != nil {
		f.file.discard()
	}
}

// contentBytes returns how many bytes the contents in a bundle have.
func contentBytes(m *bundle.Manifest) int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// bundleFileObject returns a bundle for programs.
func bundleFileObject(kind, path string, m *bundle.Manifest, digest string, size int64) map[string]any {
	return map[string]any{
		"type": kind, "bundle": path, "id": m.ID(), "digest": digest, "bundle_bytes": size, "content_bytes": contentBytes(m),
	}
}
