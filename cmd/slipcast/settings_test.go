package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// settingsOf returns what serve's settings come to with these arguments and
// this configuration file.
func settingsOf(t *testing.T, config string, args ...string) (*cobra.Command, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	root := newRootCmd(&env{stdout: &strings.Builder{}, stderr: &strings.Builder{}})
	cmd, _, err := root.Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(append([]string{"--config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	return cmd, applySettings(cmd)
}

func TestSettings(t *testing.T) {
	t.Setenv("SLIPCAST_LOADER", "ipxe")
	cmd, err := settingsOf(t, `
# a room
dhcp: full
pool: 10.0.5.100-10.0.5.200
args: [console=ttyS0, quiet]
http: 8080
private: true
loader: shim
store: /srv/images
`, "--http", "8081")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"dhcp": "full", "pool": "10.0.5.100-10.0.5.200", "args": "[console=ttyS0,quiet]", "private": "true", "store": "/srv/images",
		"http":   "8081", // the command line comes first
		"loader": "ipxe", // then the environment
		"gather": "3m0s", // and the default last
	} {
		if got := cmd.Flags().Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestSettingsOfOthers(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "slipcast")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("dhcp: full\nstore: /srv/images\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := newRootCmd(&env{stdout: &strings.Builder{}, stderr: &strings.Builder{}})
	cmd, _, err := root.Find([]string{"store", "list"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(nil); err != nil {
		t.Fatal(err)
	}
	if err := applySettings(cmd); err != nil {
		t.Fatalf("a setting of serve is an error for store list: %v", err)
	}
	if got := cmd.Flags().Lookup("store").Value.String(); got != "/srv/images" {
		t.Errorf("store is %s, want that of the file", got)
	}
}

func TestSettingsWrong(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"unknown key", "dhcp: proxy\ndhpc: full\n", `config.yaml:2: unknown key "dhpc"`},
		{"twice", "dhcp: proxy\nhttp: 81\ndhcp: full\n", "twice"}, // the parser finds it first
		{"wrong number", "\nhttp: many\n", "config.yaml:2: http: "},
		{"a flag that is no setting", "check: true\n", `config.yaml:1: unknown key "check"`},
		{"map", "dhcp:\n  mode: full\n", "config.yaml:1: dhcp: want a word"},
		{"no lines", "proxy\n", "want lines like"},
		{"no YAML", "dhcp: [full\n", "config.yaml: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settingsOf(t, tt.config)
			if err == nil || exitCode(t.Context(), err) != exitUsage {
				t.Fatalf("error is %v, want one of usage", err)
			}
			if !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "already defined") {
				t.Errorf("error is %q, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
		})
	}
	t.Setenv("SLIPCAST_HTTP", "x")
	if _, err := settingsOf(t, ""); err == nil || !strings.Contains(err.Error(), "SLIPCAST_HTTP") {
		t.Errorf("error is %v, want one that names SLIPCAST_HTTP", err)
	}
}

// FuzzConfig: no file makes the program panic, and what is taken is there.
func FuzzConfig(f *testing.F) {
	f.Add("dhcp: full\nargs: [a, b]\n")
	f.Add("---\nhttp: 80\n...\n")
	f.Add("a: &x [*x]\n? [b]\n: c\n")
	f.Fuzz(func(t *testing.T, text string) {
		root := newRootCmd(&env{stdout: &strings.Builder{}, stderr: &strings.Builder{}})
		cmd, _, err := root.Find([]string{"serve"})
		if err != nil {
			t.Fatal(err)
		}
		if err := readConfig(cmd, "config.yaml", []byte(text)); err != nil && exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%q: %v is no error of usage", text, err)
		}
	})
}

func TestServerKey(t *testing.T) {
	dir := t.TempDir()
	first, err := openServerKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openServerKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.pin != again.pin || len(first.pin) != 64 || first.session("batch-1") != again.session("batch-1") {
		t.Errorf("the key is another one the second time: pins %s, %s", first.pin, again.pin)
	}
	if first.session("batch-1") == first.session("batch-2") {
		t.Error("two sessions have one key")
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %v, %v, want 0600", info.Mode(), err)
	}
	other, err := openServerKey(t.TempDir())
	if err != nil || other.pin == first.pin || other.session("batch-1") == first.session("batch-1") {
		t.Errorf("two servers have one key: %v", err)
	}
}
