// Package agent is slipcast on a machine that booted from us: process 1 of the
// boot environment, from the first mount to the reboot.
//
// [Boot] is that process and never returns. It makes the machine usable (file
// systems, entropy, modules), brings up the network, and talks to the server:
// hello, job, reports. The images themselves are written and
// read by this same program as a child process, so that whatever happens there
// cannot end process 1, at whose end the kernel stops.
//
// The conversation touches the machine through small interfaces alone; tests
// run it whole on others. What agent and server say is in package wire, the rules
// are those of docs/boot.md, sections 5 to 9.
//
// Nothing waits for ever. Whoever finds no server within ten minutes starts
// the machine's own disk.
package agent
