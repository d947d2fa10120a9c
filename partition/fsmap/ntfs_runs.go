package fsmap

import "fmt"

const (
	ntfsHole    = -1      // the place of a run that has no clusters: it reads as zeros
	ntfsMaxRuns = 1 << 20 // of one file; more are not followed
	ntfsMaxVCN  = 1 << 41 // clusters of one file, so that its bytes fit into an int64
)

// An ntfsRun tells where consecutive clusters of a file are.
type ntfsRun struct {
	vcn    int64 // first cluster, counted in the file
	lcn    int64 // first cluster, counted on the volume; or ntfsHole
	length int64 // clusters
}

// decodeRuns appends to runs what the run list p says of the clusters of a
// file from vcn on, and returns the number of the first cluster behind them.
//
// Each run starts with a byte whose low half is how many bytes its length
// has and whose high half is how many bytes follow for its place. The place
// is a signed distance from the place of the run before; if it has no bytes,
// the run is a hole. A zero byte ends the list (ntfs-3g, layout.h, "mapping
// pairs array"). Every run must lie within the clusters of the volume.
func decodeRuns(runs []ntfsRun, p []byte, vcn, clusters int64) ([]ntfsRun, int64, error) {
	lcn := int64(0)
	for len(p) > 0 && p[0] != 0 {
		lengthBytes, placeBytes := int(p[0]&0x0F), int(p[0]>>4)
		if lengthBytes == 0 || lengthBytes > 8 || placeBytes > 8 || 1+lengthBytes+placeBytes > len(p) {
			return nil, 0, damaged("a run of %d and %d bytes", lengthBytes, placeBytes)
		}
		run := ntfsRun{vcn: vcn, lcn: ntfsHole, length: ntfsSigned(p[1 : 1+lengthBytes])}
		if run.length <= 0 || run.length > ntfsMaxVCN-vcn {
			return nil, 0, damaged("a run of %d clusters", run.length)
		}
		if placeBytes > 0 {
			lcn += ntfsSigned(p[1+lengthBytes : 1+lengthBytes+placeBytes]) // wraps at worst
			if lcn < 0 || lcn > clusters-run.length {
				return nil, 0, damaged("a run of %d clusters at cluster %d of %d", run.length, lcn, clusters)
			}
			run.lcn = lcn
		}
		if len(runs) >= ntfsMaxRuns {
			return nil, 0, fmt.Errorf("a file in more than %d pieces", ntfsMaxRuns)
		}
		runs = append(runs, run)
		vcn += run.length
		p = p[1+lengthBytes+placeBytes:]
	}
	return runs, vcn, nil
}

// ntfsSigned decodes a little-endian number of one to eight bytes in two's
// complement.
func ntfsSigned(p []byte) int64 {
	n := int64(int8(p[len(p)-1]))
	for i := len(p) - 2; i >= 0; i-- {
		n = n<<8 | int64(p[i])
	}
	return n
}
