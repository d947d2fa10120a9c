package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/internal/progress"
	"slipcast/pxe/bootenv"
)

func newBootCmd(env *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "boot",
		Short: "Make and check what machines boot from the network",
		Long: `Boot makes and checks the boot folder: the boot loaders, the kernel and the
initramfs that slipcast serve hands out to machines.`,
	}
	cmd.AddCommand(newBootBuildCmd(env), newBootCheckCmd(env))
	return cmd
}

// bootDir is where the boot folder is if nothing else is said.
func bootDir() string { return stateDir("") + "/boot" }

// showBoot prints the files of a boot folder, of one architecture or, for "",
// of all.
func (e *env) showBoot(dir string, m *bootenv.Manifest, findings map[string]*bootenv.Finding, arch bootenv.Arch) {
	rows := [][]string{{"FILE", "SIZE", "FROM", "SIGNED BY"}}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		f, finding := m.Files[name], findings[name]
		if finding == nil {
			finding = &bootenv.Finding{Signers: f.Signers} // of an architecture that was not looked at
		}
		if e.json {
			e.object(e.stdout, bootFileObject(name, f, finding))
			continue
		}
		rows = append(rows, []string{name, progress.Bytes(f.Size), joined(f.Package, f.Version, f.Suite), strings.Join(finding.Signers, "; ")})
	}
	if !e.json {
		e.columns(rows)
	}
	for _, a := range slices.Sorted(maps.Keys(m.Arch)) {
		if arch != "" && a != arch {
			continue
		}
		about := m.Arch[a]
		if e.json {
			o := asObject("boot", about)
			o["dir"], o["arch"] = dir, a
			e.object(e.stdout, o)
			continue
		}
		e.showEnvironment(a, about, m, findings)
	}
}

// bootFileObject is a file of a boot folder for programs.
func bootFileObject(name string, f bootenv.File, finding *bootenv.Finding) map[string]any {
	o := asObject("boot_file", f)
	o["file"] = name
	for key, list := range map[string][]string{"signers": finding.Signers, "sbat": finding.SBAT, "trusts": finding.Trusts} {
		if len(list) > 0 {
			o[key] = list
		}
	}
	for key, text := range map[string]string{"grub": finding.GRUB, "refused": finding.Refused} {
		if text != "" {
			o[key] = text
		}
	}
	return o
}

// showEnvironment tells people what is in the boot environment of one
// architecture.
func (e *env) showEnvironment(arch bootenv.Arch, about bootenv.Environment, m *bootenv.Manifest, findings map[string]*bootenv.Finding) {
	initrd := m.Files[string(arch)+"/initrd"]
	set := "set " + about.Set
	if about.Trimmed {
		set = "trimmed to given machines"
	}
	facts := []fact{
		{"kernel", about.Kernel},
		{"modules", fmt.Sprintf("%d (%s), %s", about.Modules, set, progress.Bytes(about.ModuleBytes))},
		{"firmware", fmt.Sprintf("%s, %s", count(len(about.Firmware), "file"), progress.Bytes(about.FirmBytes))},
		{"agent", progress.Bytes(about.AgentBytes) + ", slipcast " + about.Builder},
		{"initramfs", fmt.Sprintf("%s, compressed from %s", progress.Bytes(initrd.Size), progress.Bytes(about.RawBytes))},
	}
	if len(about.Missing) > 0 {
		facts = append(facts, fact{"missing", "firmware that is not there: " + strings.Join(about.Missing, ", ")})
	}
	if len(about.TooLarge) > 0 {
		facts = append(facts, fact{"left out", "firmware that is too large: " + strings.Join(about.TooLarge, ", ")})
	}
	dir := string(arch) + "/"
	if f := findings[dir+"shim.efi"]; f != nil {
		facts = append(facts, fact{"shim", "trusts " + strings.Join(f.Trusts, ", ") + "; SBAT " + strings.Join(f.SBAT, " ")})
	}
	if f := findings[dir+"grub.efi"]; f != nil {
		facts = append(facts, fact{"GRUB", f.GRUB + ", with http and tftp; SBAT " + strings.Join(f.SBAT, " ")})
	}
	e.print(e.stdout, "\n%s\n", arch)
	for _, f := range facts {
		e.print(e.stdout, "  %-10s %s\n", f.about, f.text)
	}
}

// warnBoot tells what Secure Boot keeps from starting. That iPXE is not signed
// is known.
func (e *env) warnBoot(findings map[string]*bootenv.Finding) {
	for _, name := range slices.Sorted(maps.Keys(findings)) {
		if refused := findings[name].Refused; refused != "" && !strings.HasSuffix(name, "/ipxe.efi") {
			e.note(name, refused+"; machines that enforce it do not boot")
		}
	}
}

// bootFileType documents what boot build and boot check print of a file.
func bootFileType() jsonType {
	return jsonType{"boot_file", "one for each file of boot build and boot check", []jsonField{
		{name: "file", meaning: "its path in the folder"}, {name: "size_bytes", meaning: "its length"}, {name: "sha256", meaning: "of the file, in hexadecimal"},
		optional(jsonField{name: "package", meaning: "that it came from, or the file that it is a copy of"}),
		optional(jsonField{name: "version", meaning: "of the package"}), optional(jsonField{name: "suite", meaning: "that the package was found in"}),
		optional(jsonField{name: "signers", meaning: "list of who signed it for Secure Boot"}),
		optional(jsonField{name: "sbat", meaning: "list of its components with their generations"}),
		optional(jsonField{name: "trusts", meaning: "of a shim: list of whose signatures it accepts"}),
		optional(jsonField{name: "grub", meaning: "of a GRUB: its version"}),
		optional(jsonField{name: "refused", meaning: "why it does not start under Secure Boot"}),
	}}
}

// bootType documents what boot build and boot check print of a boot
// environment.
func bootType() jsonType {
	return jsonType{"boot", "one for each architecture of boot build and boot check", []jsonField{
		{name: "dir", meaning: "the folder"}, {name: "arch", meaning: "x64 or arm64"},
		{name: "built", meaning: "when, as in RFC 3339"}, {name: "slipcast", meaning: "version of the agent"}, {name: "kernel", meaning: "version of the kernel"},
		{name: "set", meaning: "of modules: virt, desk or wide"}, optional(jsonField{name: "trimmed", meaning: "true if it is for given machines alone (--for)"}),
		{name: "modules", meaning: "how many there are"}, {name: "module_bytes", meaning: "of these"}, {name: "agent_bytes", meaning: "of the agent"},
		{name: "initrd_raw_bytes", meaning: "of the initramfs before compression"},
		{name: "firmware", meaning: "list of the files inside"}, {name: "firmware_bytes", meaning: "of these"},
		optional(jsonField{name: "missing_firmware", meaning: "list of files that modules may ask for and that are not there"}),
		optional(jsonField{name: "firmware_left_out", meaning: "list of files that are too large"}),
	}}
}
