package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestWriteText(t *testing.T) {
	p := samplePlan(t)
	amount := func(n int64) string { return fmt.Sprint(n, " B") }
	var b bytes.Buffer
	if err := p.WriteText(&b, false, amount); err != nil {
		t.Fatal(err)
	}
	const want = `1.  vcredist@14-1          low       1000 B  reader 9.3 needs vcredist >=14
2.  reader@9.2-1           low       1000 B  reader 9.3 goes onto >=9.2 <9.3: 9.2 comes first
    start the system anew                    
3.  reader@9.3-1           critical  1000 B  the highest that applies
reader    missing  9.0 is there, and 9.3 comes with step 3
vcredist  missing  it is not there, and 14 comes with step 1
3 bundles, 3000 B, 1 reboot
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := p.WriteText(&b, true, amount); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "reader@9.0-1   installed  it is there\n") {
		t.Errorf("no cell of what is installed:\n%s", b.String())
	}
}

func TestPlanWriteJSON(t *testing.T) {
	p := samplePlan(t)
	var b bytes.Buffer
	if err := p.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	var last map[string]any
	for line := range strings.Lines(b.String()) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if last["schema"] != 1.0 {
			t.Errorf("no schema: %s", line)
		}
		counts[fmt.Sprint(last["type"])]++
	}
	if fmt.Sprint(counts) != "map[plan:1 plan_bundle:4 plan_product:2 plan_step:3]" || last["digest"] != p.Digest() {
		t.Errorf("objects %v, the last one %v", counts, last)
	}
}
