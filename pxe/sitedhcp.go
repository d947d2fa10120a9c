package pxe

import "strings"

// A SiteConfig is what a DHCP server must be told where slipcast answers no
// DHCP itself (mode off).
type SiteConfig struct {
	Server string // dnsmasq, ISC dhcpd, Kea, Windows
	File   string // where the lines go
	Lines  string // each with its end of line
}

// SiteConfigs returns what each kind of DHCP server must be told to send.
// Where a server can, UEFI machines that boot by HTTP are answered too.
func (s *Server) SiteConfigs() []SiteConfig {
	fill := strings.NewReplacer("ADDRESS", s.addr().String(), "URL", s.url(), "LOADER", s.loader(Decision{}, false))
	return []SiteConfig{
		{"dnsmasq", "/etc/dnsmasq.d/slipcast.conf", fill.Replace(dnsmasqLines)},
		{"ISC dhcpd", "/etc/dhcp/dhcpd.conf, in the subnet", fill.Replace(iscLines)},
		{"Kea", "/etc/kea/kea-dhcp4.conf, in Dhcp4", fill.Replace(keaLines)},
		{"Windows", "PowerShell on the DHCP server", fill.Replace(windowsLines)},
	}
}

const dnsmasqLines = `dhcp-userclass=set:ipxe,iPXE
dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:x64,option:client-arch,7
dhcp-match=set:x64,option:client-arch,9
dhcp-match=set:arm64,option:client-arch,11
dhcp-match=set:httpx64,option:client-arch,16
dhcp-match=set:httparm64,option:client-arch,19
dhcp-boot=tag:ipxe,URL/autoexec.ipxe
dhcp-boot=tag:!ipxe,tag:bios,bios/undionly.kpxe,ADDRESS,ADDRESS
dhcp-boot=tag:!ipxe,tag:x64,x64/LOADER,ADDRESS,ADDRESS
dhcp-boot=tag:!ipxe,tag:arm64,arm64/LOADER,ADDRESS,ADDRESS
dhcp-boot=tag:!ipxe,tag:httpx64,URL/x64/LOADER
dhcp-boot=tag:!ipxe,tag:httparm64,URL/arm64/LOADER
dhcp-option-force=tag:!ipxe,tag:httpx64,60,HTTPClient
dhcp-option-force=tag:!ipxe,tag:httparm64,60,HTTPClient
`

const iscLines = `option arch code 93 = unsigned integer 16;
next-server ADDRESS;
if exists user-class and option user-class = "iPXE" {
	filename "URL/autoexec.ipxe";
} elsif option arch = 00:00 {
	filename "bios/undionly.kpxe";
} elsif option arch = 00:07 or option arch = 00:09 {
	filename "x64/LOADER";
} elsif option arch = 00:0b {
	filename "arm64/LOADER";
} elsif option arch = 00:10 {
	option vendor-class-identifier "HTTPClient";
	filename "URL/x64/LOADER";
} elsif option arch = 00:13 {
	option vendor-class-identifier "HTTPClient";
	filename "URL/arm64/LOADER";
}
`

const keaLines = `"client-classes": [
	{ "name": "ipxe", "test": "option[77].text == 'iPXE'",
	  "boot-file-name": "URL/autoexec.ipxe" },
	{ "name": "bios", "test": "not member('ipxe') and option[93].hex == 0x0000",
	  "next-server": "ADDRESS", "boot-file-name": "bios/undionly.kpxe" },
	{ "name": "x64", "test": "not member('ipxe') and (option[93].hex == 0x0007 or option[93].hex == 0x0009)",
	  "next-server": "ADDRESS", "boot-file-name": "x64/LOADER" },
	{ "name": "arm64", "test": "not member('ipxe') and option[93].hex == 0x000b",
	  "next-server": "ADDRESS", "boot-file-name": "arm64/LOADER" },
	{ "name": "httpx64", "test": "not member('ipxe') and option[93].hex == 0x0010",
	  "option-data": [ { "name": "vendor-class-identifier", "data": "HTTPClient", "always-send": true } ],
	  "boot-file-name": "URL/x64/LOADER" },
	{ "name": "httparm64", "test": "not member('ipxe') and option[93].hex == 0x0013",
	  "option-data": [ { "name": "vendor-class-identifier", "data": "HTTPClient", "always-send": true } ],
	  "boot-file-name": "URL/arm64/LOADER" }
]
`

const windowsLines = `Add-DhcpServerv4Class -Name "slipcast iPXE" -Type User -Data "iPXE"
Add-DhcpServerv4Class -Name "slipcast BIOS" -Type Vendor -Data "PXEClient:Arch:00000"
Add-DhcpServerv4Class -Name "slipcast x64" -Type Vendor -Data "PXEClient:Arch:00007"
Add-DhcpServerv4Class -Name "slipcast arm64" -Type Vendor -Data "PXEClient:Arch:00011"
Add-DhcpServerv4Policy -Name "slipcast iPXE" -Condition OR -UserClass EQ,"slipcast iPXE" -ProcessingOrder 1
Add-DhcpServerv4Policy -Name "slipcast BIOS" -Condition OR -VendorClass EQ,"slipcast BIOS*" -ProcessingOrder 2
Add-DhcpServerv4Policy -Name "slipcast x64" -Condition OR -VendorClass EQ,"slipcast x64*" -ProcessingOrder 3
Add-DhcpServerv4Policy -Name "slipcast arm64" -Condition OR -VendorClass EQ,"slipcast arm64*" -ProcessingOrder 4
Set-DhcpServerv4OptionValue -PolicyName "slipcast iPXE" -OptionId 67 -Value "URL/autoexec.ipxe"
Set-DhcpServerv4OptionValue -PolicyName "slipcast BIOS" -OptionId 66 -Value "ADDRESS"
Set-DhcpServerv4OptionValue -PolicyName "slipcast BIOS" -OptionId 67 -Value "bios/undionly.kpxe"
Set-DhcpServerv4OptionValue -PolicyName "slipcast x64" -OptionId 66 -Value "ADDRESS"
Set-DhcpServerv4OptionValue -PolicyName "slipcast x64" -OptionId 67 -Value "x64/LOADER"
Set-DhcpServerv4OptionValue -PolicyName "slipcast arm64" -OptionId 66 -Value "ADDRESS"
Set-DhcpServerv4OptionValue -PolicyName "slipcast arm64" -OptionId 67 -Value "arm64/LOADER"
`
