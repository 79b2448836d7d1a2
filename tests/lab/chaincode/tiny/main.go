// Tinycc is a chaincode of the standard library only, for quick builds: it never registers.
//
// It prints what it was given, then waits for a signal. The constants are what tests change.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	exitCode     = 0
	exitAfter    = 0 * time.Second // 0: only on a signal
	signalStatus = 143
)

func main() {
	fmt.Printf("tinycc starting, args %q\n", os.Args)
	for _, variable := range os.Environ() {
		fmt.Println("env", variable)
	}
	files, _ := filepath.Glob("/etc/hyperledger/fabric/*")
	for _, name := range files {
		content, err := os.ReadFile(name)
		fmt.Println("file", name, len(content), err)
	}
	fmt.Fprintln(os.Stderr, "tinycc ready")
	wait()
}

func wait() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	var over <-chan time.Time
	if exitAfter > 0 || exitCode > 0 {
		over = time.After(exitAfter)
	}
	select {
	case received := <-signals:
		fmt.Println("tinycc got", received)
		os.Exit(signalStatus)
	case <-over:
		os.Exit(exitCode)
	}
}
