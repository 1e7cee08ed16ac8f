package view

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape returns a text as a terminal may show it: what would move its cursor, change its colours or turn its words around
// is written out (\x1b, \u202e). Clusters and tenants write much of what is shown. Line breaks and tabs stay.
func Escape(text string) string { return escape(text, "\n\t") }

// Line is Escape for a text that is to stay in its line.
func Line(text string) string { return escape(text, "") }

func escape(text, keep string) string {
	isUnsafe := func(r rune) bool { return isUnsafeRune(r) && !strings.ContainsRune(keep, r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, isUnsafe) < 0 {
		return text
	}
	var safe strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		first := text[0]
		text = text[size:]
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&safe, `\x%02x`, first)
		case !isUnsafe(r):
			safe.WriteRune(r)
		case r == '\n', r == '\t', r == '\r':
			safe.WriteString(strings.Trim(fmt.Sprintf("%q", r), "'"))
		case r < 0x100:
			fmt.Fprintf(&safe, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&safe, `\U%08x`, r)
		default:
			fmt.Fprintf(&safe, `\u%04x`, r)
		}
	}
	return safe.String()
}

// isUnsafeRune reports whether a rune is a control character, is there to be obeyed and not to be seen (as the directions of
// text are), or separates lines.
func isUnsafeRune(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
