package wire

import "testing"

// The digests of docs/bundles.md, section 7.4.
func TestPlanDigest(t *testing.T) {
	tests := []struct {
		apply []string
		want  string
	}{
		{nil, ""},
		{[]string{"*"}, "6d25a851b1aa0a590cb1b40918400be43403b31d26452f56553f97569baa5e5b"},
		{[]string{"reader", "fonts@2-1"}, "a36716e27086db89d60e231db6e96b797eb7773efadbf98865fed6509621e647"},
		{[]string{"fonts@2-1", "reader"}, "2e4c900ceece341dc618ace0f5e7ac3599e074aecbf2acbea7e8d12b2bb5599f"},
	}
	for _, tt := range tests {
		if got := (&Job{Apply: tt.apply}).PlanDigest(); got != tt.want {
			t.Errorf("PlanDigest of %q = %q, want %q", tt.apply, got, tt.want)
		}
	}
}
