package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settingMark is the annotation of flags that are settings.
const settingMark = "slipcast-setting"

// longestConfig is how large a configuration file may be, in bytes.
const longestConfig = 1 << 20

// settings makes flags of cmd settings: where they are not given, SLIPCAST_NAME
// counts, and then the line NAME of the configuration file.
func settings(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		f := cmd.Flags().Lookup(name)
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[settingMark] = []string{variable(name)}
	}
}

// isSetting tells whether a flag is a setting.
func isSetting(f *pflag.Flag) bool { return f.Annotations[settingMark] != nil }

// variable returns the environment variable of a setting.
func variable(name string) string {
	return "SLIPCAST_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// applySettings gives the settings of cmd that are not on its command line
// their values.
func applySettings(cmd *cobra.Command) error {
	waiting := false
	var wrong error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !isSetting(f) || f.Changed || wrong != nil {
			return
		}
		text, ok := os.LookupEnv(variable(f.Name))
		if !ok || text == "" {
			waiting = true
			return
		}
		if err := setFlag(f, text); err != nil {
			wrong = usagef("%s: %w", variable(f.Name), err)
		}
	})
	if wrong != nil || !waiting {
		return wrong
	}
	return applyConfig(cmd)
}

// setFlag gives f the value in text, a list with commas for one that may be
// given several times, and notes that it has one.
func setFlag(f *pflag.Flag, text string) error {
	if err := f.Value.Set(text); err != nil {
		return err
	}
	f.Changed = true
	return nil
}

// applyConfig reads the configuration file, if there is one.
func applyConfig(cmd *cobra.Command) error {
	path, err := configPath(cmd)
	if err != nil || path == "" {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return &usageError{err}
	case info.Size() > longestConfig:
		return usagef("%s: %d bytes are no configuration", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return &usageError{err}
	}
	return readConfig(cmd, path, text)
}

// configPath returns the configuration file that counts, or nothing.
func configPath(cmd *cobra.Command) (string, error) {
	if f := cmd.Flags().Lookup("config"); f != nil && f.Changed {
		return f.Value.String(), nil
	}
	var places []string
	if dir, err := os.UserConfigDir(); err == nil { // $XDG_CONFIG_HOME, else ~/.config
		places = append(places, filepath.Join(dir, "slipcast", "config.yaml"))
	}
	for _, path := range append(places, "/etc/slipcast/config.yaml") {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &usageError{err}
		}
	}
	return "", nil
}

// readConfig gives the settings of cmd the values that text has for them. A
// key that is no setting of any command is an error.
func readConfig(cmd *cobra.Command, path string, text []byte) error {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
		return usagef("%s: %s", path, first)
	}
	known := allSettings(cmd.Root())
	seen := map[string]bool{}
	for _, doc := range file.Docs {
		pairs, ok := pairsOf(doc.Body)
		if !ok {
			return usagef("%s: want lines like dhcp: proxy", path)
		}
		for _, pair := range pairs {
			key := pair.Key.String()
			at := place(path, pair.Key.GetToken())
			switch {
			case !known[key]:
				return usagef("%s: unknown key %q", at, key)
			case seen[key]:
				return usagef("%s: %s is there twice", at, key)
			}
			seen[key] = true
			if err := take(cmd, key, pair.Value); err != nil {
				return usagef("%s: %s: %w", at, key, err)
			}
		}
	}
	return nil
}

// pairsOf returns the keys of a document and their values. An empty one has
// none.
func pairsOf(body ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := body.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return nil, true
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// place names a line of a file.
func place(path string, t *token.Token) string {
	if t == nil || t.Position == nil {
		return path
	}
	return fmt.Sprintf("%s:%d", path, t.Position.Line)
}

// take gives the flag of cmd that is called key the value of a node, unless it
// has one already. Other commands' settings are left to them.
func take(cmd *cobra.Command, key string, value ast.Node) error {
	text, err := scalar(value)
	if err != nil {
		return err
	}
	f := cmd.Flags().Lookup(key)
	if f == nil || !isSetting(f) || f.Changed {
		return nil
	}
	return setFlag(f, text)
}

// scalar returns the text of a node: a word, a number, or a list of them.
func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		var list []string
		for _, v := range n.Values {
			text, err := scalar(v)
			if err != nil {
				return "", err
			}
			list = append(list, text)
		}
		return strings.Join(list, ","), nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", errors.New("want a word, a number or a list of them")
}

// allSettings returns the names of the settings of all commands.
func allSettings(root *cobra.Command) map[string]bool {
	names := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if isSetting(f) {
				names[f.Name] = true
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return names
}

// stateDir returns where slipcast keeps what it must not forget: the flag or
// setting, else /var/lib/slipcast.
func stateDir(given string) string { return cmp.Or(given, "/var/lib/slipcast") }
