package bootenv

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// The sets of modules, from small to large. Each holds the one before it.
const (
	Virt = "virt" // virtual machines
	Desk = "desk" // desktops, laptops and virtual machines
	Wide = "wide" // servers and older hardware, too
)

// A moduleSet chooses modules by their paths below kernel/, without .ko. A pattern
// that ends in a slash is a folder with all below it; any other is one of
// path.Match. What without names is left out again.
type moduleSet struct {
	with, without []string
}

// sets returns the sets that make up the one of that name.
func sets(name string) ([]moduleSet, error) {
	all := []moduleSet{virtSet(), deskSet(), wideSet()}
	names := []string{Virt, Desk, Wide}
	i := slices.Index(names, name)
	if i < 0 {
		return nil, fmt.Errorf("there is no set %q; there are %s", name, strings.Join(names, ", "))
	}
	return append(all[:i+1], baseSet()), nil
}

// has tells whether the set chooses the module at a path below kernel/.
func (s moduleSet) has(file string) bool {
	matches := func(pattern string) bool {
		if strings.HasSuffix(pattern, "/") {
			return strings.HasPrefix(file, pattern)
		}
		ok, err := path.Match(pattern, file)
		return ok && err == nil
	}
	return slices.ContainsFunc(s.with, matches) && !slices.ContainsFunc(s.without, matches)
}

// inSets returns the modules that any of the sets chooses.
func inSets(modules []*Module, sets []moduleSet) []*Module {
	var chosen []*Module
	for _, m := range modules {
		file := strings.TrimSuffix(strings.TrimPrefix(m.Path, "kernel/"), ".ko")
		if slices.ContainsFunc(sets, func(s moduleSet) bool { return s.has(file) }) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// baseSet is what no machine can do without, and what no modalias asks for:
// disks as such, file systems and their names, that on which programs of bundles
// run, keyboards, and the firmware's variables.
func baseSet() moduleSet {
	return moduleSet{with: []string{
		"drivers/scsi/sd_mod", "drivers/block/loop",
		"fs/ext4/", "fs/xfs/", "fs/btrfs/", "fs/fat/", "fs/exfat/", "fs/ntfs3/", "fs/efivarfs/", "fs/overlayfs/",
		"fs/nls/nls_cp437", "fs/nls/nls_cp850", "fs/nls/nls_ascii", "fs/nls/nls_iso8859-1", "fs/nls/nls_utf8",
		"drivers/hid/hid", "drivers/hid/hid-generic", "drivers/hid/usbhid/usbhid",
		"drivers/firmware/efi/",
		"net/8021q/",
	}, without: []string{
		"drivers/firmware/efi/*test*", "drivers/firmware/efi/*/*test*",
	}}
}

// virtSet has the devices of QEMU, VMware, VirtualBox, Hyper-V, Xen and the
// large clouds.
func virtSet() moduleSet {
	return moduleSet{with: []string{
		"drivers/virtio/virtio_mmio", "drivers/net/virtio_net", "drivers/block/virtio_blk",
		"drivers/scsi/virtio_scsi", "drivers/char/hw_random/virtio-rng", "drivers/char/virtio_console",
		"drivers/net/vmxnet3/", "drivers/scsi/vmw_pvscsi", "drivers/message/fusion/mptsas", "drivers/message/fusion/mptspi",
		"drivers/hv/hv_vmbus", "drivers/hv/hv_utils", "drivers/net/hyperv/", "drivers/scsi/hv_storvsc",
		"drivers/hid/hid-hyperv", "drivers/input/serio/hyperv-keyboard", "drivers/pci/controller/pci-hyperv",
		"drivers/net/xen-netfront", "drivers/block/xen-blkfront",
		"drivers/net/ethernet/amazon/", "drivers/net/ethernet/google/", "drivers/net/ethernet/intel/ixgbevf/", "drivers/net/ethernet/intel/igbvf/",
		"drivers/net/ethernet/intel/e1000/", "drivers/net/ethernet/intel/e1000e/", "drivers/net/ethernet/intel/igb/",
		"drivers/net/ethernet/realtek/8139*", "drivers/net/ethernet/amd/pcnet32",
		"drivers/ata/ahci", "drivers/ata/ata_piix", "drivers/ata/ata_generic",
		"drivers/nvme/host/nvme",
		"drivers/usb/host/?hci-pci", "drivers/usb/host/uhci-hcd", "drivers/usb/storage/usb-storage", "drivers/usb/storage/uas",
		"drivers/mmc/host/sdhci-pci", "drivers/mmc/core/mmc_block",
	}}
}

// deskSet has wired network cards, USB adapters and storage of desktops and
// laptops. The names of boards' folders matter on arm64 alone.
func deskSet() moduleSet {
	return moduleSet{with: []string{
		"drivers/net/ethernet/", "drivers/net/usb/", "drivers/net/phy/", "drivers/net/mdio/", "drivers/net/pcs/", "drivers/net/mii",
		"drivers/net/thunderbolt/", "drivers/thunderbolt/",
		"drivers/ata/", "drivers/usb/host/", "drivers/usb/storage/", "drivers/usb/roles/", "drivers/usb/dwc?/", "drivers/usb/phy/",
		"drivers/mmc/", "drivers/misc/cardreader/", "drivers/ufs/",
		"drivers/pci/controller/", "drivers/pinctrl/",
		"drivers/scsi/mpt3sas/", "drivers/scsi/megaraid/megaraid_sas",
		"drivers/clk/", "drivers/phy/", "drivers/reset/", "drivers/regulator/", "drivers/pmdomain/", "drivers/mailbox/", "drivers/interconnect/",
		"drivers/hid/hid-logitech-dj", "drivers/hid/hid-logitech-hidpp", "drivers/hid/hid-apple", "drivers/hid/hid-microsoft", "drivers/hid/hid-lenovo",
		"drivers/hid/hid-cherry", "drivers/hid/hid-chicony",
	}, without: append(serverNICs(),
		"*/*_cs", "*/*/*_cs", "*/*/*/*_cs", "*/*/*/*/*_cs", // PCMCIA
		"drivers/ata/pata_pcmcia",
		"drivers/net/usb/hso", "drivers/net/usb/qmi_wwan", "drivers/net/usb/sierra_net", "drivers/net/usb/huawei*", "drivers/net/usb/cdc-phonet", // mobile telephony
		"drivers/net/usb/cdc_mbim", "drivers/net/usb/kalmia", "drivers/net/usb/lg-vl600",
	)}
}

// serverNICs are the network cards that no desktop has; together they are
// larger than all others.
func serverNICs() []string {
	var folders []string
	for _, maker := range []string{
		"amazon", "brocade", "cavium", "chelsio", "cisco", "emulex", "fungible", "google", "hisilicon", "huawei", "mellanox", "meta",
		"microsoft", "myricom", "neterion", "netronome", "pensando", "qlogic", "sfc", "sun", "wangxun",
		"amd/xgbe", "broadcom/bnx2x", "broadcom/bnxt",
		"intel/fm10k", "intel/i40e", "intel/iavf", "intel/ice", "intel/idpf",
	} {
		folders = append(folders, "drivers/net/ethernet/"+maker+"/")
	}
	return append(folders, "drivers/net/ethernet/broadcom/cnic", "drivers/net/ethernet/freescale/dpaa*/", "drivers/net/ethernet/marvell/octeon*/", "drivers/net/ethernet/marvell/prestera/")
}

// wideSet adds what servers have, and what is rare.
func wideSet() moduleSet {
	return moduleSet{with: []string{
		"drivers/net/ethernet/", "drivers/net/usb/", "drivers/net/bonding/", "drivers/net/fjes/", "drivers/net/hyperv/",
		"drivers/scsi/", "drivers/message/fusion/", "drivers/nvme/host/", "drivers/nvdimm/", "drivers/acpi/nfit/",
		"drivers/block/mtip32xx/", "drivers/block/nbd", "drivers/md/", "drivers/firewire/", "drivers/memstick/",
		"drivers/hid/", "drivers/hv/", "drivers/virtio/", "drivers/i2c/busses/", "drivers/usb/typec/",
		"fs/nls/", "fs/f2fs/", "fs/jfs/", "fs/nilfs2/", "fs/isofs/", "fs/udf/", "fs/squashfs/", "fs/hfsplus/",
	}, without: []string{
		"drivers/scsi/scsi_debug", "drivers/scsi/pcmcia/", "*/*_cs", "*/*/*_cs", "*/*/*/*_cs", "*/*/*/*/*_cs",
		"drivers/hid/*test*", "drivers/hid/amd-sfh-hid/", "drivers/hid/intel-ish-hid/",
	}}
}
