package partition

// Erase returns writes of zeros after which no partition table is found on a
// disk of size bytes, whatever its sector size: over sector 0 and the primary
// GPT header, then over the backup header at the end. A restore begins with
// more than that; the tests here show that this much is enough.
func Erase(size int64) []Write {
	const head, tail = 2 * maxSector, maxSector
	if size <= head+tail {
		return []Write{{Offset: 0, Data: make([]byte, max(size, 0))}}
	}
	return []Write{
		{Offset: 0, Data: make([]byte, head)},
		{Offset: size - tail, Data: make([]byte, tail)},
	}
}
