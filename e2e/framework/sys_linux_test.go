package framework

import (
	"strings"
	"testing"
)

func TestParseStatSkipsCommand(t *testing.T) {
	line := "42 (a) b (c) T 1" + strings.Repeat(" 7", 17) + " 12345 9\n"
	got, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if want := (processStat{state: 'T', start: 12345}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "42 sleep S", "42 (sleep) S 1 2", "42 (a) S 1" + strings.Repeat(" x", 20)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
