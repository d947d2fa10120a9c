package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipcast/fleet"
	"slipcast/internal/progress"
)

func newMachineCmd(env *env) *cobra.Command {
	return newGroupCmd("machine COMMAND", "Show and set the machines that boot from us",
		`Machine shows and sets the machines that boot from slipcast serve. A machine
registers itself when it boots the agent for the first time. It is known by its
UUID, its serial number or its network cards, and named by MACHINE: its name,
its id, a MAC address or its UUID.`,
		newMachineListCmd(env), newMachineShowCmd(env), newMachineSetCmd(env), newMachineForgetCmd(env), newMachineWakeCmd(env))
}

func newMachineListCmd(env *env) *cobra.Command {
	var state stateFlag
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the machines and what becomes of them",
		Long:    "List prints all machines, each with its open job, or else the last one.",
		Example: "  slipcast machine list",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error { return listMachines(cmd.Context(), env, db) })
		},
	}
	addStateFlag(cmd, &state)
	return cmd
}

func listMachines(ctx context.Context, env *env, db *fleet.Fleet) error {
	list, err := db.Machines(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"NAME", "MAC", "SEEN", "JOB", "STATE", "MODEL"}}
	for _, m := range list {
		if env.json {
			if m, err = db.Machine(ctx, m.ID); err != nil { // with what boot build --for reads
				return err
			}
			env.object(env.stdout, asObject("machine", m))
			continue
		}
		job, state := "-", "-"
		if m.Job != nil {
			job, state = jobTitle(m.Job), jobState(m.Job)
		}
		if m.Ambiguous != "" {
			state = "ambiguous"
		}
		rows = append(rows, []string{m.Name, m.MAC, ago(m.LastSeen), job, state, clip(m.Vendor+" "+m.Product, 40)})
	}
	if !env.json {
		env.columns(rows)
	}
	return nil
}

// ago says how long ago a moment is.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	since := time.Since(t)
	if since > 48*time.Hour {
		return fmt.Sprintf("%d days", int(since.Hours()/24))
	}
	return progress.Duration(max(since, 0).Truncate(time.Second))
}

// asObject returns v, which is encoded as an object, for programs.
func asObject(kind string, v any) map[string]any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, numbers, and lists of them
	}
	o := map[string]any{}
	if err := json.Unmarshal(text, &o); err != nil {
		panic(err) // it was made above
	}
	o["type"] = kind
	return o
}

func newMachineShowCmd(env *env) *cobra.Command {
	var state stateFlag
	cmd := &cobra.Command{
		Use:     "show MACHINE",
		Short:   "Show what a machine is made of and what has happened to it",
		Long:    "Show prints what is known of a machine: hardware, settings, job, and history.",
		Example: "  slipcast machine show pc-0e12ab",
		Args:    operands("MACHINE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error { return showMachine(cmd.Context(), env, db, args[0]) })
		},
	}
	addStateFlag(cmd, &state)
	cmd.ValidArgsFunction = state.machineWords()
	return cmd
}

// shownEvents is how many lines of a machine's history are shown.
const shownEvents = 20

func showMachine(ctx context.Context, env *env, db *fleet.Fleet, which string) error {
	m, err := db.Machine(ctx, which)
	if err != nil {
		return err
	}
	events, err := db.Events(ctx, m.ID, shownEvents)
	if err != nil {
		return err
	}
	if env.json {
		o := asObject("machine", m)
		o["events"] = events
		env.object(env.stdout, o)
		return nil
	}
	for _, f := range machineFacts(&m) {
		env.print(env.stdout, "%-12s %s\n", f.about, f.text)
	}
	for i, e := range events {
		about := ""
		if i == 0 {
			about = "history"
		}
		env.print(env.stdout, "%-12s %s  %s: %s\n", about, e.Time.Local().Format("2006-01-02 15:04:05"), e.Actor, e.Text)
	}
	return nil
}

// machineFacts tells people what is known of a machine.
func machineFacts(m *fleet.Machine) []fact {
	facts := []fact{{"name", m.Name}, {"id", m.ID}, {"model", m.Vendor + " " + m.Product}, {"serial", m.Serial}, {"UUID", m.UUID}}
	if m.Ambiguous != "" {
		facts = append(facts, fact{"ambiguous", m.Ambiguous})
	}
	inv := m.Inventory
	facts = append(facts,
		fact{"processor", fmt.Sprintf("%s, %s, %s of memory", inv.CPU, count(inv.Threads, "thread"), progress.Bytes(inv.Memory))},
		fact{"firmware", joined(inv.Firmware, inv.BIOS, "Secure Boot "+inv.SecureBoot)})
	for _, d := range inv.Disks {
		facts = append(facts, fact{"disk", joined(d.Name, d.Model, d.Serial, d.Transport, progress.Bytes(d.Size))})
	}
	for _, n := range inv.NICs {
		facts = append(facts, fact{"network", joined(n.Name, n.MAC, n.Driver, n.Bus)})
	}
	s := m.Settings
	for _, f := range []fact{{"rule", fleet.FormatRule(s.Disk)}, {"loader", s.Loader}, {"args", fmt.Sprint(s.Args)}, {"hostname", s.Hostname}, {"note", s.Note}} {
		if f.text != "" && f.text != "[]" {
			facts = append(facts, f)
		}
	}
	facts = append(facts, fact{"first seen", m.FirstSeen.Local().Format(time.DateTime)}, fact{"last seen", m.LastSeen.Local().Format(time.DateTime)})
	if m.Job != nil {
		facts = append(facts, fact{"job", joined(jobTitle(m.Job), jobState(m.Job), m.Job.Error)})
	}
	return append(facts, complianceFacts(m)...)
}

// complianceFacts tells people how a machine stands to the catalog.
func complianceFacts(m *fleet.Machine) []fact {
	c := m.Compliance
	if c == nil {
		return nil
	}
	facts := []fact{{"catalog", fmt.Sprintf("%d of %s as wanted, %d %%, on %s", c.Good, count(c.Cells, "product"), c.Percent, c.Looked.Local().Format(time.DateTime))}}
	for _, cell := range m.Cells {
		if !cell.Good() {
			since := "since " + cell.Since.Local().Format(time.DateTime)
			facts = append(facts, fact{string(cell.State), joined(cell.Product, cell.Version, cell.Severity, cell.Reason, since)})
		}
	}
	return facts
}

// joined joins the words that are not empty.
func joined(words ...string) string {
	text := ""
	for _, w := range words {
		switch {
		case w == "":
		case text == "":
			text = w
		default:
			text += ", " + w
		}
	}
	return text
}

func newMachineForgetCmd(env *env) *cobra.Command {
	var state stateFlag
	cmd := &cobra.Command{
		Use:     "forget MACHINE...",
		Short:   "Forget machines, their jobs and their history",
		Long:    "Forget removes machines. One that boots from us again registers itself as new.",
		Example: "  slipcast machine forget pc-0e12ab",
		Args:    atLeast(1, "MACHINE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return state.use(cmd.Context(), func(db *fleet.Fleet) error {
				list, err := chosen(cmd.Context(), db, args, false)
				if err != nil {
					return err
				}
				for _, m := range list {
					if err := db.ForgetMachine(cmd.Context(), m.ID); err != nil {
						return err
					}
					env.say("forgot %s", m.Name)
				}
				return nil
			})
		},
	}
	addStateFlag(cmd, &state)
	cmd.ValidArgsFunction = state.machineWords()
	return cmd
}
