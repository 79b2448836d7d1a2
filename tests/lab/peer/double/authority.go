package double

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
)

// clientLife is how long a peer lets a chaincode register with the certificate of its launch.
const clientLife = 10 * time.Minute

// keyPair is a certificate and its key in PEM.
type keyPair struct {
	Certificate []byte
	Key         []byte
}

// authority is the CA that a peer makes at its start for its chaincode.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte

	mutex    sync.Mutex
	launched map[[sha256.Size]byte]string // package ID by hash of its client certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateTemplate()
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &authority{
		certificate: certificate,
		key:         key,
		pem:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		launched:    map[[sha256.Size]byte]string{},
	}, nil
}

func certificateTemplate() *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{SerialNumber: serial.String()},
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(10 * 365 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func (a *authority) issue(hosts []string) (keyPair, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, nil, err
	}
	template := certificateTemplate()
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return keyPair{}, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, nil, err
	}
	return keyPair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		// Fabric's peers put a PKCS#8 key under this header; so the double does.
		Key: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}),
	}, raw, nil
}

// server is the TLS configuration of the chaincode listener: mutual, this CA's certificates only.
func (a *authority) server(hosts []string) (*tls.Config, error) {
	pair, _, err := a.issue(hosts)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		MinVersion:   tls.VersionTLS12,
	}, nil
}

// client is a fresh certificate with which one package may register, for ten minutes.
func (a *authority) client(packageID string) (keyPair, error) {
	pair, raw, err := a.issue(nil)
	if err != nil {
		return keyPair{}, err
	}
	hash := sha256.Sum256(raw)
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.launched[hash] = packageID
	time.AfterFunc(clientLife, func() {
		a.mutex.Lock()
		defer a.mutex.Unlock()
		delete(a.launched, hash)
	})
	return pair, nil
}

// owner is the package that a client certificate was made for; empty if it is unknown or too old.
func (a *authority) owner(raw []byte) string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.launched[sha256.Sum256(raw)]
}
