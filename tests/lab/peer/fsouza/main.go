// Fsouza is a peer's double over go-dockerclient, the library of Fabric 1.4 to 2.5.14 and 3.1.3.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	docker "github.com/fsouza/go-dockerclient"

	"peitho/tests/lab/peer/double"
)

const attachLimit = 10 * time.Second

type daemon struct{ client *docker.Client }

func main() { double.Main(connect) }

func connect(settings double.Settings) (double.Daemon, error) {
	client, err := open(settings)
	if err != nil {
		return nil, err
	}
	return daemon{client}, nil
}

func open(settings double.Settings) (*docker.Client, error) {
	if settings.DaemonCert == "" {
		return docker.NewClient(settings.Endpoint)
	}
	return docker.NewTLSClient(
		settings.Endpoint, settings.DaemonCert, settings.DaemonKey, settings.DaemonCA,
	)
}

func (d daemon) Ping() error { return d.client.PingWithContext(context.Background()) }

func (d daemon) InspectImage(name string) error {
	_, err := d.client.InspectImage(name)
	return err
}

func (d daemon) IsNoSuchImage(err error) bool { return errors.Is(err, docker.ErrNoSuchImage) }

func (d daemon) Pull(name string) error {
	options := docker.PullImageOptions{Repository: name}
	return d.client.PullImage(options, docker.AuthConfiguration{})
}

func (d daemon) Build(tag string, networkMode string, body io.Reader) error {
	return d.client.BuildImage(docker.BuildImageOptions{
		Name:         tag,
		NetworkMode:  networkMode,
		InputStream:  body,
		OutputStream: io.Discard,
	})
}

func (d daemon) Create(container double.Container) (string, error) {
	options := docker.CreateContainerOptions{
		Name: container.Name,
		Config: &docker.Config{
			Cmd:          container.Command,
			Image:        container.Image,
			Env:          container.Env,
			AttachStdout: container.Attach,
			AttachStderr: container.Attach,
		},
	}
	if container.Host != nil {
		options.HostConfig = &docker.HostConfig{}
		if err := json.Unmarshal(container.Host, options.HostConfig); err != nil {
			return "", err
		}
	}
	created, err := d.client.CreateContainer(options)
	if err != nil {
		return "", err
	}
	return created.ID, nil
}

func (d daemon) Upload(id string, path string, body io.Reader) error {
	options := docker.UploadToContainerOptions{InputStream: body, Path: path}
	return d.client.UploadToContainer(id, options)
}

// attached is the output so far; it is whole only if it came before the answer to wait.
type attached struct {
	text   *bytes.Buffer
	waiter docker.CloseWaiter
}

func (a attached) All() string {
	_ = a.waiter.Close()
	_ = a.waiter.Wait()
	return a.text.String()
}

func attachOptions(id string, to io.Writer, success chan struct{}) docker.AttachToContainerOptions {
	return docker.AttachToContainerOptions{
		Container:    id,
		OutputStream: to,
		ErrorStream:  to,
		Logs:         true,
		Stdout:       true,
		Stderr:       true,
		Stream:       true,
		Success:      success,
	}
}

func (d daemon) Attach(id string) (double.Output, error) {
	text := &bytes.Buffer{}
	waiter, err := d.client.AttachToContainerNonBlocking(attachOptions(id, text, nil))
	if err != nil {
		return nil, err
	}
	return attached{text, waiter}, nil
}

func (d daemon) Follow(id string, line func(string)) error {
	success := make(chan struct{})
	reader, writer := io.Pipe()
	defer reader.Close()
	go func() {
		err := d.client.AttachToContainer(attachOptions(id, writer, success))
		_ = writer.CloseWithError(err)
	}()
	select {
	case <-success:
		close(success)
	case <-time.After(attachLimit):
		return errors.New("Timeout while attaching to IO channel in container " + id)
	}
	lines := bufio.NewReader(reader)
	for {
		text, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line(text)
	}
}

func (d daemon) Start(id string) error { return d.client.StartContainer(id, nil) }

func (d daemon) Wait(id string) (int, error) { return d.client.WaitContainer(id) }

func (d daemon) Download(id string, path string, to io.Writer) error {
	options := docker.DownloadFromContainerOptions{OutputStream: to, Path: path}
	return d.client.DownloadFromContainer(id, options)
}

func (d daemon) Stop(id string) error { return d.client.StopContainer(id, 0) }

func (d daemon) Kill(id string) error {
	return d.client.KillContainer(docker.KillContainerOptions{ID: id})
}

func (d daemon) Remove(id string, force bool) error {
	return d.client.RemoveContainer(docker.RemoveContainerOptions{ID: id, Force: force})
}
