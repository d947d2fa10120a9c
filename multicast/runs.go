package multicast

// Runs of numbers, section 5: how many there are, then the gap before each,
// and its length.

// appendRuns appends the runs of s to dst.
func appendRuns(dst []byte, s *frameSet) []byte {
	count := 0
	for i := s.next(0); i >= 0; i = s.next(s.gap(i)) {
		count++
	}
	dst = appendUvarint(dst, count)
	end := 0
	for i := s.next(0); i >= 0; i = s.next(end) {
		dst = appendUvarint(dst, i-end)
		end = s.gap(i)
		dst = appendUvarint(dst, end-i)
	}
	return dst
}

// runs takes runs of numbers below n and calls use for each, with its first
// number and the one after its last.
func (d *decoder) runs(n int, use func(start, end int)) {
	count := d.uvarint(len(d.b) / 2)
	end := 0
	for i := range count {
		gap := d.uvarint(n - end)
		if i > 0 && gap == 0 {
			d.fail("two runs that are one")
		}
		start := end + gap
		length := d.uvarint(n - start)
		if length == 0 {
			d.fail("an empty run")
		}
		if d.err != nil {
			return
		}
		end = start + length
		use(start, end)
	}
}

// parseRuns puts the numbers of the runs p into s, which has none. Any error
// wraps errMalformed.
func parseRuns(p []byte, s *frameSet) error {
	d := decoder{b: p}
	d.runs(s.n, s.addRange)
	return d.done()
}

// appendListRuns appends the runs of the ascending numbers of list to dst.
func appendListRuns(dst []byte, list []uint32) []byte {
	count := 0
	for rest := list; len(rest) > 0; rest = rest[runLength(rest):] {
		count++
	}
	dst = appendUvarint(dst, count)
	end := uint32(0)
	for len(list) > 0 {
		n := runLength(list)
		dst = appendUvarint(dst, list[0]-end)
		dst = appendUvarint(dst, n)
		end = list[n-1] + 1
		list = list[n:]
	}
	return dst
}

// runLength returns how many numbers the first run of list has.
func runLength(list []uint32) int {
	n := 1
	for n < len(list) && list[n] == list[0]+uint32(n) {
		n++
	}
	return n
}

// listRuns takes runs of numbers of frames that blocks knows, and appends
// these to list.
func (d *decoder) listRuns(list []uint32, blocks func(frame uint32) int) []uint32 {
	d.runs(maxFrames, func(start, end int) {
		for i := start; i < end && d.err == nil; i++ {
			if blocks(uint32(i)) == 0 {
				d.fail("a frame that the session has not")
			}
			list = append(list, uint32(i))
		}
	})
	return list
}
