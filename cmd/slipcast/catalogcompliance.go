package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/plan"
)

// complianceOptions say what is judged, and how it is printed.
type complianceOptions struct {
	survey  surveyFlag
	require float64
	format  string
	all     bool
	room    bool // all machines
	waive   []string
	waivers []plan.Waiver // that waive says
}

func newCatalogComplianceCmd(env *env) *cobra.Command {
	opt := complianceOptions{}
	cmd := &cobra.Command{
		Use:   "compliance",
		Short: "Tell how far a system is what the catalog wants it to be",
		Long: `Compliance tells how each product of the catalog stands on a system: what is
missing, failed, recalled, or has gone since it was applied, and why. It counts
the products that apply to the system; with --require it ends with exit code 3 if
fewer than PERCENT of them are as they ought to be. What cannot be found out is
not compliant.

With --machines it is all machines that serve knows, and with --machine one of
them: as they were when their last restores were done, since that is when they
looked.`,
		Example: `  slipcast catalog compliance --root /
  slipcast catalog compliance --image room-12 --require 95
  slipcast catalog compliance --image room-12 --format html > room-12.html
  slipcast catalog compliance --machines --require 100`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runCatalogCompliance(cmd.Context(), env, &opt); err != nil {
				return fmt.Errorf("compliance: %w", err)
			}
			return nil
		},
	}
	addSurveyFlags(cmd, &opt.survey)
	f := cmd.Flags()
	f.Float64Var(&opt.require, "require", 0, "end with exit code 3 below `PERCENT`")
	f.StringVar(&opt.format, "format", "table", "print a table, json, csv, or a page of html: `FORMAT`")
	f.StringArrayVar(&opt.waive, "waive", nil, "let PRODUCT be as it is until a day: `PRODUCT=YYYY-MM-DD:REASON`; may be given several times")
	f.BoolVar(&opt.room, "machines", false, "all machines that serve knows")
	f.BoolVar(&opt.all, "all", false, "list what is compliant in the table, too")
	return cmd
}

// runCatalogCompliance judges a system and prints the cells.
func runCatalogCompliance(ctx context.Context, env *env, opt *complianceOptions) error {
	if opt.require < 0 || opt.require > 100 {
		return usagef("--require: %v is not a number from 0 to 100", opt.require)
	}
	write, err := opt.writer(env.json)
	if err != nil {
		return err
	}
	if opt.waivers, err = parseWaivers(opt.waive); err != nil {
		return err
	}
	m, err := opt.matrix(ctx, env)
	if err != nil {
		return err
	}
	if err := write(m, env.stdout); err != nil {
		return err
	}
	if m.Percent() < opt.require {
		return &partError{fmt.Errorf("%.1f %% of what applies is as it ought to be, and %v %% are required", m.Percent(), opt.require)}
	}
	return nil
}

// matrix looks at the system, or at what machines have told.
func (opt *complianceOptions) matrix(ctx context.Context, env *env) (*plan.Matrix, error) {
	f := &opt.survey
	if opt.room || f.machine.name != "" {
		if f.root.dir != "" || f.root.disk != "" || f.image != "" || opt.room && f.machine.name != "" {
			return nil, usagef("which system is meant? --image, --machine, --machines, --root and --disk exclude each other")
		}
		m, err := f.machine.matrix(ctx)
		m.Waive(opt.waivers)
		return m, err
	}
	s, err := f.run(ctx, env, surveyTask{})
	if err != nil {
		return nil, err
	}
	return plan.Comply([]plan.Report{{Root: f.title(), Plan: s.Plan, Receipts: s.Receipts}}, plan.ComplyOptions{Now: time.Now(), Waivers: opt.waivers}), nil
}

// parseWaivers reads PRODUCT=YYYY-MM-DD:REASON. The day itself, in UTC,
// still counts.
func parseWaivers(list []string) ([]plan.Waiver, error) {
	var waivers []plan.Waiver
	for _, text := range list {
		product, rest, _ := strings.Cut(text, "=")
		day, reason, _ := strings.Cut(rest, ":")
		until, err := time.Parse(time.DateOnly, day)
		if err != nil || product == "" || reason == "" {
			return nil, usagef("--waive: %q is not PRODUCT=YYYY-MM-DD:REASON", plain(text, 100))
		}
		waivers = append(waivers, plan.Waiver{Product: product, Until: until.Add(24*time.Hour - time.Second), By: person(), Reason: reason})
	}
	return waivers, nil
}

// title returns what people call what is judged.
func (opt *complianceOptions) title() string {
	if opt.room {
		return "all machines"
	}
	return opt.survey.title()
}

// writer returns how a matrix is printed.
func (opt *complianceOptions) writer(json bool) (func(*plan.Matrix, io.Writer) error, error) {
	format := opt.format
	if json {
		format = "json"
	}
	switch format {
	case "table":
		return func(m *plan.Matrix, w io.Writer) error { return m.WriteTable(w, opt.all) }, nil
	case "json":
		return (*plan.Matrix).WriteJSON, nil
	case "csv":
		return (*plan.Matrix).WriteCSV, nil
	case "html":
		return func(m *plan.Matrix, w io.Writer) error { return m.WritePage(w, opt.title()) }, nil
	}
	return nil, usagef("--format: %q is none of table, json, csv and html", plain(format, 100))
}
