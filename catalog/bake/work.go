package bake

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"sync"

	"slipcast/catalog/root"
)

// A Job is something that is done to the root on a copy of an image, in a
// process of its own. What it returns is handed to the caller of [Copy.Run] as
// JSON. When ctx ends, so should the job.
type Job func(ctx context.Context, r *root.Root, w *Work) (any, error)

// Work is what a job is given. Its methods are safe for concurrent use.
type Work struct {
	Files   []*os.File // those of the [Task]
	Scratch string     // an empty folder on a file system outside of the copy

	input json.RawMessage
	out   *outlet
}

// Input decodes the input of the [Task] into v.
func (w *Work) Input(v any) error { return json.Unmarshal(w.input, v) }

// Log hands a line to the Log of the Task.
func (w *Work) Log(line string) { w.out.send(message{Log: line}) }

// Progress hands a number of bytes to the Progress of the Task.
func (w *Work) Progress(bytes int64) { w.out.progress(bytes) }

// A request is what the process that does a job is told, on its standard input.
type request struct {
	Job        string          `json:"job"`
	Input      json.RawMessage `json:"input"`
	ReadOnly   bool            `json:"read_only,omitempty"`
	Dir        string          `json:"dir"` // where to mount the root
	Scratch    string          `json:"scratch"`
	SectorSize int             `json:"sector_size"`
	Volumes    []volume        `json:"volumes"`
	Files      []string        `json:"files"` // names of the descriptors from firstFile
}

// A volume is a part of the disk that may have a file system.
type volume struct {
	Start     int64  `json:"start"`
	Size      int64  `json:"size"`
	Name      string `json:"name"`
	Number    int    `json:"number,omitempty"` // of the partition; 0: the disk has no table
	PartUUID  string `json:"partuuid,omitempty"`
	PartLabel string `json:"partlabel,omitempty"`
}

// A message is what the process says, a line of JSON each. The last one has
// Done.
type message struct {
	Log    string          `json:"log,omitempty"`
	Bytes  int64           `json:"bytes,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
	Fault  *fault          `json:"fault,omitempty"`
	Done   bool            `json:"done,omitempty"`
}

// An outlet sends messages.
type outlet struct {
	mu    sync.Mutex
	enc   *json.Encoder
	bytes int64 // not sent yet
}

// progressStep is how many bytes of progress are sent at once.
const progressStep = 1 << 20

func newOutlet(w io.Writer) *outlet { return &outlet{enc: json.NewEncoder(w)} }

// send sends m. If nobody listens any more, this process is about to be killed.
func (o *outlet) send(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.enc.Encode(m)
}

func (o *outlet) progress(bytes int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes += bytes; o.bytes < progressStep {
		return
	}
	_ = o.enc.Encode(message{Bytes: o.bytes})
	o.bytes = 0
}

// done sends the last message.
func (o *outlet) done(output json.RawMessage, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.enc.Encode(message{Bytes: o.bytes, Output: output, Fault: newFault(err), Done: true})
}
