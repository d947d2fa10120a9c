package fresh

import (
	"bytes"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"slipcast/internal/lab"
)

// checkHostKey checks a pair of keys in files.
func checkHostKey(t *testing.T, name, kind, comment string) {
	t.Helper()
	private := read(t, name)
	signer, err := ssh.ParsePrivateKey([]byte(private))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	public, got, _, rest, err := ssh.ParseAuthorizedKey([]byte(read(t, name+".pub")))
	if err != nil || got != comment || len(rest) > 0 || public.Type() != kind {
		t.Errorf("%s.pub is a %v of %q, %v, %q behind it, want %s of %q", name, public, got, err, rest, kind, comment)
		return
	}
	if !bytes.Equal(public.Marshal(), signer.PublicKey().Marshal()) {
		t.Errorf("%s and its public part are not of one pair", name)
	}
}

func TestRenewHostKeys(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{
		"etc/passwd": "root", "etc/hostname": "golden\n", "etc/ssh/ssh_host_ecdsa_key": "old", "etc/ssh/ssh_host_rsa_key": "old",
		"etc/ssh/ssh_host_ecdsa_key-cert.pub": "certificate",
	})
	ecdsa := filepath.Join(dir, "etc/ssh/ssh_host_ecdsa_key")
	if err := os.Chmod(ecdsa, 0o600); err != nil {
		t.Fatal(err)
	}
	r, errs := renew(t, dir, Options{Fresh: true})
	if len(errs) > 0 || len(r.result.Notes) != 1 || !strings.Contains(r.result.Notes[0], "-cert.pub certifies") {
		t.Errorf("errors %v, notes %q, want one of the certificate", errs, r.result.Notes)
	}
	checkHostKey(t, ecdsa, "ecdsa-sha2-nistp256", "root@golden")
	checkHostKey(t, filepath.Join(dir, "etc/ssh/ssh_host_rsa_key"), "ssh-rsa", "root@golden")
	for name, want := range map[string]os.FileMode{ecdsa: 0o600, ecdsa + ".pub": 0o644} {
		if st, err := os.Stat(name); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, st.Mode(), err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "etc/ssh/ssh_host_ed25519_key")); !os.IsNotExist(err) {
		t.Errorf("a key of another kind was made: %v", err)
	}
	key, err := ssh.ParseRawPrivateKey([]byte(read(t, dir, "etc/ssh/ssh_host_rsa_key")))
	if k, ok := key.(*rsa.PrivateKey); !ok || err != nil || k.N.BitLen() != 3072 {
		t.Errorf("the RSA key is %T, %v, want 3072 bits", key, err)
	}
}
