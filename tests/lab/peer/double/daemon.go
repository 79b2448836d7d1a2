package double

import (
	"encoding/json"
	"io"
	"time"
)

// Container is what a peer asks for when it creates one.
type Container struct {
	Name    string // empty for build containers
	Image   string
	Command []string
	Env     []string
	Attach  bool
	Host    json.RawMessage // HostConfig in Docker's JSON; nil for none
}

// Output is the attached output of a container.
type Output interface {
	// All is the output to its end, or, for the older library, what has come so far.
	All() string
}

// Daemon is a Docker endpoint as one client library speaks to it.
type Daemon interface {
	Ping() error
	InspectImage(name string) error
	// IsNoSuchImage tells whether the library, or the peer around it, reads an error as this one.
	IsNoSuchImage(err error) bool
	Pull(name string) error
	Build(tag string, networkMode string, body io.Reader) error
	Create(container Container) (string, error)
	Upload(id string, path string, body io.Reader) error
	Attach(id string) (Output, error)
	// Follow gives the output line by line until it ends; it blocks.
	Follow(id string, line func(string)) error
	Start(id string) error
	Wait(id string) (int, error)
	Download(id string, path string, to io.Writer) error
	Stop(id string) error
	Kill(id string) error
	Remove(id string, force bool) error
}

// Connect makes a client of one library.
type Connect func(settings Settings) (Daemon, error)

// watched reports every call to a daemon as a step.
type watched struct {
	daemon Daemon
	report func(Event)
}

func (w watched) step(name string, call func() error) error {
	began := time.Now()
	err := call()
	event := Event{Name: "step", Step: name, Seconds: time.Since(began).Seconds(), Status: "ok"}
	if err != nil {
		event.Status = err.Error()
	}
	w.report(event)
	return err
}

func (w watched) Ping() error { return w.step("ping", w.daemon.Ping) }

func (w watched) InspectImage(name string) error {
	return w.step("inspect image", func() error { return w.daemon.InspectImage(name) })
}

func (w watched) IsNoSuchImage(err error) bool { return w.daemon.IsNoSuchImage(err) }

func (w watched) Pull(name string) error {
	return w.step("pull", func() error { return w.daemon.Pull(name) })
}

func (w watched) Build(tag string, networkMode string, body io.Reader) error {
	return w.step("build", func() error { return w.daemon.Build(tag, networkMode, body) })
}

func (w watched) Create(container Container) (id string, err error) {
	err = w.step("create", func() error {
		id, err = w.daemon.Create(container)
		return err
	})
	return id, err
}

func (w watched) Upload(id string, path string, body io.Reader) error {
	return w.step("upload", func() error { return w.daemon.Upload(id, path, body) })
}

func (w watched) Attach(id string) (output Output, err error) {
	err = w.step("attach", func() error {
		output, err = w.daemon.Attach(id)
		return err
	})
	return output, err
}

func (w watched) Follow(id string, line func(string)) error {
	return w.step("follow", func() error { return w.daemon.Follow(id, line) })
}

func (w watched) Start(id string) error {
	return w.step("start", func() error { return w.daemon.Start(id) })
}

func (w watched) Wait(id string) (code int, err error) {
	err = w.step("wait", func() error {
		code, err = w.daemon.Wait(id)
		return err
	})
	return code, err
}

func (w watched) Download(id string, path string, to io.Writer) error {
	return w.step("download", func() error { return w.daemon.Download(id, path, to) })
}

func (w watched) Stop(id string) error {
	return w.step("stop", func() error { return w.daemon.Stop(id) })
}

func (w watched) Kill(id string) error {
	return w.step("kill", func() error { return w.daemon.Kill(id) })
}

func (w watched) Remove(id string, force bool) error {
	return w.step("remove", func() error { return w.daemon.Remove(id, force) })
}
