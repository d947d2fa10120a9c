package version

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	rpmversion "github.com/knqyf263/go-rpm-version"
)

// An rpm is a version of rpm, [epoch:]version[-release]: rpm-version(7).
type rpm struct {
	epoch    uint64
	version  string
	release  string
	released bool // there is a release, which is never empty
}

func splitRPM(s string) (rpm, error) {
	var v rpm
	if epoch, rest, found := strings.Cut(s, ":"); found {
		n, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return v, errors.New("the epoch is no number from 0 to 4294967295")
		}
		v.epoch, s = n, rest
	}
	v.version, v.release, v.released = strings.Cut(s, "-")
	if v.version == "" {
		return v, errors.New("has no version")
	}
	if v.released && v.release == "" {
		return v, errors.New("nothing after the hyphen")
	}
	if !only(v.version, "._+~^") || !only(v.release, "._+~^") {
		return v, errors.New("has a character that none may have")
	}
	return v, nil
}

func checkRPM(text string) error {
	_, err := splitRPM(text)
	return err
}

// compareRPM is rpm's rpmverCmp: epoch, version, release; one without a release
// is older than the same with any. The library compares versions and releases
// one by one, because it takes a missing release for an empty one and epochs
// beyond int64 for none.
func compareRPM(a, b string) int {
	v, _ := splitRPM(a) // both were checked
	w, _ := splitRPM(b)
	if c := cmp.Or(cmp.Compare(v.epoch, w.epoch), rpmvercmp(v.version, w.version)); c != 0 {
		return c
	}
	switch {
	case v.released && w.released:
		return rpmvercmp(v.release, w.release)
	case v.released:
		return 1
	case w.released:
		return -1
	}
	return 0
}

// rpmvercmp compares two texts without colon and hyphen.
func rpmvercmp(a, b string) int {
	return rpmversion.NewVersion(a).Compare(rpmversion.NewVersion(b))
}
