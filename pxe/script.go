package pxe

import (
	"fmt"
	"path"
)

// The scripts never leave a machine at a prompt: what fails is tried again a
// few times, and then the machine is left to its firmware, which goes on with
// its next boot entry.

// commonScript returns a script that is the same for all machines.
func (s *Server) commonScript(name string) (text string, ok bool) {
	switch {
	case name == "grub/grub.cfg":
		return fmt.Sprintf(grubFirst, s.host()), true
	case path.Base(name) == "autoexec.ipxe" && inArch(name):
		return "#!ipxe\nifconf -c dhcp || exit 1\n" + fmt.Sprintf(ipxeFirst, s.url()+"/machine/${netX/mac}"), true
	}
	return "", false
}

// inArch returns whether name is at the root or in the folder of an
// architecture: iPXE looks for autoexec.ipxe where it came from.
func inArch(name string) bool {
	dir := path.Dir(name)
	return dir == "." || dir == string(BIOS) || dir == string(X64) || dir == string(ARM64)
}

// grubFirst finds out which machine it runs on. The script of the machine
// returns only if it did not do what it is for.
const grubFirst = `# What this machine boots is decided by slipcast.
set uuid=-
smbios --type 1 --get-uuid 8 --set uuid
for wait in 1 2 4 8 16; do
	source (http,%[1]s)/machine/$net_default_mac/$uuid/grub.cfg
	echo "slipcast: no answer from %[1]s, trying again"
	sleep $wait
done
echo "slipcast: giving up, going on with the next boot entry"
exit 1
`

// grubAgent boots the boot environment. A kernel without its initramfs would
// panic, so that it is not booted if anything fails.
const grubAgent = `set base=(http,%[1]s)
set arch=x64
if [ "$grub_cpu" = arm64 ]; then set arch=arm64; fi
echo "slipcast: loading the boot environment"
if linux $base/$arch/linux %[4]s; then
	if initrd $base/$arch/initrd $base/machine/%[2]s/%[3]s/archive; then
		boot
	fi
fi
`

const grubLocal = `echo "slipcast: nothing to do, this machine boots its own disk"
set name=BOOTX64.EFI
if [ "$grub_cpu" = arm64 ]; then set name=BOOTAA64.EFI; fi
if search --no-floppy --file --set=disk /EFI/BOOT/$name; then
	set root=$disk
	if chainloader ($disk)/EFI/BOOT/$name; then boot; fi
fi
exit 1
`

// ipxeFirst finds out which machine it runs on. %[1]s is the URL of the
// machine. Once the next script runs, this one is gone (--replace), so that
// an exit there is one of iPXE. tries outlives both.
const ipxeFirst = `isset ${tries} || set tries:int32 0
isset ${uuid} && set id ${uuid} || set id -
:again
chain --replace --autofree %[1]s/${id}/boot.ipxe?serial=${serial:uristring} ||
inc tries
iseq ${tries} 5 && goto over ||
echo slipcast: no answer, trying again
sleep 4
goto again
:over
echo slipcast: giving up, going on with the next boot entry
exit 1
`

// ipxeAgent boots the boot environment. Firmware that is EFI hands the kernel
// files by their names, so these stand on its command line. A kernel that iPXE
// cannot take will not be better next time: with Secure Boot the firmware
// refuses it without shim. The archive comes last, since it counts.
const ipxeAgent = `#!ipxe
set base %[1]s
set arch x64
iseq ${buildarch} arm64 && set arch arm64 ||
imgfree
echo slipcast: loading the boot environment
imgfetch --name linux ${base}/${arch}/linux || goto failed
imgselect linux || goto over
imgargs linux initrd=initrd initrd=archive %[4]s
initrd --name initrd ${base}/${arch}/initrd || goto failed
initrd --name archive ${base}/machine/%[2]s/%[3]s/archive || goto failed
boot linux || goto over
:failed
imgfree
inc tries
iseq ${tries} 5 && goto over ||
echo slipcast: that did not work, trying again
sleep 4
chain --replace --autofree ${base}/machine/%[2]s/boot.ipxe || goto failed
:over
echo slipcast: giving up, going on with the next boot entry
exit 1
`

// ipxeLocal boots the disk: a BIOS does not go on by itself, and UEFI does.
const ipxeLocal = `#!ipxe
echo slipcast: nothing to do, this machine boots its own disk
iseq ${platform} efi && exit 1 ||
sanboot --no-describe --drive 0x80 || sanboot --no-describe --drive 0x81 || exit 1
`

// grubScript returns the script of one machine for GRUB.
func (s *Server) grubScript(c Client, v Verdict, args string) string {
	if v == Local {
		return grubLocal
	}
	return fmt.Sprintf(grubAgent, s.host(), c.MAC, orDash(c.UUID), args)
}

// ipxeScript returns the script of one machine for iPXE.
func (s *Server) ipxeScript(c Client, v Verdict, args string) string {
	if v == Local {
		return ipxeLocal
	}
	return fmt.Sprintf(ipxeAgent, s.url(), c.MAC, orDash(c.UUID), args)
}

// ipxeFirstScript returns the script that finds out more of one machine.
func (s *Server) ipxeFirstScript(c Client) string {
	return "#!ipxe\n" + fmt.Sprintf(ipxeFirst, s.url()+"/machine/"+c.MAC.String())
}

// orDash returns how a UUID stands in a path.
func orDash(uuid string) string {
	if uuid == "" {
		return "-"
	}
	return uuid
}
