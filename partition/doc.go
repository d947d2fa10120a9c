// Package partition reads the tables that divide a disk (GPT and MBR), and
// does the arithmetic of extents, the ranges of bytes that they speak of.
//
// [Read] finds the table of a disk. A [Table] knows its partitions and the
// bytes that it is made of; [Table.Place] makes the sectors that put it onto
// a disk of another size. [Extents] are ordered ranges with the operations of
// sets, and a [Builder] collects them in bounded memory.
//
// The package writes nothing itself and knows nothing of what is inside a
// partition: that is the business of package fsmap.
package partition
