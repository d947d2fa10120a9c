package progress

import (
	"fmt"
	"time"
)

// Bytes formats a number of bytes in binary units: "512 B", "3.2 GiB",
// "410 MiB".
func Bytes(n int64) string {
	v := float64(n)
	if v > -1024 && v < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	unit := 0
	for v /= 1024; v >= 1023.5 || v <= -1023.5; v /= 1024 {
		unit++
	}
	if v >= 99.95 || v <= -99.95 {
		return fmt.Sprintf("%.0f %ciB", v, "KMGTPE"[unit])
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// Duration formats a length of time with the two units that matter: "0.4s",
// "12s", "1m58s", "2h03m".
func Duration(d time.Duration) string {
	if d < 10*time.Second && d%time.Second != 0 {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	s := int64(d.Round(time.Second) / time.Second)
	if s < 60 {
		return fmt.Sprintf("%ds", s)
	}
	if s < 60*60 {
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	m := int64(d.Round(time.Minute) / time.Minute)
	return fmt.Sprintf("%dh%02dm", m/60, m%60)
}
