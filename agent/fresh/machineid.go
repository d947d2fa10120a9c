package fresh

import "golang.org/x/sys/unix"

// noMachineID makes systemd choose a machine-id at the next boot, which does
// not count as the first one for that (machine-id(5), First boot semantics): a
// first boot would apply presets, and so bring back services that the image's
// maker has switched off.
const noMachineID = ""

// renewMachineID takes machine-id(5) away. Without systemd it is dbus-uuidgen(1)
// --ensure that makes the file, if there is none; it takes no other contents.
func (s *system) renewMachineID(etc *folder) {
	if s.hasSystemd() {
		s.put(etc, "machine-id", []byte(noMachineID), 0o444)
		return
	}
	if _, err := etc.regular("machine-id"); err != nil {
		s.try(err)
		return
	}
	s.drop(etc, "machine-id")
}

func (s *system) hasSystemd() bool {
	return exists(s.root, "usr/lib/systemd/systemd", unix.S_IFREG) ||
		exists(s.root, "lib/systemd/systemd", unix.S_IFREG) ||
		exists(s.root, "etc/systemd/system", unix.S_IFDIR) // /usr may be on another volume
}

// forgetDBusID removes a copy of the machine-id that D-Bus has for itself. A
// link to /etc/machine-id, as it is made today, is right as it is.
func (s *system) forgetDBusID(dbus *folder) {
	st, err := dbus.stat("machine-id")
	if err != nil {
		s.try(err)
		return
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		s.drop(dbus, "machine-id")
	}
}
