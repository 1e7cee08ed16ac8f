package kcpversion

import (
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for gitVersion, want := range map[string]error{
		"v1.33.3+kcp-v0.28.1":                   ErrTooOld,
		"v1.34.2+kcp-v0.30.4":                   ErrTooOld,
		"v1.35.1+kcp-v0.31.0":                   nil,
		"v1.35.1+kcp-v0.32.0-rc.1":              nil,
		"v1.35.1+kcp-v0.32.3-12-gabcdef":        nil,
		"v1.36.0+kcp-v1.0.0":                    nil,
		"v1.36.0+kcp-v0.0.0-162-gdac74f5955f1d": nil,
		"v0.0.0-master+$Format:%H$":             nil,
		"v1.36.3":                               ErrNotKCP,
		"v1.35.1+kcp-":                          ErrNotKCP,
		"":                                      ErrNotKCP,
	} {
		err := Check(gitVersion)
		if !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", gitVersion, err, want)
		}
		if err != nil && (!strings.Contains(err.Error(), gitVersion) || !strings.Contains(err.Error(), "v0.31")) {
			t.Errorf("%q: %v does not say what was found and what is expected", gitVersion, err)
		}
	}
}
