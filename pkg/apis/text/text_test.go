package text

import "testing"

func TestShorten(t *testing.T) {
	cases := map[string]struct {
		text string
		most int
		want string
	}{
		"a short text stays as it is":       {"abc", 3, "abc"},
		"a long text ends with a mark":      {"abcd", 3, "abc…"},
		"no character is cut in two":        {"aéb", 2, "a…"},
		"a whole character at the end":      {"aéb", 3, "aé…"},
		"bytes that are no text go as well": {"a\xffbc", 3, "ab…"},
		"nothing":                           {"", 0, ""},
		"nothing of something":              {"a", 0, "…"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Shorten(tc.text, tc.most); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
