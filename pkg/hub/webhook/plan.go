package webhook

import (
	"bytes"
	"slices"
	"time"
)

// settle is how long an authority has to be in the configuration before anything is served that it has signed: kcp
// reads the configuration from a cache. It matters only where another certificate serves meanwhile.
const settle = time.Minute

// longest is after how long certificates are looked at again when nothing is due: timers do not count the time that a
// machine sleeps.
const longest = time.Hour

// situation is all that is known when it is decided what to do about certificates.
type situation struct {
	now time.Time
	// kept is what the Secret holds.
	kept kept
	// trusted is what the configuration trusts, in PEM, and trustedSince since when it has been seen to.
	trusted      []byte
	trustedSince time.Time
	// host is where kcp reaches the webhook.
	host string
}

// plan is what is to be done: at most one of kept and trusted is set. Each is looked at anew after it is done.
type plan struct {
	// kept is what the Secret should hold, nil when it does.
	kept *kept
	// trusted is what the configuration should trust, nil when it does.
	trusted []byte
	// again is after how long to look again.
	again time.Duration
}

// next decides. The order is what leaves no gap: an authority is kept, then trusted, and only then signs.
func (s situation) next() (plan, error) {
	authorities, changed, err := s.authorities()
	if err != nil {
		return plan{}, err
	}
	current := kept{authorities: authorities, serving: s.kept.serving}
	if changed {
		return plan{kept: &current}, nil
	}
	if bundle := current.bundle(); !bytes.Equal(bundle, s.trusted) {
		return plan{trusted: bundle}, nil
	}
	if !s.needsServing() {
		return plan{again: s.untilDue()}, nil
	}
	serving, err := newServing(s.now, s.host, s.signer())
	if err != nil {
		return plan{}, err
	}
	current.serving = &serving
	return plan{kept: &current}, nil
}

// authorities returns those that are valid, with a new one when the newest is due, and whether that changes anything.
func (s situation) authorities() (valid []pair, changed bool, err error) {
	valid = slices.DeleteFunc(slices.Clone(s.kept.authorities), func(p pair) bool { return !s.now.Before(p.certificate.NotAfter) })
	changed = len(valid) != len(s.kept.authorities)
	if len(valid) > 0 && !valid[len(valid)-1].isDue(s.now) {
		return valid, changed, nil
	}
	authority, err := newAuthority(s.now)
	return append(valid, authority), true, err
}

// signer returns the authority that signs: the newest, unless it is trusted for too short a time and there is an older
// one. All are trusted by now.
func (s situation) signer() pair {
	all := s.kept.authorities
	if len(all) > 1 && s.now.Sub(s.trustedSince) < settle {
		return all[len(all)-2]
	}
	return all[len(all)-1]
}

// needsServing reports whether another certificate has to be served.
func (s situation) needsServing() bool {
	serving := s.kept.serving
	if serving == nil || serving.isDue(s.now) || serving.certificate.VerifyHostname(s.host) != nil {
		return true
	}
	return !slices.ContainsFunc(s.kept.authorities, func(authority pair) bool { return authority.signed(*serving) })
}

// untilDue returns after how long something is due, or is looked at anyway.
func (s situation) untilDue() time.Duration {
	next := s.kept.serving.due()
	if due := s.kept.authorities[len(s.kept.authorities)-1].due(); due.Before(next) {
		next = due
	}
	return max(min(next.Sub(s.now), longest), time.Second)
}
