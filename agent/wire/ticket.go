package wire

// Schema is the version of all objects in this package.
const Schema = 1

// Places of the ticket, the seed and the catalog's root in the boot environment,
// docs/boot.md, section 5.
const (
	TicketPath = "etc/slipcast/ticket.json"
	SeedPath   = "etc/slipcast/seed"
	SeedSize   = 64 // bytes
	RootPath   = "etc/slipcast/root.json"
	MaxRoot    = 64 << 10 // bytes
)

// A Ticket is what an agent knows of its server before it has any network.
type Ticket struct {
	Schema  int      `json:"schema"`
	Servers []string `json:"servers"`           // https://ADDRESS:PORT, to try in turn
	Pin     string   `json:"pin"`               // SHA-256 of the server's SubjectPublicKeyInfo, hexadecimal
	Token   string   `json:"token,omitempty"`   // for one hello; empty on a boot.img
	MAC     string   `json:"mac,omitempty"`     // of the interface that was booted from, 00:00:5e:00:53:01
	Machine string   `json:"machine,omitempty"` // its name, for the screen
	Job     string   `json:"job,omitempty"`     // for the screen
}
