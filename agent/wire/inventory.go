package wire

// An Inventory is what a machine is made of. Texts come from its firmware and
// its devices and are not to be trusted; they are at most 256 bytes each,
// printable, and trimmed.
type Inventory struct {
	UUID        string   `json:"uuid,omitempty"` // of SMBIOS, lower case, as Linux prints it
	Serial      string   `json:"serial,omitempty"`
	Vendor      string   `json:"vendor,omitempty"`
	Product     string   `json:"product,omitempty"`
	Board       string   `json:"board,omitempty"`         // vendor and name of the main board
	BIOS        string   `json:"bios,omitempty"`          // vendor, version and date of the firmware
	CPU         string   `json:"cpu,omitempty"`           // model
	Threads     int      `json:"threads,omitempty"`       // of all processors
	Memory      int64    `json:"memory_bytes,omitempty"`  //
	Arch        string   `json:"arch"`                    // x64 or arm64
	Firmware    string   `json:"firmware"`                // bios or uefi
	SecureBoot  string   `json:"secure_boot,omitempty"`   // on or off; empty if there is no such thing
	MAC         string   `json:"mac,omitempty"`           // that it was booted from, as the ticket says
	Disks       []Disk   `json:"disks"`                   // at most 256
	NICs        []NIC    `json:"nics"`                    // at most 64
	Modaliases  []string `json:"modaliases,omitempty"`    // of all devices, for boot build --for; at most 2048
	KernelNotes []string `json:"kernel_notes,omitempty"`  // firmware files that were missing, modules that did not load; at most 64
	Kernel      string   `json:"kernel,omitempty"`        // release of the boot environment's kernel
	Version     string   `json:"agent_version,omitempty"` // of slipcast
}

// A Disk is a disk of a machine.
type Disk struct {
	Name      string `json:"name"`           // as this kernel calls it, sda: for people, never to choose by
	Path      string `json:"path,omitempty"` // as in /dev/disk/by-path
	Model     string `json:"model,omitempty"`
	Serial    string `json:"serial,omitempty"`
	WWN       string `json:"wwn,omitempty"`
	Transport string `json:"transport,omitempty"` // nvme, sata, scsi, virtio, mmc, usb, ...
	Size      int64  `json:"size_bytes"`
	Sector    int    `json:"sector_bytes,omitempty"`
	Removable bool   `json:"removable,omitempty"`
	ReadOnly  bool   `json:"read_only,omitempty"`
	External  bool   `json:"external,omitempty"` // not built in: on USB or Thunderbolt, a memory card, in a storage network
	InUse     string `json:"in_use,omitempty"`   // by what: a mount, a holder
}

// A NIC is a network interface of a machine.
type NIC struct {
	Name   string `json:"name"`
	MAC    string `json:"mac"`              // the permanent one where the kernel knows it
	Driver string `json:"driver,omitempty"` //
	Bus    string `json:"bus,omitempty"`    // pci, usb, virtio
	Link   bool   `json:"link,omitempty"`
	Speed  int    `json:"mbit,omitempty"` // Mbit/s
}
