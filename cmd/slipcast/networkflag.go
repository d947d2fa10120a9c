package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// A bitRate is the value of a flag for bits per second: 0 until it is given.
type bitRate int64

// rateUnits are the units of a rate, the longest names first.
func rateUnits() []unit {
	return []unit{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
}

// A unit is a name behind a number, and what it stands for.
type unit struct {
	name string
	is   float64
}

// Set implements pflag.Value.
func (r *bitRate) Set(text string) error {
	n, ok := parseUnits(text, rateUnits())
	if !ok || n < 1000 {
		return errors.New("want bits per second, like 98mbit or 2.5gbit")
	}
	*r = bitRate(n)
	return nil
}

// String implements pflag.Value.
func (r *bitRate) String() string {
	if *r == 0 {
		return ""
	}
	return bits(int64(*r))
}

// Type implements pflag.Value.
func (r *bitRate) Type() string { return "rate" }

// bits formats a rate in bits per second for people: "98.0 Mbit/s".
func bits(rate int64) string {
	switch v := float64(rate); {
	case v >= 1e9:
		return fmt.Sprintf("%.2f Gbit/s", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.1f Mbit/s", v/1e6)
	default:
		return fmt.Sprintf("%.1f kbit/s", v/1e3)
	}
}

// leastMemory is what a receiver needs for two of the longest frames, in bytes.
const leastMemory = 64 << 20

// A byteSize is the value of a flag for an amount of memory: 0 until it is
// given.
type byteSize int64

// Set implements pflag.Value.
func (s *byteSize) Set(text string) error {
	n, ok := parseUnits(text, []unit{{"gib", 1 << 30}, {"mib", 1 << 20}})
	if !ok || n < leastMemory {
		return errors.New("want 64MiB or more, like 512MiB or 2GiB")
	}
	*s = byteSize(n)
	return nil
}

// String implements pflag.Value.
func (s *byteSize) String() string {
	if *s == 0 {
		return ""
	}
	return fmt.Sprintf("%dMiB", *s>>20)
}

// Type implements pflag.Value.
func (s *byteSize) Type() string { return "size" }

// parseUnits reads a decimal number with one of the units behind it.
func parseUnits(text string, units []unit) (int64, bool) {
	lower := strings.ToLower(text)
	for _, u := range units {
		number, ok := strings.CutSuffix(lower, u.name)
		if !ok {
			continue
		}
		if strings.Trim(number, "0123456789.") != "" {
			return 0, false // strconv knows hexadecimal, signs and infinity, too
		}
		n, err := strconv.ParseFloat(number, 64)
		if n *= u.is; err != nil || n >= math.MaxInt64 {
			return 0, false
		}
		return int64(n), true
	}
	return 0, false
}

// A fingerprint is the value of a flag for the SHA-256 of a certificate: nil
// until it is given.
type fingerprint []byte

// Set implements pflag.Value.
func (f *fingerprint) Set(text string) error {
	p, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(p) != 32 {
		return errors.New("want the 64 hexadecimal digits that send has printed")
	}
	*f = p
	return nil
}

// String implements pflag.Value.
func (f *fingerprint) String() string { return hex.EncodeToString(*f) }

// Type implements pflag.Value.
func (f *fingerprint) Type() string { return "hex" }

// shortestKey is how long the key of a session must be, in bytes.
const shortestKey = 16

// sessionKey returns the key of a session: the flag, else SLIPCAST_KEY, else
// none.
func sessionKey(flag string) (string, error) {
	key := flag
	if key == "" {
		key = os.Getenv("SLIPCAST_KEY")
	}
	if key != "" && len(key) < shortestKey {
		return "", usagef("--key, SLIPCAST_KEY: a key has %d characters or more, so that nobody guesses it", shortestKey)
	}
	return key, nil
}

// longestSession is how long the name of a session may be, in bytes.
const longestSession = 63

// checkSessionName refuses names that the protocol does not take, or that
// cannot be typed in.
func checkSessionName(command, flag, name string) error {
	if len(name) > longestSession || plain(name, longestSession) != name {
		return usagef("%s: --%s: a session's name has at most %d characters, all of them visible", command, flag, longestSession)
	}
	return nil
}
