package bootenv

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/pxe/debian"
)

// TestRootSbsign compares with sbsigntool: what it signs, we accept, and what
// we sign, it accepts.
func TestRootSbsign(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "sbsign", "sbverify")
	dir := t.TempDir()
	ca := testCA(t)
	files := map[string][]byte{
		"plain.efi": sample(),
		"ours.efi":  sign(t, sample()),
		"ca.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		"ca.key":    []byte(caKey),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	lab.Run(t, "sbsign", "--key", file("ca.key"), "--cert", file("ca.pem"), "--output", file("theirs.efi"), file("plain.efi"))
	theirs, err := os.ReadFile(file("theirs.efi"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := program(t, theirs).Signatures()
	if err != nil || len(got) != 1 || got[0].Signer != "Test CA" || !got[0].ChainsTo(ca) {
		t.Errorf("Signatures = %+v, %v, want one of Test CA", got, err)
	}
	lab.Run(t, "sbverify", "--cert", file("ca.pem"), file("ours.efi"))
}

// TestRootDebianChain fetches shim, GRUB, iPXE and the kernel of trixie and holds
// them to be a chain: it is what boot build stands on. It needs the network.
func TestRootDebianChain(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "sbverify")
	a, err := debian.Open(t.Context(), debian.Source{Suites: []string{"trixie"}, Components: []string{"main"}, Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	shimFile := fromPackage(t, a, "shim-signed", "shimx64.efi.signed")
	grub := program(t, fromPackage(t, a, "grub-efi-amd64-signed", "grubnetx64.efi.signed"))
	kernel, err := a.Resolve("linux-image-amd64", "linux-image-")
	if err != nil {
		t.Fatal(err)
	}
	vmlinuz := fromPackage(t, a, kernel.Name, "vmlinuz-*")

	shim, err := ReadShim(program(t, shimFile))
	if err != nil {
		t.Fatal(err)
	}
	checkIssuers(t, shimFile, "Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023")
	if len(shim.Trusted) != 1 || shim.Trusted[0].Subject.CommonName != "Debian Secure Boot CA" {
		t.Errorf("shim trusts %d, want Debian Secure Boot CA alone", len(shim.Trusted))
	}
	sbverify(t, shim.Trusted[0], grub.data)
	for name, next := range map[string]*Program{"GRUB": grub, "kernel": program(t, vmlinuz)} {
		if err := shim.Check(next); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g, err := ReadGRUB(grub); err != nil || g.Check() != nil {
		t.Errorf("GRUB %+v, %v, %v, want one that is fit", g, err, g.Check())
	}
	if version, err := KernelVersion(vmlinuz); err != nil || "linux-image-"+version != kernel.Name {
		t.Errorf("version %q, %v, want that of %s", version, err, kernel.Name)
	}
	ipxe := program(t, fromPackage(t, a, "ipxe", "snponly.efi"))
	if err := shim.Check(ipxe); !errors.Is(err, ErrUnsigned) {
		t.Errorf("iPXE: %v, want ErrUnsigned", err)
	}
	checkDamage(t, shim, grub)
}

// checkDamage shows that one bit changed in a real program is found.
func checkDamage(t *testing.T, shim *Shim, p *Program) {
	t.Helper()
	p.data[0x2000] ^= 1
	defer func() { p.data[0x2000] ^= 1 }()
	if err := shim.Check(p); !errors.Is(err, ErrSignature) {
		t.Errorf("with a changed bit: %v, want ErrSignature", err)
	}
}

// checkIssuers compares who vouches for the signatures of a program.
func checkIssuers(t *testing.T, data []byte, want ...string) {
	t.Helper()
	signatures, err := program(t, data).Signatures()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range signatures {
		got = append(got, s.Issuer)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("issuers %q, want %q", got, want)
	}
}

// sbverify checks a program by the certificate of an authority.
func sbverify(t *testing.T, ca *x509.Certificate, data []byte) {
	t.Helper()
	cert, file := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "program.efi")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	if err := errors.Join(os.WriteFile(cert, block, 0o600), os.WriteFile(file, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "sbverify", "--cert", cert, file)
}

// fromPackage returns the first file of a package whose name matches pattern.
func fromPackage(t *testing.T, a *debian.Archive, name, pattern string) []byte {
	t.Helper()
	p, err := a.Package(name)
	if err != nil {
		t.Fatal(err)
	}
	deb, err := a.Fetch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var content []byte
	err = debian.Unpack(deb, func(f debian.File) error {
		if ok, _ := path.Match(pattern, path.Base(f.Name)); !ok || !f.Mode.IsRegular() {
			return nil
		}
		var err error
		if content, err = io.ReadAll(f); err != nil {
			return err
		}
		return fs.SkipAll
	})
	if err != nil || content == nil {
		t.Fatalf("%s in %s: %d bytes, %v", pattern, deb, len(content), err)
	}
	return content
}
