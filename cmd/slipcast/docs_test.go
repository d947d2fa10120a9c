package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite golden files")

const cliDoc = "../../docs/cli.md"

// docs/cli.md says what the commands themselves say.
func TestDocs(t *testing.T) {
	root := newRootCmd(&env{})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	want := document(root)
	if *update {
		if err := os.WriteFile(cliDoc, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(cliDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date; go test ./cmd/slipcast -run TestDocs -update rewrites it", cliDoc)
	}
}

// document returns docs/cli.md.
func document(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\n" +
		"What `slipcast help COMMAND` prints, in one page. It is made from the program; `go test ./cmd/slipcast -run TestDocs -update` does that.\n\n")
	writeText(&b, root.Long)
	b.WriteString("| command | |\n| ------- | --- |\n")
	var topics []*cobra.Command
	for _, c := range root.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			topics = append(topics, c)
			continue
		}
		fmt.Fprintf(&b, "| [%s](#slipcast-%s) | %s |\n", c.Name(), c.Name(), c.Short)
	}
	b.WriteString("| [exit codes](#exit-codes), [json](#json) | help topics |\n")
	b.WriteString("\nEvery command has these flags:\n\n")
	writeBlock(&b, root.PersistentFlags().FlagUsages())
	for _, c := range root.Commands() {
		if !c.IsAdditionalHelpTopicCommand() {
			documentCommand(&b, c)
		}
	}
	documentExitCodes(&b)
	documentJSON(&b)
	if len(topics) != 2 {
		panic("a help topic is not in docs/cli.md")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// documentCommand appends the section about one command.
func documentCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "## %s\n\n", c.CommandPath())
	writeText(b, c.Long)
	usage := c.UseLine()
	for _, sub := range c.Commands() {
		usage += fmt.Sprintf("\n%s [flags]  # %s", sub.CommandPath(), sub.Short)
	}
	writeBlock(b, usage)
	if flags := c.LocalNonPersistentFlags().FlagUsages(); flags != "" {
		writeBlock(b, flags)
	}
	if c.Example != "" {
		b.WriteString("Examples:\n\n")
		writeBlock(b, strings.ReplaceAll("\n"+c.Example, "\n  ", "\n")[1:])
	}
	for _, sub := range c.Commands() {
		if c.Name() != "completion" { // which explains shells
			documentCommand(b, sub)
		}
	}
}

func documentExitCodes(b *strings.Builder) {
	b.WriteString("## Exit codes\n\n| code | meaning |\n| ---- | ------- |\n")
	for _, e := range exitCodes() {
		fmt.Fprintf(b, "| %d | %s |\n", e.code, e.meaning)
	}
	b.WriteString("\n")
}

func documentJSON(b *strings.Builder) {
	b.WriteString("## JSON\n\n")
	intro, _, _ := strings.Cut(newJSONTopic().Long, "\n\n")
	writeText(b, intro)
	for _, t := range jsonTypes() {
		fmt.Fprintf(b, "### %s\n\n%s\n\n| field | meaning |\n| ----- | ------- |\n", t.name, sentence(t.meaning))
		for _, f := range t.fields {
			name := "`" + f.name + "`"
			if f.optional {
				name = "[" + name + "]"
			}
			fmt.Fprintf(b, "| %s | %s |\n", name, f.meaning)
		}
		b.WriteString("\n")
	}
}

// sentence turns a phrase into one.
func sentence(phrase string) string {
	return strings.ToUpper(phrase[:1]) + phrase[1:] + "."
}

// writeText appends paragraphs; those that are indented are code.
func writeText(b *strings.Builder, text string) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(part, "  ") || strings.HasPrefix(part, "\t") {
			writeBlock(b, strings.TrimSpace(part))
			continue
		}
		fmt.Fprintf(b, "%s\n\n", part)
	}
}

// writeBlock appends text as it is.
func writeBlock(b *strings.Builder, text string) {
	fmt.Fprintf(b, "```\n%s\n```\n\n", strings.TrimRight(text, "\n"))
}
