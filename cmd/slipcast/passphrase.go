package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slipcast/catalog/trust"
)

// passphraseVariable is where a passphrase may stand that no person types.
const passphraseVariable = "SLIPCAST_PASSPHRASE"

// passphraseHelp tells where passphrases come from.
const passphraseHelp = `Passphrases come from --passphrase-file, else from SLIPCAST_PASSPHRASE, else they
are asked for on the terminal. Opening a key takes 1 GiB of memory and some seconds.`

// A passphraseFlag says where passphrases come from.
type passphraseFlag struct {
	file  string
	none  bool // keys that are made get none
	typed bool // SLIPCAST_PASSPHRASE is another one
}

// addPassphraseFlags adds the flags of commands that read secret keys, and, if they
// make some, that which says that these get no passphrase.
func addPassphraseFlags(cmd *cobra.Command, f *passphraseFlag, makes bool) {
	cmd.Flags().StringVar(&f.file, "passphrase-file", "", "read passphrases from the first line of `FILE`")
	if makes {
		cmd.Flags().BoolVar(&f.none, "no-passphrase", false, "do not encrypt the key: who gets hold of its file can sign")
	}
}

// given returns the passphrase that no person has to type, if there is one.
func (f *passphraseFlag) given() (text string, ok bool, err error) {
	if f.file == "" {
		text = os.Getenv(passphraseVariable)
		return text, text != "" && !f.typed, nil
	}
	p, err := os.ReadFile(f.file)
	if err != nil {
		return "", false, err
	}
	line, _, _ := strings.Cut(string(p), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", false, fmt.Errorf("%s: the first line is empty", f.file)
	}
	return line, true, nil
}

// ask returns the passphrase of the key in the file path.
func (f *passphraseFlag) ask(ctx context.Context, env *env, path string) (string, error) {
	if text, ok, err := f.given(); ok || err != nil {
		return text, err
	}
	return env.askSecret(ctx, "Passphrase of "+path)
}

// askNew returns a passphrase for a new key, empty if it is to have none.
func (f *passphraseFlag) askNew(ctx context.Context, env *env, path string) (string, error) {
	if f.none {
		return "", nil
	}
	if text, ok, err := f.given(); ok || err != nil {
		return text, err
	}
	text, err := env.askSecret(ctx, "New passphrase for "+path)
	if err != nil {
		return "", err
	}
	if text == "" {
		return "", errors.New("an empty passphrase protects nothing")
	}
	again, err := env.askSecret(ctx, "The same once more")
	if err != nil {
		return "", err
	}
	if again != text {
		return "", errors.New("the two passphrases differ")
	}
	return text, nil
}

// errNoTerminal reports that a passphrase is needed, and nobody can be asked.
var errNoTerminal = errors.New("it needs a passphrase, and nobody can be asked: this is not a terminal")

// askSecret asks a person for a line that the terminal does not show.
func (e *env) askSecret(ctx context.Context, question string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil || !isTerminal(e.stderr) {
		return "", errNoTerminal
	}
	defer tty.Close()
	fd := int(tty.Fd())
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", &os.PathError{Op: "tcgetattr", Path: tty.Name(), Err: err}
	}
	silent := *state
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ECHONL | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return "", &os.PathError{Op: "tcsetattr", Path: tty.Name(), Err: err}
	}
	defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, state) }() // a terminal that is gone needs no echo
	fmt.Fprintf(e.stderr, "%s: ", question)
	line, err := bufio.NewReader(newInput(ctx, tty)).ReadString('\n')
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", errNoTerminal
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// readSecretKey reads the secret key in a file.
func (f *passphraseFlag) readSecretKey(ctx context.Context, env *env, path string) (*trust.SecretKey, error) {
	p, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	key, err := trust.ParseSecretKey(p, func() (string, error) { return f.ask(ctx, env, path) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&0o077 != 0 && !trust.Encrypted(p) {
		env.note(path, "it is not encrypted, and others than its owner may read it")
	}
	return key, nil
}

// maxKeyFile is how long a file with a key may be, in bytes.
const maxKeyFile = 4 << 10

// readKeyFile reads a file with a key, or a pipe. Of one that is too long it returns
// one byte more.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile+1))
}

// readSecretKeys reads the secret keys in several files.
func (f *passphraseFlag) readSecretKeys(ctx context.Context, env *env, paths []string) ([]*trust.SecretKey, error) {
	var keys []*trust.SecretKey
	for _, path := range paths {
		key, err := f.readSecretKey(ctx, env, path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// readPublicKey reads the public key in a file.
func readPublicKey(path string) (trust.PublicKey, error) {
	p, err := readKeyFile(path)
	if err != nil {
		return trust.PublicKey{}, err
	}
	key, err := trust.ParsePublicKey(p)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return key, err
}

// readPublicKeys reads the public keys in several files.
func readPublicKeys(paths []string) ([]trust.PublicKey, error) {
	var keys []trust.PublicKey
	for _, path := range paths {
		key, err := readPublicKey(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
