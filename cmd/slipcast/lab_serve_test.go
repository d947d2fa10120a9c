package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
	"slipcast/fleet"
	"slipcast/internal/lab"
)

// A labServer is a server of machines in a labNet, with the folders that it
// needs: a store with the image "lab", which is released, and a boot folder whose
// files only have the right names.
type labServer struct {
	*labNet
	state, store, boot string
}

func newLabServer(t testing.TB, flags ...string) *labServer {
	t.Helper()
	dir := t.TempDir()
	s := &labServer{newLabNet(t, append([]string{"--receivers", "2"}, flags...)...), filepath.Join(dir, "state"), filepath.Join(dir, "store"), filepath.Join(dir, "boot")}
	for _, name := range []string{"bios/undionly.kpxe", "x64/shim.efi", "x64/grub.efi", "x64/linux", "x64/initrd"} {
		path := filepath.Join(s.boot, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.boot, "boot.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := newLabNoise(t, 4)
	lab.Run(t, s.program, "store", "init", "--store", s.store)
	lab.Run(t, s.program, "store", "add", "--quiet", "--store", s.store, x.image, "lab")
	lab.Run(t, s.program, "catalog", "init", "--quiet", "--store", s.store, "--keys", s.state, "--no-passphrase")
	s.release("--image", "lab")
	return s
}

// release signs a new list of what machines may be given.
func (s *labServer) release(what ...string) {
	s.t.Helper()
	words := []string{"catalog", "release", "--quiet", "--store", s.store, "--key", filepath.Join(s.state, "release.key"), "--online-key", filepath.Join(s.state, onlineFile)}
	lab.Run(s.t, s.program, append(words, what...)...)
}

// words are the command line of serve.
func (s *labServer) words(flags ...string) []string {
	return append([]string{"serve", "--interface", "eth0", "--state", s.state, "--store", s.store, "--boot", s.boot}, flags...)
}

// serve starts the server, and waits until it serves.
func (s *labServer) serve(flags ...string) *labProcess {
	s.t.Helper()
	p := s.start("s", s.words(flags...)...)
	for _, line := range []string{"network boot is served", "status page"} {
		p.await("text", func(o map[string]any) bool { return strings.Contains(o["text"].(string), line) })
	}
	return p
}

// ends runs serve to its end, which must be one with this exit code, and
// returns what it printed.
func (s *labServer) ends(code int, flags ...string) string {
	s.t.Helper()
	args := append([]string{"--name", s.name, "exec", "s", s.program}, s.words(flags...)...)
	out, err := exec.Command("../../scripts/lab-net", args...).CombinedOutput()
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	if got != code {
		s.t.Errorf("slipcast serve %v: exit code %d, want %d:\n%s", flags, got, code, out)
	}
	return string(out)
}

// command runs another command on the server's folders.
func (s *labServer) command(words ...string) string {
	s.t.Helper()
	return lab.Run(s.t, s.program, append(words, "--state", s.state)...)
}

// A labMachine is a machine of the network as its firmware, its loader and its
// agent speak; no system runs on it.
type labMachine struct {
	t       testing.TB
	where   string // its namespace
	from    netip.Addr
	client  *http.Client
	own     string // its path by HTTP
	hello   wire.Hello
	session string
	pin     string // of the server, empty before there is a ticket
	root    []byte // of the catalog, as the archive has it
}

// machine returns machine i.
func (s *labServer) machine(i int) *labMachine {
	return s.machineAt(fmt.Sprint(i), i, netip.AddrFrom4([4]byte{10, 83, 0, byte(10 + i)}))
}

// machineAt returns machine i, at an address of a namespace.
func (s *labServer) machineAt(where string, i int, from netip.Addr) *labMachine {
	mac, uuid := fmt.Sprintf("02:00:00:00:00:%02x", i), fmt.Sprintf("4c4c4544-0000-4000-8000-%012x", i)
	m := &labMachine{t: s.t, where: where, from: from, own: "/machine/" + mac + "/" + uuid + "/"}
	m.hello = wire.Hello{Schema: wire.Schema, Inventory: wire.Inventory{
		UUID: uuid, Serial: fmt.Sprint("S", i), Vendor: "Dell Inc.", Product: "OptiPlex 7010", Arch: "x64", Firmware: "uefi", MAC: mac,
		NICs: []wire.NIC{{Name: "eth0", MAC: mac, Bus: "pci"}}, Modaliases: []string{"pci:v00008086d000015B7sv*"},
	}}
	dial := func(_ context.Context, network, addr string) (conn net.Conn, err error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		s.inside(where, func() { conn, err = d.Dial(network, addr) })
		return conn, err
	}
	m.client = &http.Client{Timeout: labPatience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, VerifyPeerCertificate: m.verify,
	}}}
	return m
}

// verify takes the server of the ticket and no other.
func (m *labMachine) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != m.pin {
		return fmt.Errorf("the key of the server is %x, want %s", sum, m.pin)
	}
	return nil
}

// ask sends a request and returns the status and the body of the answer.
func (m *labMachine) ask(method, url string, header map[string]string, body any) (int, []byte) {
	m.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		m.t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := m.client.Do(r)
	if err != nil {
		m.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer answer.Body.Close()
	p, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer.StatusCode, p
}

// The server of a labServer.
const (
	labHTTP  = "http://10.83.0.1"
	labHTTPS = "https://10.83.0.1:8443/api/v1"
)

// script returns the script of the machine.
func (m *labMachine) script() string {
	m.t.Helper()
	code, text := m.ask("GET", labHTTP+m.own+"grub.cfg", nil, nil)
	if code != http.StatusOK {
		m.t.Fatalf("the script answers %d %s, want 200", code, text)
	}
	return string(text)
}

// boots tells whether the machine's script is for the boot environment.
func (m *labMachine) boots() bool { return strings.Contains(m.script(), "initrd $base") }

// boot fetches script and archive, takes the ticket out of it, and says hello.
func (m *labMachine) boot() wire.Welcome {
	m.t.Helper()
	if text := m.script(); !strings.Contains(text, "linux $base/$arch/linux panic=30 quiet") || !strings.Contains(text, m.own+"archive") {
		m.t.Fatalf("script:\n%s\nwant the kernel with panic=30 quiet, and the archive", text)
	}
	code, archive := m.ask("GET", labHTTP+m.own+"archive", nil, nil)
	if code != http.StatusOK {
		m.t.Fatalf("the archive answers %d %s, want 200", code, archive)
	}
	files := labCpio(m.t, archive)
	var ticket wire.Ticket
	if err := json.Unmarshal(files[wire.TicketPath], &ticket); err != nil || len(files[wire.SeedPath]) != wire.SeedSize {
		m.t.Fatalf("ticket %q: %v, seed of %d bytes, want %d", files[wire.TicketPath], err, len(files[wire.SeedPath]), wire.SeedSize)
	}
	if len(ticket.Servers) != 1 || ticket.Servers[0]+"/api/v1" != labHTTPS || ticket.MAC != m.hello.Inventory.MAC {
		m.t.Fatalf("ticket %+v, want the server %s", ticket, labHTTPS)
	}
	nonce := trust.NewNonce()
	m.hello.Token, m.hello.Nonce, m.pin, m.root = ticket.Token, nonce.String(), ticket.Pin, files[wire.RootPath]
	var w wire.Welcome
	m.tell("hello", m.hello, http.StatusOK, &w)
	m.session = w.Token
	if w.Job != nil && w.Job.Kind == wire.Restore {
		m.wantProof(nonce, &w)
	}
	return w
}

// wantProof verifies the proof of a job to restore, as an agent does.
func (m *labMachine) wantProof(nonce trust.Nonce, w *wire.Welcome) {
	m.t.Helper()
	catalog, err := trust.Load(m.t.Context(), labSource{m}, trust.LoadOptions{
		Root: m.root, Ticket: w.Proof, Nonce: nonce, Machine: m.hello.Inventory.MAC,
	})
	if err != nil {
		m.t.Fatalf("the proof %s: %v", w.Proof, err)
	}
	if c := catalog.Claims; c.Job != w.Job.ID || c.Image != w.Job.Digest || c.Plan != w.Job.PlanDigest() {
		m.t.Errorf("the proof is for %+v, want job %+v", c, w.Job)
	}
	if i, err := catalog.Image(w.Job.Digest); err != nil || i.ID() != w.Job.Image {
		m.t.Errorf("the catalog has %v, %v; want %s", i, err, w.Job.Image)
	}
}

// A labSource is the server's catalog, as its machine gets it.
type labSource struct{ m *labMachine }

// Metadata implements trust.Source.
func (s labSource) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	code, p := s.m.ask("GET", labHTTPS+"/agent/catalog/metadata/"+name, s.m.bearer(), nil)
	switch code {
	case http.StatusOK:
		return p, nil
	case http.StatusNotFound:
		return nil, os.ErrNotExist
	}
	return nil, fmt.Errorf("%s answers %d %s", name, code, p)
}

// tell sends the agent's word, expects a status, and reads the answer into v.
func (m *labMachine) tell(what string, body any, want int, v any) {
	m.t.Helper()
	code, text := m.ask("POST", labHTTPS+"/agent/"+what, m.bearer(), body)
	if code != want {
		m.t.Fatalf("%s answers %d %s, want %d", what, code, text, want)
	}
	if err := json.Unmarshal(text, v); err != nil {
		m.t.Fatalf("%s answers %s: %v", what, text, err)
	}
}

func (m *labMachine) bearer() map[string]string {
	return map[string]string{"Authorization": "Bearer " + m.session}
}

// wantImage fetches 100 bytes of an image, and expects a status.
func (m *labMachine) wantImage(name string, want int) {
	m.t.Helper()
	header := m.bearer()
	header["Range"] = "bytes=1000-1099"
	code, p := m.ask("GET", labHTTPS+"/images/"+name, header, nil)
	if code != want || code == http.StatusPartialContent && len(p) != 100 {
		m.t.Errorf("image %s answers %d with %d bytes, want %d", name, code, len(p), want)
	}
}

// labCpio returns the files of an archive of the kind newc
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func labCpio(t testing.TB, p []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for at := 0; at+110 <= len(p) && string(p[at:at+6]) == "070701"; {
		field := func(n int) int {
			v, err := strconv.ParseUint(string(p[at+6+8*n:at+14+8*n]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		size, name := field(6), at+110
		data := (name + field(11) + 3) &^ 3
		if data+size > len(p) {
			t.Fatalf("the archive ends after %d bytes, want at least %d", len(p), data+size)
		}
		files[strings.TrimRight(string(p[name:name+field(11)]), "\x00")] = p[data : data+size]
		at = (data + size + 3) &^ 3
	}
	return files
}

// TestRootServeAgent is the whole life of a job with a real server by HTTP and
// HTTPS, in the middle of which the server is killed and started again.
func TestRootServeAgent(t *testing.T) {
	s := newLabServer(t)
	p := s.serve("--private")
	if out := s.ends(exitFailed); !strings.Contains(out, fmt.Sprintf("is the state folder of another slipcast serve (process %d)", p.cmd.Process.Pid)) || strings.Count(out, "\n") != 1 {
		t.Errorf("a second server says:\n%s\nwant one line with whose the state folder is", out)
	}
	m, other := s.machine(1), s.machine(2)
	if w := m.boot(); w.Job != nil || w.End != wire.Reboot || m.boots() {
		t.Fatalf("an unknown machine is told %+v; want no job, and its disk from then on", w)
	}
	m.wantImage("lab@1.img.zst", http.StatusForbidden)
	if code, _ := m.ask("GET", labHTTPS+"/machines", nil, nil); code != http.StatusUnauthorized {
		t.Errorf("the machines of a private page answer %d, want 401", code)
	}
	if out := s.command("machine", "list", "--json"); !strings.Contains(out, `"modaliases":["pci:v00008086d000015B7sv*"]`) {
		t.Errorf("machine list --json: %s, want modaliases for boot build --for", out)
	}

	s.command("job", "create", "restore", "--image", "lab", "--all", "--yes", "--store", s.store)
	if !m.boots() {
		t.Fatal("the machine does not boot the agent, but has a job")
	}
	if code, _ := other.ask("GET", labHTTP+m.own+"archive", nil, nil); code != http.StatusForbidden {
		t.Errorf("the archive answers %d at another address, want 403", code)
	}
	w := m.boot()
	if w.Job == nil || w.Job.Image != "lab@1" || w.Job.Attempt != 1 || w.Job.Digest == "" {
		t.Fatalf("welcome %+v, want the job", w)
	}
	m.wantImage("lab@1.img.zst", http.StatusPartialContent)
	m.wantImage("lab@2.img.zst", http.StatusConflict)
	report := func(seq uint64, state wire.State) (reply wire.Reply) {
		t.Helper()
		m.tell("report", wire.Report{Schema: wire.Schema, Job: w.Job.ID, Seq: seq, State: state, Step: "restore", Done: 5, Total: 10}, http.StatusOK, &reply)
		return reply
	}
	report(1, wire.Working)

	p.kill()
	p = s.serve()
	if reply := report(2, wire.Working); reply.Cancel {
		t.Error("the new server cancels the job")
	}
	m.wantImage("lab@1.img.zst", http.StatusPartialContent)
	report(3, wire.Done)
	m.wantImage("lab@1.img.zst", http.StatusConflict)
	m.tell("hello", m.hello, http.StatusForbidden, &struct{}{}) // its token is used
	if m.boots() {
		t.Error("the machine is to be restored a second time")
	}
	s.wantEnd(p, m)
}

// wantEnd ends the server while a browser follows its events.
func (s *labServer) wantEnd(p *labProcess, m *labMachine) {
	s.t.Helper()
	answer, err := m.client.Get(labHTTPS + "/events")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.want(exitDone)
	if took := time.Since(began); took > 5*time.Second {
		s.t.Errorf("the server took %v to end, want at most 5 s", took)
	}
	if line := fmt.Sprint(p.awaitText("text", "network boot has ended")["text"]); !strings.Contains(line, " http.scripts=1 ") {
		s.t.Errorf("its last counters are %s, want the script that was asked for since it was started anew", line)
	}
}

// TestRootServeMirror mirrors what a real server has released, with its key and
// its token; without the token nobody gets anything.
func TestRootServeMirror(t *testing.T) {
	s := newLabServer(t)
	s.serve()
	key, err := openServerKey(s.state)
	if err != nil {
		t.Fatal(err)
	}
	token, err := fleet.MirrorToken(s.state)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "store")
	lab.Run(t, s.program, "store", "init", "--store", other)
	mirror := func(token string) ([]byte, error) {
		cmd := exec.Command("../../scripts/lab-net", "--name", s.name, "exec", "1", s.program, "store", "mirror", "https://10.83.0.1:8443/store/",
			"--store", other, "--pin", key.pin, "--trust", filepath.Join(s.store, "catalog/metadata/1.root.json"))
		cmd.Env = append(os.Environ(), "SLIPCAST_TOKEN="+token)
		return cmd.CombinedOutput()
	}
	for _, wrong := range []string{"", strings.Repeat("0", 32)} {
		if out, err := mirror(wrong); err == nil {
			t.Errorf("mirrored with the token %q:\n%s", wrong, out)
		}
	}
	if out, err := mirror(token); err != nil {
		t.Fatalf("mirroring: %v\n%s", err, out)
	}
	for _, store := range []string{s.store, other} {
		if out := lab.Run(t, s.program, "catalog", "list", "--store", store); !strings.Contains(out, "lab@1") {
			t.Errorf("the catalog in %s has %s, want lab@1", store, out)
		}
	}
	lab.Run(t, s.program, "store", "verify", "--store", other)
}

// TestRootServeCheck shows what serve --check says of what is wrong.
func TestRootServeCheck(t *testing.T) {
	s := newLabServer(t)
	lab.Tools(t, "dnsmasq")
	check := func(code int, texts ...string) {
		t.Helper()
		out := s.ends(code, "--check")
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("serve --check says\n%s\nwant %q in it", out, text)
			}
		}
	}
	if out := s.ends(exitDone, "--check"); strings.Contains(out, "catalog") {
		t.Errorf("serve --check says\n%s\nwant nothing about the catalog, which is well", out)
	}
	check(exitDone, "warning: no DHCP server gives addresses on this network", "machines at eth0 (10.83.0.1/24) can be served")
	s.wantSite()
	s.dnsmasq("1")
	s.dnsmasq("2")
	check(exitDone, "warning: 2 DHCP servers give addresses here: 10.83.0.11, 10.83.0.12")
	var taken net.Listener
	s.inside("s", func() {
		var err error
		if taken, err = net.Listen("tcp", ":8443"); err != nil {
			t.Error(err)
		}
	})
	check(exitFailed, fmt.Sprintf("fatal: tcp port 8443: port is taken by %s", labSelf(t)), "way out: stop what listens there", "slipcast: serve: 1 thing in the way")
	taken.Close()
	if err := errors.Join(os.Remove(filepath.Join(s.boot, "x64/linux")), os.RemoveAll(s.store)); err != nil {
		t.Fatal(err)
	}
	check(exitFailed, "fatal: the boot folder "+s.boot+" has all that it takes for no kind of machine", "way out: make it with slipcast boot build",
		"note: "+s.store+" is not there; it will be made", "warning: the store has no catalog, ", "way out: slipcast catalog init makes one")
	if err := os.RemoveAll(s.boot); err != nil {
		t.Fatal(err)
	}
	check(exitFailed, "fatal: there is no boot folder")
	if out := s.ends(exitUsage, "--check", "--interface", "eth7"); !strings.Contains(out, "interface eth7: ") || !strings.HasSuffix(out, "has an IPv4 address: eth0\n") {
		t.Errorf("serve --check --interface eth7 says\n%s\nwant the one that there is", out)
	}
}

// wantSite wants to read what the network's DHCP server must be told, where
// and only where we are none.
func (s *labServer) wantSite() {
	s.t.Helper()
	const line = "dhcp-boot=tag:ipxe,http://10.83.0.1/autoexec.ipxe"
	if out := s.ends(exitDone, "--check", "--dhcp", "off"); !strings.Contains(out, line+"\n") {
		s.t.Errorf("serve --check --dhcp off says\n%s\nwant %s", out, line)
	}
	if out := s.ends(exitDone, "--check"); strings.Contains(out, line) {
		s.t.Errorf("serve --check says\n%s\nwant no lines for a DHCP server", out)
	}
	kinds := map[string]bool{}
	for object := range strings.Lines(s.ends(exitDone, "--check", "--dhcp", "off", "--json")) {
		kind, err := checkObject(object)
		if err != nil {
			s.t.Errorf("%v: %s", err, object)
		}
		kinds[kind] = true
	}
	if !kinds["finding"] || !kinds["dhcp_server"] || !kinds["checked"] {
		s.t.Errorf("objects %v, want a finding, the servers and the result", kinds)
	}
}

// dnsmasq starts a DHCP server on a machine.
func (s *labServer) dnsmasq(where string) {
	s.t.Helper()
	cmd := exec.Command("../../scripts/lab-net", "--name", s.name, "exec", where, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
		"--interface=eth0", "--dhcp-range=10.83.0.100,10.83.0.110,1h", "--no-ping", "--leasefile-ro", "--user=root", "--pid-file=")
	said, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         // its end was ours
	})
	seen := make([]byte, 0, 4096)
	for !bytes.Contains(seen, []byte("IP range")) {
		n, err := said.Read(seen[len(seen):cap(seen)])
		if seen = seen[:len(seen)+n]; err != nil || len(seen) == cap(seen) {
			s.t.Fatalf("dnsmasq: %v: %s", err, seen)
		}
	}
}

// labSelf returns the name of this process as the kernel has it.
func labSelf(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
