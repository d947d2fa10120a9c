package partition

import "strings"

// TypeName returns the name of a partition type as it stands in
// [Partition.Type], in either case: "EFI system" for the GUID of an EFI
// system partition, "Linux" for "0x83". It is empty for a type that is not
// well known.
func TypeName(kind string) string {
	if strings.HasPrefix(strings.ToLower(kind), "0x") {
		return mbrTypeName(strings.ToLower(kind))
	}
	return gptTypeName(strings.ToUpper(kind))
}

// gptTypeName knows the types of the UEFI specification 2.10 (table 5.7), of
// Microsoft (PARTITION_INFORMATION_GPT in winioctl.h), of Apple (TN2166) and
// of the Discoverable Partitions Specification (uapi-group.org).
func gptTypeName(guid string) string {
	switch guid {
	case "C12A7328-F81F-11D2-BA4B-00A0C93EC93B":
		return "EFI system"
	case "21686148-6449-6E6F-744E-656564454649":
		return "BIOS boot"
	case "E3C9E316-0B5C-4DB8-817D-F92DF00215AE":
		return "Microsoft reserved"
	case "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7":
		return "Microsoft basic data"
	case "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC":
		return "Windows recovery"
	case "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3":
		return "Microsoft LDM metadata"
	case "AF9B60A0-1431-4F62-BC68-3311714A69AD":
		return "Microsoft LDM data"
	case "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D":
		return "Microsoft Storage Spaces"
	case "48465300-0000-11AA-AA11-00306543ECAC":
		return "Apple HFS+"
	case "7C3457EF-0000-11AA-AA11-00306543ECAC":
		return "Apple APFS"
	}
	return linuxTypeName(guid)
}

func linuxTypeName(guid string) string {
	switch guid {
	case "0FC63DAF-8483-4772-8E79-3D69D8477DE4":
		return "Linux"
	case "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F":
		return "Linux swap"
	case "E6D6D379-F507-44C2-A23C-238F2A3DF928":
		return "Linux LVM"
	case "A19D880F-05FC-4D3B-A006-743F0F84911E":
		return "Linux RAID"
	case "CA7D7CCB-63ED-4C53-861C-1742536059CC":
		return "Linux LUKS"
	case "44479540-F297-41B2-9AF7-D131D5F0458A":
		return "Linux root (x86)"
	case "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709":
		return "Linux root (x86-64)"
	case "B921B045-1DF0-41C3-AF44-4C6F280D3FAE":
		return "Linux root (ARM64)"
	case "933AC7E1-2EB4-4F13-B844-0E14E2AEF915":
		return "Linux home"
	case "3B8F8425-20E0-4F3B-907F-1A25A76F98E8":
		return "Linux server data"
	case "4D21B016-B534-45C2-A9FB-5C16E091FD2D":
		return "Linux variable data"
	case "BC13C2FF-59E6-4262-A352-B275FD6F7172":
		return "Linux extended boot"
	}
	return ""
}

// mbrTypeName knows the types that are still met (A. E. Brouwer, "List of
// partition identifiers for PCs").
func mbrTypeName(kind string) string {
	switch kind {
	case "0x01":
		return "FAT12"
	case "0x04", "0x06", "0x0e":
		return "FAT16"
	case "0x05", "0x0f", "0x85":
		return "extended"
	case "0x07":
		return "NTFS or exFAT"
	case "0x0b", "0x0c":
		return "FAT32"
	case "0x11", "0x14", "0x16", "0x17", "0x1b", "0x1c", "0x1e":
		return "hidden Windows"
	case "0x27":
		return "Windows recovery"
	case "0x82":
		return "Linux swap"
	case "0x83":
		return "Linux"
	case "0x8e":
		return "Linux LVM"
	case "0xa5":
		return "FreeBSD"
	case "0xaf":
		return "Apple HFS+"
	case "0xef":
		return "EFI system"
	case "0xfd":
		return "Linux RAID"
	}
	return ""
}
