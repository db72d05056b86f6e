// The reference in Go: net/http reads a heartbeat's body and answers with as many bytes as an upstream does.
// It keeps no state and parses nothing.
//
// go-reference -port 4320 [-certificate listener.pem -key listener.key] [-agents ca.pem]
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

// What an upstream answers to a heartbeat with nothing new: 22 bytes.
var answer = []byte("0123456789012345678901")

// As much as an upstream takes in one message, in bytes.
const limit = 4 << 20

func round(response http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		http.Error(response, "a round is a POST", http.StatusMethodNotAllowed)
		return
	}
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(response, request.Body, limit)); err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	response.Header().Set("Content-Type", "application/x-protobuf")
	response.Write(answer)
}

// settings returns TLS 1.3; a certificate of an agent is asked for, and verified where one is shown.
func settings(agents string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if agents == "" {
		return config, nil
	}
	pem, err := os.ReadFile(agents)
	if err != nil {
		return nil, err
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", agents)
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	return config, nil
}

func main() {
	port := flag.Int("port", 0, "where to listen on loopback")
	certificate := flag.String("certificate", "", "the listener's certificate; none for no TLS")
	key := flag.String("key", "", "its key")
	agents := flag.String("agents", "", "CA of the agents' certificates")
	flag.Parse()
	config, err := settings(*agents)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/v1/opamp", round)
	server := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", *port), TLSConfig: config}
	server.ErrorLog = log.New(io.Discard, "", 0) // who looks whether it listens makes no handshake
	if *certificate == "" {
		log.Fatal(server.ListenAndServe())
	}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}
