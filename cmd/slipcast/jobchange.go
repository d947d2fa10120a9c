package main

import (
	"context"

	"github.com/spf13/cobra"

	"slipcast/fleet"
)

func newJobCancelCmd(env *env) *cobra.Command {
	return newJobChangeCmd(env, "cancel JOB...", "Cancel jobs",
		`Cancel ends jobs that are not over. The agent of one that is at work is told with
its next report; it stops, and the disk is not whole then.`,
		"  slipcast job cancel 12 13", "cancelled", fleet.State.Open, (*fleet.Fleet).Cancel)
}

func newJobRetryCmd(env *env) *cobra.Command {
	return newJobChangeCmd(env, "retry JOB...", "Try jobs again that failed or were cancelled",
		`Retry makes jobs wait for their machines again, in a window of the same length
that opens now. A job that is done is not done again.`,
		"  slipcast job retry 12", "pending again",
		func(s fleet.State) bool { return s == fleet.Failed || s == fleet.Cancelled }, (*fleet.Fleet).Retry)
}

// newJobChangeCmd returns a command that does something to each JOB.
func newJobChangeCmd(env *env, use, short, long, example, said string, want func(fleet.State) bool,
	do func(*fleet.Fleet, context.Context, int64, string) (fleet.Job, error)) *cobra.Command {
	var state stateFlag
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: atLeast(1, "JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error {
				for _, arg := range args {
					id, err := jobNumber(arg)
					if err != nil {
						return err
					}
					j, err := do(db, cmd.Context(), id, person())
					if err != nil {
						return err
					}
					env.tellJob(&j, said)
				}
				return nil
			})
		},
	}
	addStateFlag(cmd, &state)
	cmd.ValidArgsFunction = state.jobWords(want)
	return cmd
}

// tellJob tells people what has become of a job, and programs all about it.
func (e *env) tellJob(j *fleet.Job, said string) {
	if e.json {
		e.object(e.stdout, asObject("job", j))
	}
	e.say("job %s of %s: %s", jobTitle(j), j.Name, said)
}

func newJobAnswerCmd(env *env) *cobra.Command {
	var state stateFlag
	cmd := &cobra.Command{
		Use:   "answer JOB DISK",
		Short: "Tell the agent of a job which disk is meant",
		Long: `Answer chooses a disk for a job whose agent asks: two or more disks fit the rule.
DISK is the serial number, or the path, of one of them; slipcast job show lists
them.`,
		Example: "  slipcast job answer 12 S4EWNX0R612345",
		Args:    operands("JOB", "DISK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error {
				id, err := jobNumber(args[0])
				if err != nil {
					return err
				}
				j, err := db.Answer(cmd.Context(), id, args[1], person())
				if err != nil {
					return err
				}
				env.tellJob(&j, "the disk is "+j.Choice)
				return nil
			})
		},
	}
	addStateFlag(cmd, &state)
	cmd.ValidArgsFunction = state.jobWords(func(s fleet.State) bool { return s == fleet.Working })
	return cmd
}
