package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
)

// A Kind is what a job does.
type Kind string

// The kinds of jobs.
const (
	Restore Kind = "restore"
	Capture Kind = "capture"
	Survey  Kind = "inventory"
	Wipe    Kind = "wipe"
	Shell   Kind = "shell"
)

// An End is what becomes of a machine when its job is done or has failed.
type End string

// The ends of a job. The empty one is Reboot. A job that failed with Reboot
// stays on the screen for a minute first.
const (
	Reboot    End = "reboot"   // to the disk
	PowerOff  End = "poweroff" //
	OpenShell End = "shell"    // a console for a technician
	Stay      End = "stay"     // asks for its next job until there is one
)

// A Job is what a machine is to do.
type Job struct {
	ID       string   `json:"id"`
	Kind     Kind     `json:"kind"`
	Attempt  int      `json:"attempt"`                  // 1, and one more for each time that it was cut short
	Silent   int64    `json:"silent_seconds,omitempty"` // of an attempt after the first: how long nothing had been heard of the job
	Image    string   `json:"image,omitempty"`          // NAME@VERSION to restore; NAME to capture to
	Digest   string   `json:"digest,omitempty"`         // of the image to restore, hexadecimal; any other is refused
	Need     int64    `json:"need_bytes,omitempty"`     // the smallest disk that holds it
	Session  *Session `json:"session,omitempty"`        // of the image, nil to fetch it by HTTPS
	Delta    bool     `json:"delta,omitempty"`          // write only what differs
	Grow     bool     `json:"grow,omitempty"`           // the last partition and its file system
	Verify   bool     `json:"verify,omitempty"`         // read everything back
	Level    string   `json:"level,omitempty"`          // of compression, to capture; empty is the default
	Disk     Rule     `json:"disk"`
	Hostname string   `json:"hostname,omitempty"` // of the clone; empty leaves what the image has
	Fresh    bool     `json:"fresh,omitempty"`    // makes machine-id, SSH host keys and the like anew
	Answer   string   `json:"answer,omitempty"`   // Windows answer file, at most 256 KiB
	Apply    []string `json:"apply,omitempty"`    // bundles for what was restored: NAME, NAME@VERSION, NAME@VERSION-RELEASE; "*" is all that apply; at most MaxApply
	End      End      `json:"end,omitempty"`
}

// Bounds of what a job applies.
const (
	MaxApply = 256 // bundles
	ApplyAll = "*" // alone: all that apply to the machine
)

// applyForm are the names of bundles, docs/bundles.md, section 1.
var applyForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}(/[a-z0-9][a-z0-9.-]{0,63})?(@[!-~]{1,300})?$`)

// CheckApply refuses what cannot be the Apply of a job.
func CheckApply(list []string) error {
	if len(list) > MaxApply {
		return fmt.Errorf("%d bundles to apply, at most %d", len(list), MaxApply)
	}
	for _, name := range list {
		if !applyForm.MatchString(name) && (name != ApplyAll || len(list) > 1) {
			return fmt.Errorf("%q names no bundle: NAME, NAME@VERSION or NAME@VERSION-RELEASE, or %s alone for all", Plain(name, 100), ApplyAll)
		}
	}
	return nil
}

// PlanDigest returns what the proof of a job says of its Apply: the SHA-256 of
// that as JSON without blanks, in hexadecimal. It is empty if nothing is to be
// applied.
func (j *Job) PlanDigest() string {
	if len(j.Apply) == 0 {
		return ""
	}
	text, err := json.Marshal(j.Apply)
	if err != nil {
		panic(err) // a list of texts
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// A Session is a multicast session that brings an image.
type Session struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // ADDRESS or ADDRESS:PORT of the sender; empty finds it by its announcements
	Key  string `json:"key,omitempty"`  // secret
}

// A Rule says which disk is meant, docs/boot.md, section 8. All that is set
// must fit. The zero Rule is the only internal disk.
type Rule struct {
	Serial    string `json:"serial,omitempty"`
	WWN       string `json:"wwn,omitempty"`
	Path      string `json:"path,omitempty"` // as in /dev/disk/by-path
	Model     string `json:"model,omitempty"`
	Transport string `json:"transport,omitempty"`
	Min       int64  `json:"min_bytes,omitempty"`
	Max       int64  `json:"max_bytes,omitempty"`
}
