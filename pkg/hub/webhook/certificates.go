package webhook

import (
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
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	// authorityLife is how long an authority is valid, servingLife a certificate that is served. Both are followed by
	// another at two thirds of it, so that the third that is left of an authority's outlasts what it has signed.
	authorityLife = 365 * 24 * time.Hour
	servingLife   = 30 * 24 * time.Hour
	// skew is how far clocks may be apart.
	skew = 5 * time.Minute
)

// The keys of the Secret. Those of the serving certificate are called as in Secrets of type kubernetes.io/tls.
const (
	// authoritiesKey has the certificates of the authorities, authorityKeysKey their private keys, the oldest first.
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

// due is when two thirds of the pair's life are over.
func (p pair) due() time.Time {
	life := p.certificate.NotAfter.Sub(p.certificate.NotBefore)
	return p.certificate.NotBefore.Add(life / 3 * 2)
}

// signed reports whether another certificate is signed by this one.
func (p pair) signed(other pair) bool {
	return other.certificate.CheckSignatureFrom(p.certificate) == nil
}

func (p pair) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: p.certificate.Raw})
}

// kept is what the Secret holds.
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

// decode reads the data of the Secret; without any, nothing is kept. It fails when the data is not as encode makes it.
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

// tlsCertificate returns what is served.
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

// newServing makes a certificate for a host, a name or an IP address, signed by an authority.
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

// newPair signs a template, with its own key unless there is an authority.
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
