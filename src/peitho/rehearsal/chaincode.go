// What a rehearsal installs: it registers at the peer's address, and answers what is asked.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	unreachable = 9
	crashed     = 7
)

func main() {
	address := flag.String("peer.address", "", "where the peer listens")
	flag.Parse()
	peer, err := net.DialTimeout("tcp", *address, 10*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the peer cannot be reached:", err)
		os.Exit(unreachable)
	}
	_, err = os.Stat("/etc/hyperledger/fabric/client.key")
	fmt.Fprintf(peer, "register %s files=%t\n", os.Getenv("CORE_CHAINCODE_ID_NAME"), err == nil)
	fmt.Println("registered at", *address)
	calls := bufio.NewScanner(peer)
	for calls.Scan() {
		if calls.Text() == "crash" {
			fmt.Fprintln(os.Stderr, "told to crash")
			os.Exit(crashed)
		}
		fmt.Fprintln(peer, strings.Replace(calls.Text(), "call", "answer", 1))
	}
	os.Exit(1)
}
