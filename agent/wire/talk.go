package wire

import (
	"encoding/json"
	"time"
)

// MaxBody is the size in bytes of the largest body of a request but an image.
const MaxBody = 1 << 20

// A Hello is the first that a server hears of an agent.
type Hello struct {
	Schema    int       `json:"schema"`
	Token     string    `json:"token,omitempty"` // of the ticket
	Nonce     string    `json:"nonce,omitempty"` // that the proof of the answer has: 64 hexadecimal digits, new for each request
	Inventory Inventory `json:"inventory"`
}

// A Welcome answers a Hello, and a request for what is next.
type Welcome struct {
	Schema  int       `json:"schema"`
	Machine string    `json:"machine"`          // its name
	Token   string    `json:"token,omitempty"`  // for all further requests; empty keeps the one there is
	Job     *Job      `json:"job,omitempty"`    // nil: nothing to do
	End     End       `json:"end,omitempty"`    // what to do without a job
	Reason  string    `json:"reason,omitempty"` // why there is no job, for people
	Time    time.Time `json:"time"`             // of the server: the machine's clock may be wrong

	// Proof is the job ticket for Job, docs/bundles.md, section 7.4: that the
	// server whose catalog the machine trusts gives it this job now.
	Proof json.RawMessage `json:"proof,omitempty"`
}

// A Next asks for the next job of an agent that stays.
type Next struct {
	Schema int    `json:"schema"`
	Nonce  string `json:"nonce,omitempty"` // as that of a Hello
}

// A State is how far a job is, as its agent sees it.
type State string

// The states that an agent reports.
const (
	Working State = "working"
	Asking  State = "asking" // which of Candidates is the disk
	Done    State = "done"
	Failed  State = "failed"
)

// A Report tells how far a job is.
type Report struct {
	Schema     int      `json:"schema"`
	Job        string   `json:"job"`
	Seq        uint64   `json:"seq"` // from 1, upwards
	State      State    `json:"state"`
	Step       string   `json:"step,omitempty"` // for people: "restore", "compare", "grow"
	Done       int64    `json:"done_bytes,omitempty"`
	Total      int64    `json:"total_bytes,omitempty"`
	Rate       int64    `json:"bytes_per_second,omitempty"`
	Disk       string   `json:"disk,omitempty"`  // that was chosen, for people
	Error      string   `json:"error,omitempty"` // of Failed, and why of Asking
	Lines      []Line   `json:"lines,omitempty"` // of the log, at most MaxLines
	Candidates []Disk   `json:"candidates,omitempty"`
	Result     string   `json:"result,omitempty"` // of Done: "NAME@VERSION" that was captured, digest that was restored
	Notes      []string `json:"notes,omitempty"`  // what was not done though the job is, at most 32
	Cells      []Cell   `json:"cells,omitempty"`  // of Done: how each product stands to what was restored, at most MaxCells
}

// Limits of a Report.
const (
	MaxLines = 200
	MaxText  = 1024 // bytes of a line, an error, a note
	MaxCells = 2000
)

// A Line is a line of an agent's log.
type Line struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// A Reply answers a Report.
type Reply struct {
	Schema int    `json:"schema"`
	Cancel bool   `json:"cancel,omitempty"` // the job is not wanted any more
	Disk   string `json:"disk,omitempty"`   // serial number or path that somebody chose of the Candidates
}
