package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/bundle"
	"slipcast/internal/progress"
)

func newBundleShowCmd(env *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Check a bundle and show what is in it",
		Long: `Show reads all of the bundle FILE, checks every byte of it, and prints what it is,
which systems it is for, what it changes and what it runs. It says nothing about
who made it: that is what the catalog signs.`,
		Example: "  slipcast bundle show licence-server@1.0.0-1.slb",
		Args:    operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runBundleShow(cmd.Context(), env, args[0]); err != nil {
				return fmt.Errorf("showing %s: %w", args[0], err)
			}
			return nil
		},
	}
}

// runBundleShow checks and prints a bundle.
func runBundleShow(ctx context.Context, env *env, path string) error {
	f, err := openLocal(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := bundle.Open(f, f.Size())
	if err != nil {
		return err
	}
	meter := env.meter("checking", "verify", contentBytes(b.Manifest))
	err = b.Verify(ctx, meter.Add)
	meter.Done(err)
	if err != nil {
		return err
	}
	if env.json {
		raw, err := b.Manifest.Encode()
		if err != nil {
			return err
		}
		o := bundleFileObject("bundle_file", path, b.Manifest, b.Digest, f.Size())
		o["manifest"] = json.RawMessage(raw)
		env.object(env.stdout, o)
		return nil
	}
	out := bufio.NewWriter(env.stdout)
	s := &bundleShower{out, b.Manifest}
	s.about(path, b.Digest, f.Size())
	s.payload()
	s.programs()
	return out.Flush()
}

// bundleDigest returns the digest of a manifest.
func bundleDigest(m *bundle.Manifest) (string, error) {
	raw, err := m.Encode()
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), err
}

// A bundleShower prints a bundle for people.
type bundleShower struct {
	w io.Writer
	m *bundle.Manifest
}

// line prints a line, unless there is nothing to say.
func (s *bundleShower) line(about, text string) {
	if text != "" {
		fmt.Fprintf(s.w, "%-10s %s\n", about, plain(text, longestError))
	}
}

// about prints what the bundle is.
func (s *bundleShower) about(path, digest string, size int64) {
	m := s.m
	s.line("bundle", m.ID())
	s.line("title", m.Title)
	s.line("file", fmt.Sprintf("%s, %s with %s of contents", path, progress.Bytes(size), progress.Bytes(contentBytes(m))))
	s.line("digest", digest)
	s.line("kind", fmt.Sprintf("%s, %s", orWord(m.Kind, bundle.Patch), orWord(m.Severity, bundle.Low)))
	s.line("advisories", strings.Join(m.Advisories, " "))
	s.line("for", m.Family)
	s.line("applies", m.Applies)
	s.line("requires", references(m.Requires))
	s.line("goes onto", origins(m.From))
	s.line("supersedes", references(m.Supersedes))
	s.line("conflicts", references(m.Conflicts))
	s.line("version is", m.Detect.Version)
	s.line("present if", m.Detect.Present)
	s.line("needs", needs(m.Needs))
	s.line("reboot", orWord(m.Reboot, bundle.Never))
	s.line("undo", orWord(m.Rollback, bundle.Files))
	s.line("allows", strings.Join(m.Allow, " "))
	if m.Machine {
		s.line("note", "it asks for the machine: it is applied after a restore, and never baked into an image")
	}
	for _, p := range m.Params {
		s.line("parameter", parameter(p))
	}
}

// orWord returns a word, or what an empty one stands for.
func orWord[T ~string](word, empty T) string {
	if word == "" {
		return string(empty)
	}
	return string(word)
}

// references names products and their versions.
func references(list []bundle.Reference) string {
	var words []string
	for _, r := range list {
		words = append(words, strings.TrimSpace(r.Product+" "+r.Range))
	}
	return strings.Join(words, ", ")
}

// origins says what a bundle can be put onto.
func origins(list []bundle.From) string {
	var words []string
	for _, f := range list {
		if f.Nothing {
			words = append(words, "nothing")
			continue
		}
		words = append(words, f.Range)
	}
	return strings.Join(words, ", ")
}

func needs(n bundle.Needs) string {
	var words []string
	if n.Bytes > 0 {
		words = append(words, progress.Bytes(n.Bytes))
	}
	if n.Inodes > 0 {
		words = append(words, fmt.Sprintf("%d inodes", n.Inodes))
	}
	return strings.Join(append(words, n.Commands...), ", ")
}

// parameter describes a parameter.
func parameter(p bundle.Param) string {
	text := p.Name
	switch {
	case p.Secret:
		text += ", secret"
	case p.Machine != "":
		text += ", the machine's " + p.Machine
	case p.Default != "":
		text += fmt.Sprintf(" = %q", p.Default)
	}
	if p.Title != "" {
		text += ": " + p.Title
	}
	return text
}

// payload prints what the bundle changes.
func (s *bundleShower) payload() {
	for _, p := range s.m.Payload {
		fmt.Fprintln(s.w)
		switch {
		case p.Overlay != nil:
			s.overlay(p.Overlay)
		case p.Line != nil:
			s.line("line", lineText(p.Line))
		case p.Ini != nil:
			s.line("ini", iniText(p.Ini))
		}
		s.packages("deb", p.Deb)
		s.packages("rpm", p.RPM)
	}
}

func (s *bundleShower) packages(kind string, list []bundle.Package) {
	for _, p := range list {
		s.line(kind, fmt.Sprintf("%s %s %s, %s", p.Name, p.Version, p.Arch, progress.Bytes(s.m.Files[p.Data].Size)))
	}
}

func (s *bundleShower) overlay(o *bundle.Overlay) {
	for _, path := range o.Delete {
		s.line("delete", path)
	}
	for i := range o.Entries {
		e := &o.Entries[i]
		s.line(string(e.Type), s.entry(e))
	}
}

// entry describes an entry of an overlay.
func (s *bundleShower) entry(e *bundle.Entry) string {
	owner := fmt.Sprintf("%d:%d", e.UID, e.GID)
	text := fmt.Sprintf("%s  %04o %s", e.Path, e.Mode, owner)
	switch e.Type {
	case bundle.RegularFile:
		text += " " + progress.Bytes(s.m.Files[e.Data].Size)
	case bundle.Symlink:
		text = fmt.Sprintf("%s -> %s  %s", e.Path, e.Link, owner)
	case bundle.Hardlink:
		text = fmt.Sprintf("%s = %s", e.Path, e.Link)
	}
	for _, x := range e.Xattrs {
		text += " " + x.Name
	}
	if e.Expand {
		text += ", with parameters"
	}
	return text
}

// lineText says what becomes of a line.
func lineText(l *bundle.Line) string {
	if l.Absent {
		return fmt.Sprintf("%s: without lines like %q", l.Path, l.Match)
	}
	return fmt.Sprintf("%s: %q", l.Path, l.Line)
}

// iniText says what becomes of a key.
func iniText(i *bundle.Ini) string {
	where := i.Path + ": "
	if i.Section != "" {
		where += "[" + i.Section + "] "
	}
	if i.Absent {
		return where + "without " + i.Key
	}
	return fmt.Sprintf("%s%s = %q", where, i.Key, i.Value)
}

// programs prints what the bundle runs.
func (s *bundleShower) programs() {
	for _, r := range s.m.Run {
		fmt.Fprintln(s.w)
		s.line(string(r.Phase), commandLine(r.Exec))
		text := fmt.Sprintf("at most %v, success is %s", time.Duration(r.Timeout)*time.Second, numbers(r.OK))
		if len(r.Reboot) > 0 {
			text += ", with a reboot " + numbers(r.Reboot)
		}
		if r.Net {
			text += ", with the network"
		}
		if r.Retry == bundle.NoRun {
			text += ", not again if it was cut short"
		}
		s.line("", text)
		for _, f := range r.Scripts {
			s.line("", fmt.Sprintf("with %s, %s", f.Name, progress.Bytes(s.m.Files[f.Data].Size)))
		}
	}
}

// commandLine returns the words of a program, those with blanks in quotes.
func commandLine(words []string) string {
	var list []string
	for _, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\") {
			w = fmt.Sprintf("%q", w)
		}
		list = append(list, w)
	}
	return strings.Join(list, " ")
}

func numbers(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}
