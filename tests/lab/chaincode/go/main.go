// Labcc is a real Go chaincode: it speaks the chaincode protocol itself, over grpc-go.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const connectLimit = 20 * time.Second

func main() {
	address := flag.String("peer.address", "", "where the peer listens for chaincode")
	flag.Parse()
	fmt.Printf("labcc starting, args %q\n", os.Args)
	if err := run(*address); err != nil {
		fmt.Fprintln(os.Stderr, "labcc:", err)
		os.Exit(1)
	}
}

// run serves the peer until the stream ends, which is always an error.
func run(address string) error {
	secure, err := transport()
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, secure)
	if err != nil {
		return err
	}
	defer connection.Close()

	stream, err := open(connection)
	if err != nil {
		return err
	}
	served := newService(stream)
	if err := served.register(os.Getenv("CORE_CHAINCODE_ID_NAME")); err != nil {
		return err
	}
	return served.serve()
}

func open(connection *grpc.ClientConn) (grpc.ClientStream, error) {
	late := time.AfterFunc(connectLimit, func() {
		fmt.Fprintln(os.Stderr, "labcc: the peer cannot be reached")
		os.Exit(1)
	})
	defer late.Stop()
	description := &grpc.StreamDesc{StreamName: "Register", ServerStreams: true, ClientStreams: true}
	return connection.NewStream(
		context.Background(), description, "/protos.ChaincodeSupport/Register",
		grpc.ForceCodec(codec{}), grpc.WaitForReady(true),
	)
}

// transport is mutual TLS with the files that the peer sent, unless the peer has TLS off.
func transport() (grpc.DialOption, error) {
	if os.Getenv("CORE_PEER_TLS_ENABLED") != "true" {
		return grpc.WithTransportCredentials(insecure.NewCredentials()), nil
	}
	root, err := os.ReadFile(os.Getenv("CORE_PEER_TLS_ROOTCERT_FILE"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		return nil, errors.New("no certificate in CORE_PEER_TLS_ROOTCERT_FILE")
	}
	certificate, err := clientFile("CORE_TLS_CLIENT_CERT")
	if err != nil {
		return nil, err
	}
	key, err := clientFile("CORE_TLS_CLIENT_KEY")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
		MinVersion:   tls.VersionTLS12,
	})), nil
}

// clientFile is PEM: as it is where NAME_FILE says (2.x), or base64 where NAME_PATH says (1.4).
func clientFile(name string) ([]byte, error) {
	if path := os.Getenv(name + "_FILE"); path != "" {
		return os.ReadFile(path)
	}
	encoded, err := os.ReadFile(os.Getenv(name + "_PATH"))
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(string(encoded))
}
