package version

import (
	"cmp"
	"errors"
	"strings"
	"time"
)

// A date is a version that is named after a day, a month or a year.
type date struct {
	day  string // YYYYMMDD; what is missing is 0
	rest string // dotted; maybe empty
}

// splitDate reads YYYY, YYYY-MM, YYYY-MM-DD or the same without hyphens, and a
// dotted version after it. The day must be one of the calendar.
func splitDate(text string) (date, error) {
	day, rest, dotted := strings.Cut(text, ".")
	if dotted {
		if err := checkDotted(rest); err != nil {
			return date{}, errors.New("what follows the date is not numbers between dots")
		}
	}
	if err := checkDay(day); err != nil {
		return date{}, err
	}
	digits := strings.ReplaceAll(day, "-", "")
	return date{day: digits + "00000000"[len(digits):], rest: rest}, nil
}

// checkDay looks a day, a month or a year up in the calendar.
func checkDay(day string) error {
	for _, layout := range []string{"2006", "2006-01", "2006-01-02", "200601", "20060102"} {
		if len(layout) != len(day) {
			continue
		}
		if _, err := time.Parse(layout, day); err == nil {
			return nil
		}
	}
	return errors.New("is no date of the calendar")
}

func checkDate(text string) error {
	_, err := splitDate(text)
	return err
}

func compareDate(a, b string) int {
	v, _ := splitDate(a) // both were checked
	w, _ := splitDate(b)
	return cmp.Or(strings.Compare(v.day, w.day), compareDotted(v.rest, w.rest))
}
