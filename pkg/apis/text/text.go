// Package text shortens texts that others have written before they are quoted.
package text

import "strings"

// mark ends what was shortened.
const mark = "…"

// Shorten returns a text of at most the given number of bytes as it is. Of a longer one it returns the beginning, no
// character cut in two, and a mark.
func Shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + mark
}
