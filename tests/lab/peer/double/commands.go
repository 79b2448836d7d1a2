package double

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

const longestLine = 16 << 20

// Command is one line of input; which fields matter depends on Name.
type Command struct {
	ID        int      `json:"id"`
	Name      string   `json:"command"`
	Settings  Settings `json:"settings"`  // configure
	Folder    string   `json:"folder"`    // install
	Label     string   `json:"label"`     // install; for 1.4 NAME_VERSION
	Language  string   `json:"language"`  // install
	Package   string   `json:"package"`   // launch, upgrade, invoke, stop, names
	Old       string   `json:"old"`       // upgrade
	Arguments []string `json:"arguments"` // invoke
}

// Event is a line of output that nobody asked for; ID is the command that led to it, or 0.
type Event struct {
	ID        int     `json:"id"`
	Name      string  `json:"event"`
	Step      string  `json:"step,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"`
	Status    string  `json:"status,omitempty"`
	Package   string  `json:"package,omitempty"`
	Container string  `json:"container,omitempty"`
	Code      *int    `json:"code,omitempty"`
	Text      string  `json:"text,omitempty"`
}

// answer is the line that ends a command: a result or an error.
type answer struct {
	ID     int    `json:"id"`
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// printer writes JSON lines, one at a time.
type printer struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func (p *printer) print(line any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = p.encoder.Encode(line)
}

// conversation is what is said with whoever started the process.
type conversation struct {
	connect Connect
	out     *printer
	mutex   sync.Mutex
	peer    *Peer
}

// Main serves commands until the input ends or SIGTERM comes, then shuts the peer down.
func Main(connect Connect) {
	s := &conversation{connect: connect, out: &printer{encoder: json.NewEncoder(os.Stdout)}}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if err := s.serve(os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	select {
	case <-ended:
	case <-finished:
	}
	if peer := s.current(); peer != nil {
		peer.Shutdown()
	}
}

func (s *conversation) serve(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var command Command
		if err := json.Unmarshal(lines.Bytes(), &command); err != nil {
			return err
		}
		go func() {
			result, err := s.do(command)
			line := answer{ID: command.ID, Result: result}
			if err != nil {
				line.Error = err.Error()
			}
			s.out.print(line)
		}()
	}
	return lines.Err()
}

func (s *conversation) current() *Peer {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.peer
}

func (s *conversation) do(command Command) (any, error) {
	if command.Name == "configure" {
		return s.configure(command.Settings)
	}
	peer := s.current()
	if peer == nil {
		return nil, errors.New("configure first")
	}
	switch command.Name {
	case "install":
		language := Language(strings.ToUpper(command.Language))
		made, err := peer.Install(command.ID, command.Folder, command.Label, language)
		return map[string]string{"package": made.ID}, err
	case "launch":
		return nil, peer.Launch(command.ID, command.Package)
	case "upgrade":
		return nil, peer.Upgrade(command.ID, command.Old, command.Package)
	case "invoke":
		return peer.Invoke(command.ID, command.Package, command.Arguments)
	case "stop":
		peer.Stop(command.ID, command.Package)
		return nil, nil
	case "names":
		return peer.release.names(peer.settings, command.Package), nil
	case "ping":
		return nil, peer.Ping(command.ID)
	default:
		return nil, fmt.Errorf("there is no command %q", command.Name)
	}
}

func (s *conversation) configure(settings Settings) (any, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.peer != nil {
		return nil, errors.New("a process is one peer: it is configured once")
	}
	peer, err := Start(settings, s.connect, func(event Event) { s.out.print(event) })
	if err != nil {
		return nil, err
	}
	s.peer = peer
	return map[string]string{"chaincode_address": peer.settings.ChaincodeAddress}, nil
}
