package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/image/store"
	"slipcast/internal/blockdev"
	"slipcast/multicast"
)

// wrapped puts err below what commands add.
func wrapped(err error) error { return fmt.Errorf("restoring a to b: %w", err) }

func TestExitCode(t *testing.T) {
	alive := t.Context()
	ended, cancel := context.WithCancel(alive)
	cancel()
	chunk := &image.ChunkError{Index: 812, Offset: 851443712, Err: image.ErrDigest}
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"nothing", alive, nil, exitDone},
		{"done before the interrupt", ended, nil, exitDone},
		{"anything", alive, errors.New("anything"), exitFailed},
		{"missing file", alive, syscall.ENOENT, exitFailed},
		{"flag", alive, usagef("unknown flag: --fast"), exitUsage},
		{"part", alive, &partError{errors.New("not grown")}, exitPart},
		{"part that is damaged", alive, &partError{image.ErrDamaged}, exitPart},
		{"damaged", alive, image.ErrDamaged, exitDamaged},
		{"digest", alive, image.ErrDigest, exitDamaged},
		{"chunk", alive, chunk, exitDamaged},
		{"frame", alive, &image.FrameError{Offset: 1, Err: image.ErrDamaged}, exitDamaged},
		{"no image", alive, image.ErrNotImage, exitDamaged},
		{"mounted", alive, &blockdev.RefusedError{Path: "b", Reason: blockdev.Mounted}, exitRefused},
		{"not confirmed", alive, &refusal{"not confirmed"}, exitRefused},
		{"too small", alive, &image.TooSmallError{Need: 2, Have: 1}, exitRefused},
		{"sectors", alive, image.ErrSectorSize, exitRefused},
		{"some receivers failed", alive, &multicast.IncompleteError{Of: 3}, exitPart},
		{"no receiver", alive, multicast.ErrNobody, exitNobody},
		{"no session", alive, multicast.ErrNoSession, exitNobody},
		{"two sessions", alive, multicast.ErrAmbiguous, exitFailed},
		{"another sender", alive, multicast.ErrRefused, exitFailed},
		{"given up", alive, multicast.ErrDropped, exitFailed},
		{"no web server", alive, errRemoteSilent, exitNobody},
		{"no such version", alive, store.ErrNotFound, exitFailed},
		{"version is there", alive, store.ErrExists, exitRefused},
		{"version is read", alive, store.ErrInUse, exitRefused},
		{"interrupted", ended, context.Canceled, exitInterrupted},
		{"refused before the interrupt", ended, &refusal{"not confirmed"}, exitRefused},
		{"joined", alive, errors.Join(chunk, errors.New("closing")), exitDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.ctx, tt.err); got != tt.want {
				t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
			}
			if tt.err == nil {
				return
			}
			if got := exitCode(tt.ctx, wrapped(tt.err)); got != tt.want {
				t.Errorf("wrapped: exitCode(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestHint(t *testing.T) {
	reason := func(r blockdev.Reason) error { return &blockdev.RefusedError{Path: "b", Reason: r} }
	disks := ""
	if disksHint() != "" { // some machines have none
		disks = "the disks of this machine are /dev/"
	}
	tests := []struct {
		err  error
		want string // the beginning; empty for no hint
	}{
		{reason(blockdev.Missing), disks},
		{&fs.PathError{Op: "stat", Path: "/dev/sdzz", Err: syscall.ENOENT}, disks},
		{&fs.PathError{Op: "stat", Path: "disk.raw", Err: syscall.ENOENT}, ""},
		{reason(blockdev.Mounted), "unmount it first"},
		{reason(blockdev.Swap), "run swapoff"},
		{reason(blockdev.InUse), "stop what lies on it first"},
		{reason(blockdev.Busy), "another program has it open"},
		{reason(blockdev.ReadOnly), "if that is not on purpose"},
		{reason(blockdev.NoPermission), "run slipcast as root"},
		{reason(blockdev.SystemDisk), "boot from another disk"},
		{reason(blockdev.WrongKind), ""},
		{reason(blockdev.Holds), ""},
		{reason(blockdev.SameFile), ""},
		{reason(blockdev.Changed), ""},
		{&refusal{noTerminal}, "give --yes"},
		{&refusal{"not confirmed"}, ""},
		{&image.TooSmallError{Need: 3 << 30, Have: 1 << 30}, "1.0 GiB do not hold 3.0 GiB; shrink"},
		{image.ErrSectorSize, "a partition table counts in sectors"},
		{store.ErrNotStore, "slipcast store init makes a store"},
		{store.ErrNotFound, "slipcast store list"},
		{store.ErrInUse, "try again when"},
		{&pinError{"none"}, "--pin takes a server by its key"},
		{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, "--pin takes a server by its key"},
		{errRemoteRefused, "put the server's token"},
		{syscall.ENOSPC, "make room there"},
		{multicast.ErrNobody, "run slipcast receive on the machines"},
		{multicast.ErrNoSession, "is slipcast send running"},
		{multicast.ErrAmbiguous, "--session chooses one"},
		{multicast.ErrRefused, "sender and receiver need the same --key"},
		{multicast.ErrDropped, ""},
		{syscall.EIO, ""},
		{image.ErrDigest, ""},
	}
	for _, tt := range tests {
		got := hintFor(wrapped(tt.err))
		if !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("hintFor(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Every code that exitCode returns is explained, once.
func TestExitCodesAreExplained(t *testing.T) {
	var got []int
	for _, e := range exitCodes() {
		got = append(got, e.code)
	}
	want := []int{exitDone, exitFailed, exitUsage, exitPart, exitDamaged, exitRefused, exitNobody, exitInterrupted}
	if !slices.Equal(got, want) {
		t.Errorf("explained are %v, want %v", got, want)
	}
}

func TestReport(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name       string
		ctx        context.Context
		err        error
		text, json string
	}{
		{"nothing", t.Context(), nil, "", ""},
		{
			"one line of several errors", t.Context(), errors.Join(errors.New("a"), errors.New("b")),
			"slipcast: a; b\n", `{"code":1,"message":"a; b","schema":1,"type":"error"}` + "\n",
		},
		{
			"what came from the network", t.Context(), errors.New("pc\x1b[2J\u202e"),
			"slipcast: pc?[2J?\n", `{"code":1,"message":"pc?[2J?","schema":1,"type":"error"}` + "\n",
		},
		{
			"hint", t.Context(), wrapped(&refusal{noTerminal}),
			"slipcast: restoring a to b: " + noTerminal + "\nslipcast: hint: give --yes to overwrite it without asking\n",
			`{"code":5,"hint":"give --yes to overwrite it without asking","message":"restoring a to b: ` + noTerminal + `","schema":1,"type":"error"}` + "\n",
		},
		{
			"interrupted", ended, wrapped(context.Canceled),
			"slipcast: restoring a to b: interrupted\n", `{"code":130,"message":"restoring a to b: interrupted","schema":1,"type":"error"}` + "\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, quiet := range []bool{false, true} {
				var text, object bytes.Buffer
				(&env{stderr: &text, quiet: quiet}).report(tt.ctx, tt.err)
				(&env{stderr: &object, quiet: quiet, json: true}).report(tt.ctx, tt.err)
				if text.String() != tt.text {
					t.Errorf("got %q, want %q", &text, tt.text)
				}
				if object.String() != tt.json {
					t.Errorf("got %s, want %s", &object, tt.json)
				}
			}
		})
	}
}

func TestOperands(t *testing.T) {
	two, maybe := []string{"IMAGE", "TARGET"}, []string{"IMAGE", "[TARGET]"}
	tests := []struct {
		names []string
		args  string
		want  string // of the error; empty for none
	}{
		{two, "", "restore: IMAGE is missing; usage: restore IMAGE TARGET"},
		{two, "a", "restore: TARGET is missing; usage: restore IMAGE TARGET"},
		{two, "a b", ""},
		{two, "a b c", `restore: "c" is one operand too many; usage: restore IMAGE TARGET`},
		{two, "a b c d", `restore: "c" is one operand too many; usage: restore IMAGE TARGET`},
		{maybe, "", "restore: IMAGE is missing; usage: restore IMAGE TARGET"},
		{maybe, "a", ""},
		{maybe, "a b", ""},
		{maybe, "a b c", `restore: "c" is one operand too many; usage: restore IMAGE TARGET`},
	}
	cmd := &cobra.Command{Use: "restore IMAGE TARGET"}
	for _, tt := range tests {
		err := operands(tt.names...)(cmd, strings.Fields(tt.args))
		var usage *usageError
		if (err == nil) != (tt.want == "") || err != nil && (err.Error() != tt.want || !errors.As(err, &usage)) {
			t.Errorf("operands(%q)(%q) = %v, want %q", tt.names, tt.args, err, tt.want)
		}
	}
}

// Where there is no terminal, nobody is asked; TestTerminalPrompt has the rest.
func TestConfirmOffTerminal(t *testing.T) {
	var stderr bytes.Buffer
	e := &env{stdin: strings.NewReader("yes\n"), stderr: &stderr}
	err := e.confirm(t.Context(), "Go on?")
	var refused *refusal
	if !errors.As(err, &refused) || refused.reason != noTerminal {
		t.Errorf("confirm = %v, want %q", err, noTerminal)
	}
	if stderr.Len() > 0 {
		t.Errorf("asked %q", &stderr)
	}
}

func TestPartitionNumber(t *testing.T) {
	for text, want := range map[string]int{"1": 1, "128": 128, "0": 0, "-1": 0, "": 0, "x": 0, "1.5": 0, "99999999999999999999": 0} {
		var n partitionNumber
		if err := n.Set(text); int(n) != want || (err == nil) != (want > 0) {
			t.Errorf("Set(%q) = %d, %v; want %d", text, n, err, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 chunks", 1: "1 chunk", 2: "2 chunks"} {
		if got := count(n, "chunk"); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

// The objects that tests and scripts meet are documented; so are those of
// which they have no instance.
func TestJSONTypesAreComplete(t *testing.T) {
	want := []string{"captured", "restored", "verified", "difference", "compared", "image", "mounted",
		"store", "added", "entry", "removed", "collected", "fault", "store_verified", "mirrored", "exported", "imported", "damaged_part", "missing",
		"bundle_folder", "bundle_built", "bundle_file", "bundle_test", "plan_step", "plan_product", "plan_bundle", "plan",
		"compliance_cell", "compliance", "impact", "applied", "failed", "product", "undone", "baked",
		"catalog", "released", "released_bundle", "released_image", "refreshed", "rotated", "key", "signed", "boot_file", "boot", "machine", "job", "finding", "dhcp_server", "checked", "session", "receivers", "sent", "offer", "received", "waiting", "progress", "note", "error"}
	var got []string
	for _, o := range jsonTypes() {
		got = append(got, o.name)
		for _, line := range strings.Split(jsonTypeTable(), "\n") {
			if len(line) > 80 {
				t.Errorf("wider than a terminal: %s", line)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("documented are %q, want %q", got, want)
	}
}

// A program that writes its results nowhere has failed.
func TestLostResult(t *testing.T) {
	dir := tinyImage(t)
	var stderr bytes.Buffer
	code := run([]string{"inspect", "--json", dir + "/disk.img.zst"}, strings.NewReader(""), brokenWriter{}, &stderr)
	var object struct{ Message string }
	if err := json.Unmarshal(stderr.Bytes(), &object); code != exitFailed || err != nil || object.Message != io.ErrClosedPipe.Error() {
		t.Errorf("exit code %d, said %s", code, &stderr)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
