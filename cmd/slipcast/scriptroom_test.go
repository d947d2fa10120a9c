package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"slipcast/agent/wire"
	"slipcast/fleet"
)

// scriptRegister (register MAC...) lets machines say hello to a server whose
// state folder is that of the script.
func scriptRegister(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) >= 1, "register MAC...")
	db, err := fleet.Open(context.Background(), filepath.Join(ts.Getenv("SLIPCAST_STATE"), fleet.File))
	ts.Check(err)
	defer db.Close()
	for _, mac := range args {
		ts.Check(hello(db, mac))
	}
}

// hello is what a server hears of a new machine.
func hello(db *fleet.Fleet, mac string) error {
	body, err := json.Marshal(wire.Hello{Schema: wire.Schema, Inventory: wire.Inventory{
		Serial: "S-" + mac, Vendor: "Dell Inc.", Product: "OptiPlex 7010", CPU: "Intel i5", Threads: 4, Memory: 16 << 30,
		Arch: "x64", Firmware: "uefi", SecureBoot: "on", MAC: mac,
		Disks:      []wire.Disk{{Name: "nvme0n1", Model: "PM981", Serial: "D-" + mac, Transport: "nvme", Size: 256e9}},
		Modaliases: []string{"pci:v00008086d000015B7sv"},
		NICs:       []wire.NIC{{Name: "eth0", MAC: mac, Driver: "e1000e", Bus: "pci"}},
	}})
	if err != nil {
		return err
	}
	w := httptest.NewRecorder()
	api := &fleet.AgentAPI{Fleet: db}
	api.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/agent/hello", bytes.NewReader(body)))
	if w.Code != 200 {
		return fmt.Errorf("hello of %s answers %d: %s", mac, w.Code, w.Body)
	}
	return nil
}
