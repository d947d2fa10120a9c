package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/internal/durable"
	"slipcast/internal/progress"
)

// planOptions say what is planned.
type planOptions struct {
	survey    surveyFlag
	bundles   []string
	params    []string
	out       string
	downgrade bool
	all       bool
}

func newCatalogPlanCmd(env *env) *cobra.Command {
	var opt planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Tell what a system lacks of the catalog, and why",
		Long: `Plan tells what a system lacks of the catalog, in which order that would be
brought, and how each product stands that is not as it ought to be; with --all
each bundle. It changes nothing.

With -o it saves the plan. What was looked through is then what runs: slipcast
catalog apply --plan does exactly that, and refuses if the catalog or the system
has become another since.`,
		Example: `  slipcast catalog plan --root /
  slipcast catalog plan --image room-12 --bundles reader,scanner@2.1
  slipcast catalog plan --root /mnt -o room-12.plan`,
		Args: operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := runCatalogPlan(cmd.Context(), env, &opt); err != nil {
				return fmt.Errorf("planning: %w", err)
			}
			return nil
		},
	}
	addSurveyFlags(cmd, &opt.survey)
	f := cmd.Flags()
	f.StringSliceVar(&opt.bundles, "bundles", nil, "plan for these alone, and what they require: `NAME,...`, each maybe with @VERSION or @VERSION-RELEASE")
	f.StringArrayVar(&opt.params, "param", nil, "give a bundle a setting, `BUNDLE:NAME=VALUE`; =@FILE reads it from a file")
	f.StringVarP(&opt.out, "output", "o", "", "save the plan in `FILE`")
	f.BoolVar(&opt.downgrade, "allow-downgrade", false, "replace a recalled version by a lower one")
	f.BoolVar(&opt.all, "all", false, "list every bundle of the catalog")
	return cmd
}

// runCatalogPlan plans, prints, and saves.
func runCatalogPlan(ctx context.Context, env *env, opt *planOptions) error {
	params, err := parseParams(opt.params)
	if err != nil {
		return err
	}
	s, err := opt.survey.run(ctx, env, surveyTask{Goals: opt.bundles, Params: params, Downgrade: opt.downgrade})
	if err != nil {
		return err
	}
	if opt.out != "" {
		if err := durable.WriteFile(opt.out, 0o666, s.Plan.Encode()); err != nil {
			return err
		}
		env.say("saved as %s, digest %s", opt.out, s.Plan.Digest())
	}
	if env.json {
		return s.Plan.WriteJSON(env.stdout)
	}
	return s.Plan.WriteText(env.stdout, opt.all, progress.Bytes)
}
