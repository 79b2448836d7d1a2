package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// version is what tests change to have another package.
const version = "1"

// state is the world state as one transaction sees it.
type state struct {
	service *service
	request message
}

func (s state) ask(kind uint64, payload []byte) ([]byte, error) {
	question := message{
		kind: kind, payload: payload, txID: s.request.txID, channel: s.request.channel,
	}
	return s.service.ask(question)
}

// function is one that an invoke can name.
type function struct {
	arguments int
	run       func(state, []string) ([]byte, error)
}

var functions = map[string]function{
	"put":     {2, put},
	"get":     {1, get},
	"env":     {1, env},
	"args":    {0, args},
	"file":    {1, file},
	"exit":    {1, exit},
	"kill":    {0, kill},
	"spam":    {1, spam},
	"print":   {1, printLine},
	"sleep":   {1, sleep},
	"version": {0, func(state, []string) ([]byte, error) { return []byte(version), nil }},
}

func put(s state, words []string) ([]byte, error) {
	return s.ask(putState, appendBytes(appendBytes(nil, 1, []byte(words[0])), 2, []byte(words[1])))
}

func get(s state, words []string) ([]byte, error) {
	return s.ask(getState, appendBytes(nil, 1, []byte(words[0])))
}

func env(_ state, words []string) ([]byte, error) {
	value, found := os.LookupEnv(words[0])
	if !found {
		return nil, fmt.Errorf("%s is not set", words[0])
	}
	return []byte(value), nil
}

func args(state, []string) ([]byte, error) { return []byte(strings.Join(os.Args, "\n")), nil }

func file(_ state, words []string) ([]byte, error) { return os.ReadFile(words[0]) }

// exit ends the process with a code.
func exit(_ state, words []string) ([]byte, error) {
	code, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, err
	}
	os.Exit(code)
	return nil, nil
}

// kill has Go's runtime end the process with code 2 and a dump: PID 1 cannot send itself SIGKILL.
func kill(state, []string) ([]byte, error) {
	if err := syscall.Kill(os.Getpid(), syscall.SIGABRT); err != nil {
		return nil, err
	}
	select {}
}

// spam prints a number of bytes, in lines of 100.
func spam(_ state, words []string) ([]byte, error) {
	size, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, err
	}
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	for left := size; left > 0; left -= len(line) {
		if _, err := os.Stdout.Write(line[:min(left, len(line))]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func printLine(_ state, words []string) ([]byte, error) {
	fmt.Println(strings.Join(words, " "))
	return nil, nil
}

func sleep(_ state, words []string) ([]byte, error) {
	seconds, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	return nil, nil
}
