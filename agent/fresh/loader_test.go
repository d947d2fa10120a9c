package fresh

import (
	"slices"
	"testing"

	"slipcast/internal/lab"
)

func TestLoaders(t *testing.T) {
	tests := []struct {
		name, arch string
		files      map[string]string
		want       []string
	}{
		{"none", "x64", map[string]string{"readme": "x"}, nil},
		{"removable", "x64", map[string]string{"EFI/BOOT/BOOTX64.EFI": "x"}, []string{`\EFI\BOOT\BOOTX64.EFI`}},
		{"removable in other case", "x64", map[string]string{"efi/boot/bootx64.efi": "x"}, []string{`\efi\boot\bootx64.efi`}},
		{"of another kind of machine", "arm64", map[string]string{"EFI/BOOT/BOOTX64.EFI": "x"}, nil},
		{"arm64", "arm64", map[string]string{"EFI/debian/shimaa64.efi": "x", "EFI/BOOT/BOOTAA64.EFI": "x"}, []string{`\EFI\debian\shimaa64.efi`}},
		{"shim before GRUB", "x64", map[string]string{"EFI/debian/grubx64.efi": "x", "EFI/debian/shimx64.efi": "x"}, []string{`\EFI\debian\shimx64.efi`}},
		{"GRUB before removable", "x64", map[string]string{"EFI/arch/grubx64.efi": "x", "EFI/BOOT/BOOTX64.EFI": "x"}, []string{`\EFI\arch\grubx64.efi`}},
		{"Windows", "x64", map[string]string{"EFI/Microsoft/Boot/bootmgfw.efi": "x", "EFI/BOOT/BOOTX64.EFI": "x"}, []string{`\EFI\Microsoft\Boot\bootmgfw.efi`}},
		{
			"both", "x64",
			map[string]string{"EFI/Microsoft/Boot/bootmgfw.efi": "x", "EFI/ubuntu/shimx64.efi": "x", "EFI/debian/shimx64.efi": "x"},
			[]string{`\EFI\debian\shimx64.efi`, `\EFI\ubuntu\shimx64.efi`, `\EFI\Microsoft\Boot\bootmgfw.efi`},
		},
		{"empty file", "x64", map[string]string{"EFI/debian/shimx64.efi": "", "EFI/BOOT/BOOTX64.EFI": "x"}, []string{`\EFI\BOOT\BOOTX64.EFI`}},
		{"folder for a file", "x64", map[string]string{"EFI/BOOT/BOOTX64.EFI/x": "x"}, nil},
		{"systemd", "x64", map[string]string{"EFI/systemd/systemd-bootx64.efi": "x"}, []string{`\EFI\systemd\systemd-bootx64.efi`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			lab.Plant(t, dir, tt.files)
			got, err := loaders(openDir(t, dir), tt.arch)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("loaders = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
