package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"slipcast/catalog/condition"
	"slipcast/catalog/root"
)

// A Machine is the computer that a root is for.
type Machine struct {
	Name string // that the site gives it; empty if it has none
	UUID string // of SMBIOS, as 8-4-4-4-12 lower-case hexadecimal digits
	MAC  string // of the interface that it boots from

	Vendor, Product, Serial, Board, BIOS string // of DMI: who made it, what it is, its number, its board, its firmware's version

	Modaliases []string // of its devices, as the kernel writes them
	Memory     int64    // bytes
	UEFI       bool     // its firmware is UEFI, else a BIOS
}

// Probes are the facts of one root and, if there is one, of a machine. An
// answer is kept: the root must not change while Probes are used. They are safe
// for concurrent use; questions wait for each other.
type Probes struct {
	root     *root.Root
	machine  *Machine
	products func(ctx context.Context, name string) (string, error)

	mu       sync.Mutex
	answers  map[string]answer
	packages *packages
}

// An answer is what a probe said.
type answer struct {
	value any
	err   error
}

// New returns the facts of a root. m is nil where there is no machine, as while
// an image is baked; it and the root must not change meanwhile.
func New(r *root.Root, m *Machine) *Probes {
	return &Probes{root: r, machine: m, answers: map[string]answer{}}
}

// SetProducts says how the version of a product on this root is found; an empty
// one is none. It is called before the first probe. f may ask these Probes.
// Without it product cannot answer.
func (p *Probes) SetProducts(f func(ctx context.Context, name string) (string, error)) {
	p.products = f
}

var _ condition.Facts = (*Probes)(nil)

// Probe answers a probe of section 3 of docs/bundles.md, as condition.Facts
// says. Answers are kept, except of a context that ended.
func (p *Probes) Probe(ctx context.Context, name string, args ...string) (any, error) {
	if name == "product" { // which asks further probes
		return p.product(ctx, args)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := name + "\x00" + strings.Join(args, "\x00")
	if known, ok := p.answers[key]; ok {
		return known.value, known.err
	}
	value, err := p.ask(ctx, name, args)
	if ctx.Err() == nil {
		p.answers[key] = answer{value, err}
	}
	return value, err
}

func (p *Probes) product(ctx context.Context, args []string) (any, error) {
	if p.products == nil {
		return nil, errors.New("products are not known here")
	}
	if len(args) != 1 {
		return nil, errArguments("product")
	}
	return p.products(ctx, args[0])
}

// A question is how a probe is answered, and how many arguments it has.
type question struct {
	args int
	ask  func(ctx context.Context, args []string) (any, error)
}

// ask answers a probe for the first time.
func (p *Probes) ask(ctx context.Context, name string, args []string) (any, error) {
	q, ok := p.questions()[name]
	if !ok {
		return nil, fmt.Errorf("there is no probe %.40q", name)
	}
	if len(args) != q.args {
		return nil, errArguments(name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return q.ask(ctx, args)
}

func errArguments(name string) error { return fmt.Errorf("%s: wrong number of arguments", name) }
