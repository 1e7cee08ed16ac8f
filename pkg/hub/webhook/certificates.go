package webhook

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	// authorityLife is how long an authority is valid, servingLife a certificate that is served. Each is replaced when
	// two thirds of its life are over. The last third of an authority's is longer than the life of what it has signed.
	authorityLife = 365 * 24 * time.Hour
	servingLife   = 30 * 24 * time.Hour
	// skew is how much the clock of kcp may be behind the hub's: a certificate is valid from so long before it is made.
	skew = time.Hour
)

// The keys of the Secret. Those of the serving certificate are as in Secrets of type kubernetes.io/tls.
const (
	// authoritiesKey is for the certificates of the authorities, authorityKeysKey for their private keys, the oldest
	// first.
	authoritiesKey   = "ca.crt"
	authorityKeysKey = "ca.key"
)

var errKeyMissing = errors.New("expected as many keys as certificates")

// pair is a certificate and its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// isDue reports whether two thirds of the pair's life are over.
func (p pair) isDue(now time.Time) bool { return !now.Before(p.due()) }

// due returns when two thirds of the pair's life are over.
func (p pair) due() time.Time {
	life := p.certificate.NotAfter.Sub(p.certificate.NotBefore)
	return p.certificate.NotBefore.Add(life / 3 * 2)
}

// signed reports whether the pair has signed another one.
func (p pair) signed(other pair) bool {
	return other.certificate.CheckSignatureFrom(p.certificate) == nil
}

func (p pair) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: p.certificate.Raw})
}

// kept is what the Secret contains.
type kept struct {
	// authorities are those that have not expired, the oldest first.
	authorities []pair
	// serving is nil when there is none.
	serving *pair
}

// bundle returns the certificates of the authorities, in PEM.
func (k kept) bundle() []byte {
	var all []byte
	for _, authority := range k.authorities {
		all = append(all, authority.pem()...)
	}
	return all
}

// encode returns the data of the Secret.
func (k kept) encode() (map[string][]byte, error) {
	var keys []byte
	for _, authority := range k.authorities {
		key, err := keyutil.MarshalPrivateKeyToPEM(authority.key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key...)
	}
	data := map[string][]byte{authoritiesKey: k.bundle(), authorityKeysKey: keys}
	if k.serving == nil {
		return data, nil
	}
	key, err := keyutil.MarshalPrivateKeyToPEM(k.serving.key)
	if err != nil {
		return nil, err
	}
	data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = k.serving.pem(), key
	return data, nil
}

// decode reads the data of the Secret, which may be empty. It fails when the data is not as encode makes it.
func decode(data map[string][]byte) (kept, error) {
	authorities, err := decodePairs(data[authoritiesKey], data[authorityKeysKey])
	if err != nil {
		return kept{}, fmt.Errorf("keys %s and %s: %w", authoritiesKey, authorityKeysKey, err)
	}
	serving, err := decodePairs(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return kept{}, fmt.Errorf("keys %s and %s: %w", corev1.TLSCertKey, corev1.TLSPrivateKeyKey, err)
	}
	result := kept{authorities: authorities}
	if len(serving) > 0 {
		result.serving = &serving[0]
	}
	return result, nil
}

// decodePairs reads certificates and their keys, both in PEM and in the same order.
func decodePairs(certificates, keys []byte) ([]pair, error) {
	if len(certificates) == 0 {
		return nil, nil
	}
	parsed, err := cert.ParseCertsPEM(certificates)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for _, certificate := range parsed {
		var block *pem.Block
		if block, keys = pem.Decode(keys); block == nil {
			return nil, errKeyMissing
		}
		key, err := keyutil.ParsePrivateKeyPEM(pem.EncodeToMemory(block))
		if err != nil {
			return nil, err
		}
		signer, ok := key.(*ecdsa.PrivateKey)
		if !ok || !signer.PublicKey.Equal(certificate.PublicKey) {
			return nil, fmt.Errorf("the key of %s is not its own", certificate.Subject)
		}
		pairs = append(pairs, pair{certificate, signer})
	}
	return pairs, nil
}

// tlsCertificate returns the pair for a TLS server.
func (p pair) tlsCertificate() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.certificate.Raw}, PrivateKey: p.key, Leaf: p.certificate}
}

// newAuthority makes an authority.
func newAuthority(now time.Time) (pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "tmc-repair " + now.UTC().Format(time.RFC3339)},
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return newPair(template, now, nil)
}

// newServing makes a certificate for a host, which is a name or an IP address, signed by an authority.
func newServing(now time.Time, host string, authority pair) (pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "tmc-controller"},
		NotAfter:    now.Add(servingLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	if end := authority.certificate.NotAfter; end.Before(template.NotAfter) {
		template.NotAfter = end
	}
	return newPair(template, now, &authority)
}

// newPair makes a key, and a certificate of the template for it, signed by the authority or, if that is nil, by itself.
func newPair(template *x509.Certificate, now time.Time, authority *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template.NotBefore = now.Add(-skew)
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return pair{}, err
	}
	parent, signer := template, crypto.Signer(key)
	if authority != nil {
		parent, signer = authority.certificate, authority.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, err
	}
	certificate, err := x509.ParseCertificate(raw)
	return pair{certificate, key}, err
}

const (
	// trustDelay is how long an authority has to be in the configuration before a certificate of it is served, unless
	// there is no other: kcp reads the configuration from a cache.
	trustDelay = time.Minute
	// checkInterval bounds the time between two checks: timers do not count the time that a machine sleeps.
	checkInterval = time.Hour
)

// situation is what a plan depends on.
type situation struct {
	now time.Time
	// kept is what the Secret holds.
	kept kept
	// trusted is what the configuration trusts, in PEM, and trustedSince when that was first seen.
	trusted      []byte
	trustedSince time.Time
	// host is the host at which kcp reaches the webhook.
	host string
}

// plan is the next thing to do: at most one of kept and trusted is set.
type plan struct {
	// kept is what the Secret should contain, nil when it does.
	kept *kept
	// trusted is what the configuration should trust, nil when it does.
	trusted []byte
	// again is when to check again, if there is nothing to do.
	again time.Duration
}

// next decides. An authority is kept first, then trusted, and only then signs: so that kcp trusts each certificate that
// is served.
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

// authorities returns the valid authorities, with a new one when the newest is due, and whether they differ from the
// kept ones.
func (s situation) authorities() (valid []pair, changed bool, err error) {
	valid = slices.DeleteFunc(slices.Clone(s.kept.authorities), func(p pair) bool { return !s.now.Before(p.certificate.NotAfter) })
	changed = len(valid) != len(s.kept.authorities)
	if len(valid) > 0 && !valid[len(valid)-1].isDue(s.now) {
		return valid, changed, nil
	}
	authority, err := newAuthority(s.now)
	return append(valid, authority), true, err
}

// signer returns the authority that signs: the newest, or the one before while the newest has not been trusted for
// long. All of them are trusted at this point.
func (s situation) signer() pair {
	all := s.kept.authorities
	if len(all) > 1 && s.now.Sub(s.trustedSince) < trustDelay {
		return all[len(all)-2]
	}
	return all[len(all)-1]
}

// needsServing reports whether another certificate has to be made.
func (s situation) needsServing() bool {
	serving := s.kept.serving
	if serving == nil || serving.isDue(s.now) || serving.certificate.VerifyHostname(s.host) != nil {
		return true
	}
	return !slices.ContainsFunc(s.kept.authorities, func(authority pair) bool { return authority.signed(*serving) })
}

// untilDue returns the time to the next check.
func (s situation) untilDue() time.Duration {
	next := s.kept.serving.due()
	if due := s.kept.authorities[len(s.kept.authorities)-1].due(); due.Before(next) {
		next = due
	}
	return max(min(next.Sub(s.now), checkInterval), time.Second)
}
