package credential

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// token is a bearer token, and what can be read in it.
type token struct {
	value string
	// subject is the user that it says it is for.
	subject string
	// issued and expires are zero where it does not say, as a static token does not.
	issued, expires time.Time
}

// readToken reads the claims of a JSON Web Token (RFC 7519). Nothing is verified:
// whoever is to be convinced by it does that.
func readToken(value string) token {
	t := token{value: value}
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return t
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return t
	}
	var claims struct {
		Subject  string  `json:"sub"`
		IssuedAt float64 `json:"iat"`
		Expires  float64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return t
	}
	t.subject, t.issued, t.expires = claims.Subject, date(claims.IssuedAt), date(claims.Expires)
	return t
}

// date is the time of a NumericDate, zero for none.
func date(seconds float64) time.Time {
	if seconds <= 0 || seconds >= 1<<40 { // tens of thousands of years
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// outlasts reports whether it is another token that ends later, or never.
func (t token) outlasts(other token) bool {
	if t.value == other.value || other.expires.IsZero() {
		return false
	}
	return t.expires.IsZero() || t.expires.After(other.expires)
}

// life is how long it is valid in all, by the clock of who issued it; of one that does not
// say when that was, what is left of it. 0 is that of a token that does not end.
func (t token) life(now time.Time) time.Duration {
	switch {
	case t.expires.IsZero():
		return 0
	case t.issued.IsZero():
		return t.expires.Sub(now)
	default:
		return t.expires.Sub(t.issued)
	}
}
