package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"slipcast/agent/wire"
	"slipcast/fleet"
	"slipcast/internal/progress"
)

func newJobCmd(env *env) *cobra.Command {
	return newGroupCmd("job COMMAND", "Say what is to happen to machines, and see what does",
		`Job makes jobs for machines that boot from slipcast serve, and shows how far they
are. A job waits for its machine to boot from the network, within its window. A
machine has one open job at a time; when that is over, it boots its disk.`,
		newJobCreateCmd(env), newJobListCmd(env), newJobShowCmd(env), newJobCancelCmd(env), newJobRetryCmd(env), newJobAnswerCmd(env))
}

// jobTitle says what a job does.
func jobTitle(j *fleet.Job) string {
	title := fmt.Sprintf("%d %s", j.ID, j.Kind)
	if j.Image != "" {
		title += " " + j.Image
	}
	return title
}

// jobState says how far a job is.
func jobState(j *fleet.Job) string {
	s := j.Status
	switch {
	case j.State == fleet.Pending && time.Now().Before(j.NotBefore):
		return "from " + j.NotBefore.Local().Format("Mon 15:04")
	case j.State != fleet.Working:
		return string(j.State)
	case s.Asking:
		return "asks which disk"
	case s.Total > 0:
		return fmt.Sprintf("%s %d %%", s.Step, 100*s.Done/s.Total)
	case s.Step != "":
		return s.Step
	}
	return string(j.State)
}

func newJobListCmd(env *env) *cobra.Command {
	var state stateFlag
	var open bool
	var machine string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List jobs, the newest first",
		Long:    "List prints the jobs of all machines or of one.",
		Example: "  slipcast job list --open",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error { return listJobs(cmd.Context(), env, db, machine, open) })
		},
	}
	addStateFlag(cmd, &state)
	cmd.Flags().BoolVar(&open, "open", false, "only those that are not over")
	cmd.Flags().StringVar(&machine, "machine", "", "only those of `MACHINE`")
	if err := cmd.RegisterFlagCompletionFunc("machine", state.machineWords()); err != nil {
		panic(err) // the flag's name is wrong
	}
	return cmd
}

// listedJobs is how many jobs are listed at most.
const listedJobs = 1000

func listJobs(ctx context.Context, env *env, db *fleet.Fleet, machine string, open bool) error {
	if machine != "" {
		m, err := db.Machine(ctx, machine)
		if err != nil {
			return err
		}
		machine = m.ID
	}
	list, err := db.Jobs(ctx, machine, open, listedJobs)
	if err != nil {
		return err
	}
	rows := [][]string{{"JOB", "MACHINE", "WHAT", "STATE", "CREATED", "ERROR"}}
	for _, j := range list {
		if env.json {
			env.object(env.stdout, asObject("job", j))
			continue
		}
		what := string(j.Kind)
		if j.Image != "" {
			what += " " + j.Image
		}
		rows = append(rows, []string{strconv.FormatInt(j.ID, 10), j.Name, what, jobState(&j), j.Created.Local().Format("2006-01-02 15:04"), j.Error})
	}
	if !env.json {
		env.columns(rows)
	}
	return nil
}

// jobNumber reads the operand JOB.
func jobNumber(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, usagef("a job has a number, not %q; slipcast job list shows them", text)
	}
	return id, nil
}

func newJobShowCmd(env *env) *cobra.Command {
	var state stateFlag
	cmd := &cobra.Command{
		Use:     "show JOB",
		Short:   "Show a job, its progress and its log",
		Long:    "Show prints all about a job, with the log of its agent.",
		Example: "  slipcast job show 12",
		Args:    operands("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error { return showJob(cmd.Context(), env, db, args[0]) })
		},
	}
	addStateFlag(cmd, &state)
	cmd.ValidArgsFunction = state.jobWords(func(fleet.State) bool { return true })
	return cmd
}

// shownLines is how many lines of a job's log are shown.
const shownLines = 200

func showJob(ctx context.Context, env *env, db *fleet.Fleet, number string) error {
	id, err := jobNumber(number)
	if err != nil {
		return err
	}
	j, err := db.Job(ctx, id)
	if err != nil {
		return err
	}
	lines, err := db.Lines(ctx, id, shownLines)
	if err != nil {
		return err
	}
	if env.json {
		o := asObject("job", j)
		o["lines"] = append([]wire.Line{}, lines...)
		env.object(env.stdout, o)
		return nil
	}
	for _, f := range jobFacts(&j) {
		env.print(env.stdout, "%-10s %s\n", f.about, f.text)
	}
	for _, l := range lines {
		env.print(env.stdout, "%s  %s\n", l.Time.Local().Format(time.DateTime), l.Text)
	}
	return nil
}

// jobFacts tells people about a job.
func jobFacts(j *fleet.Job) []fact {
	at := func(t time.Time) string { return t.Local().Format(time.DateTime) }
	facts := []fact{
		{"job", jobTitle(j)}, {"machine", j.Name}, {"state", jobState(j)},
		{"window", at(j.NotBefore) + " to " + at(j.NotAfter)}, {"created", at(j.Created) + " by " + j.By},
	}
	s := j.Status
	for _, f := range []fact{
		{"digest", j.Digest}, {"rule", fleet.FormatRule(j.Options.Disk)}, {"error", j.Error}, {"disk", s.Disk}, {"result", s.Result}, {"question", s.Question},
	} {
		if f.text != "" {
			facts = append(facts, f)
		}
	}
	if !j.Started.IsZero() {
		facts = append(facts, fact{"started", fmt.Sprintf("%s, attempt %d", at(j.Started), j.Attempts)})
	}
	if !j.Ended.IsZero() {
		facts = append(facts, fact{"ended", at(j.Ended)})
	}
	if s.Total > 0 {
		facts = append(facts, fact{"progress", fmt.Sprintf("%s of %s, %s/s", progress.Bytes(s.Done), progress.Bytes(s.Total), progress.Bytes(s.Rate))})
	}
	for _, d := range s.Candidates {
		facts = append(facts, fact{"candidate", joined(d.Name, d.Model, d.Serial, d.Path, progress.Bytes(d.Size))})
	}
	for _, n := range s.Notes {
		facts = append(facts, fact{"note", n})
	}
	return facts
}
