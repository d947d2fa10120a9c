package bootenv

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// smallKernel is a kernel of made-up modules.
func smallKernel() *kernel {
	module := func(path string, fields ...string) *Module {
		m := &Module{Path: "kernel/" + path + ".ko", Vermagic: "6.1 x"}
		m.Name = moduleName(m.Path)
		for _, f := range fields {
			key, value, _ := strings.Cut(f, "=")
			m.set(key, value)
		}
		return m
	}
	return &kernel{version: "6.1", builtin: []byte("kernel/drivers/base/base.ko\n"), modules: []*Module{
		module("crypto/crc32c_generic", "alias=crc32c", "alias=crc32c-generic"),
		module("arch/x86/crypto/crc32c-intel", "alias=crc32c"),
		module("drivers/net/ethernet/intel/e1000/e1000", "alias=pci:v00008086d0000100E*", "depends=mii,base"),
		module("drivers/net/ethernet/intel/ice/ice", "alias=pci:v00008086d00001593sv*", "firmware=intel/ice/ice.pkg", "depends=dca"),
		module("drivers/net/ethernet/realtek/r8169", "alias=pci:v000010ECd00008168*", "softdep=pre: realtek", "depends=mii", "firmware=rtl_nic/a.fw"),
		module("drivers/net/mii"),
		module("drivers/net/phy/realtek"),
		module("drivers/net/wireless/iwlwifi", "alias=pci:v00008086d000024FD*"),
		module("drivers/dca/dca"),
		module("drivers/nvme/host/nvme", "depends=nvme-core", "alias=pci:v*d*sv*sd*bc01sc08i02*"),
		module("drivers/nvme/host/nvme-core"),
		module("fs/ext4/ext4", "depends=jbd2", "softdep=pre: crc32c", "alias=fs-ext4"),
		module("fs/jbd2/jbd2"),
		module("lib/lonely"),
	}}
}

// names returns the names of modules, sorted.
func names(modules []*Module) string {
	var list []string
	for _, m := range modules {
		list = append(list, m.Name)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestChoose(t *testing.T) {
	const base = "crc32c_generic crc32c_intel ext4 jbd2"
	tests := []struct {
		name string
		want choice
		got  string
	}{
		{"virt", choice{set: Virt}, "crc32c_generic crc32c_intel e1000 ext4 jbd2 mii nvme nvme_core"},
		{"desk", choice{set: Desk}, "crc32c_generic crc32c_intel e1000 ext4 jbd2 mii nvme nvme_core r8169 realtek"},
		{"wide", choice{set: Wide}, "crc32c_generic crc32c_intel dca e1000 ext4 ice jbd2 mii nvme nvme_core r8169 realtek"},
		{"one more", choice{set: Virt, add: []string{"lonely", "base"}}, "crc32c_generic crc32c_intel e1000 ext4 jbd2 lonely mii nvme nvme_core"},
		{"for a server", choice{set: Desk, modaliases: []string{"pci:v00008086d00001593sv00008086sd00000001bc02sc00i00"}}, "crc32c_generic crc32c_intel dca ext4 ice jbd2 realtek"},
		{"for a disk", choice{set: Virt, modaliases: []string{"pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02"}}, base + " nvme nvme_core realtek"},
		{"wireless is of no use", choice{set: Desk, modaliases: []string{"pci:v00008086d000024FDsv1"}}, base + " realtek"},
		{"none", choice{set: Desk, modaliases: []string{}}, base + " realtek"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			modules, err := smallKernel().choose(tt.want)
			if got := names(modules); err != nil || got != tt.got {
				t.Errorf("choose(%+v) = %s, %v, want %s", tt.want, got, err, tt.got)
			}
		})
	}
}

func TestChooseRejects(t *testing.T) {
	if m, err := smallKernel().choose(choice{set: "all"}); err == nil {
		t.Errorf("choose of set all = %s, want an error", names(m))
	}
	if m, err := smallKernel().choose(choice{set: Virt, add: []string{"nosuch"}}); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("choose with nosuch = %s, %v, want an error that names it", names(m), err)
	}
	k := smallKernel()
	k.modules = slices.DeleteFunc(k.modules, func(m *Module) bool { return m.Name == "jbd2" })
	if m, err := k.choose(choice{set: Virt}); err == nil || !strings.Contains(err.Error(), "ext4 needs jbd2") {
		t.Errorf("choose without jbd2 = %s, %v, want an error that names it", names(m), err)
	}
	k = smallKernel()
	k.modules = append(k.modules, &Module{Path: "kernel/x/ext4.ko", Name: "ext4"})
	if _, err := k.choose(choice{set: Virt}); !errors.Is(err, ErrMalformed) {
		t.Errorf("choose with two of one name = %v, want ErrMalformed", err)
	}
}

func TestKernelMismatch(t *testing.T) {
	load := func() ([]byte, error) { return fakeModule("vermagic=6.2 SMP"), nil }
	k := &kernel{image: bzImage("6.1 x")}
	if err := k.take(context.Background(), []packedModule{{"kernel/a.ko", load}}); !errors.Is(err, ErrMismatch) {
		t.Errorf("kernel 6.1 with a module of 6.2 = %v, want ErrMismatch", err)
	}
	k = &kernel{image: bzImage("6.2 x")}
	if err := k.take(context.Background(), []packedModule{{"kernel/a.ko", load}}); err != nil || k.modules[0].Name != "a" {
		t.Errorf("kernel 6.2 with a module of 6.2 = %v", err)
	}
	if err := k.take(context.Background(), nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("kernel without modules = %v, want ErrMismatch", err)
	}
}

func TestDepmodText(t *testing.T) {
	k := smallKernel()
	k.modules = append(k.modules, &Module{Path: "kernel/z.ko", Name: "z", Depends: []string{"nvme", "ext4"}, Aliases: []string{"acpi-x:[a-f]-*"}})
	dep, err := depLines(k.modules)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\n",
		"kernel/z.ko: kernel/fs/ext4/ext4.ko kernel/fs/jbd2/jbd2.ko kernel/drivers/nvme/host/nvme.ko kernel/drivers/nvme/host/nvme-core.ko\n",
		"kernel/lib/lonely.ko:\n",
	} {
		if !strings.Contains(string(dep), want) {
			t.Errorf("modules.dep is\n%s\nwant a line %s", dep, want)
		}
	}
	if got, want := string(aliasLines(k.modules[len(k.modules)-1:])), "alias acpi-x:[a-f]-* z\n"; !strings.HasSuffix(got, want) {
		t.Errorf("modules.alias is %q, want %q", got, want)
	}
	if got, want := string(softdepLines(k.modules)), "softdep r8169 pre: realtek\n"; !strings.Contains(got, want) {
		t.Errorf("modules.softdep is %q, want %q", got, want)
	}
}

func TestDepmodCycle(t *testing.T) {
	_, err := depLines([]*Module{{Name: "a", Depends: []string{"b"}}, {Name: "b", Depends: []string{"a"}}})
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("modules that need each other = %v, want ErrMalformed", err)
	}
}
