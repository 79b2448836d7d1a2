// Moby is a peer's double over moby's client, the library of Fabric from 2.5.15 and 3.1.4 on.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"peitho/tests/lab/peer/double"
)

type daemon struct{ client *client.Client }

func main() { double.Main(connect) }

func connect(settings double.Settings) (double.Daemon, error) {
	options := []client.Opt{client.WithHost(settings.Endpoint)}
	if settings.DaemonCert != "" {
		options = append(options, client.WithTLSClientConfig(
			settings.DaemonCA, settings.DaemonCert, settings.DaemonKey,
		))
	}
	opened, err := client.New(options...)
	if err != nil {
		return nil, err
	}
	return daemon{opened}, nil
}

func (d daemon) Ping() error {
	_, err := d.client.Ping(context.Background(), client.PingOptions{})
	return err
}

func (d daemon) InspectImage(name string) error {
	_, err := d.client.ImageInspect(context.Background(), name)
	return err
}

func (d daemon) IsNoSuchImage(err error) bool {
	return strings.Contains(err.Error(), "No such image")
}

func (d daemon) Pull(name string) error {
	pulled, err := d.client.ImagePull(context.Background(), name, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return pulled.Wait(context.Background())
}

func (d daemon) Build(tag string, networkMode string, body io.Reader) error {
	options := client.ImageBuildOptions{Tags: []string{tag}, NetworkMode: networkMode}
	built, err := d.client.ImageBuild(context.Background(), body, options)
	if err != nil {
		return err
	}
	defer built.Body.Close()
	// Peers read this stream to its end and look at nothing in it.
	_, _ = io.Copy(io.Discard, built.Body)
	return nil
}

func (d daemon) Create(wanted double.Container) (string, error) {
	options := client.ContainerCreateOptions{
		Name: wanted.Name,
		Config: &container.Config{
			AttachStdout: wanted.Attach,
			AttachStderr: wanted.Attach,
			Env:          wanted.Env,
			Cmd:          wanted.Command,
			Image:        wanted.Image,
		},
	}
	if wanted.Host != nil {
		options.HostConfig = &container.HostConfig{}
		if err := json.Unmarshal(wanted.Host, options.HostConfig); err != nil {
			return "", err
		}
	}
	created, err := d.client.ContainerCreate(context.Background(), options)
	return created.ID, err
}

func (d daemon) Upload(id string, path string, body io.Reader) error {
	options := client.CopyToContainerOptions{
		DestinationPath:           path,
		Content:                   body,
		AllowOverwriteDirWithFile: true,
	}
	_, err := d.client.CopyToContainer(context.Background(), id, options)
	return err
}

func (d daemon) attach(id string) (client.ContainerAttachResult, error) {
	return d.client.ContainerAttach(context.Background(), id, client.ContainerAttachOptions{
		Stream: true, Stdout: true, Stderr: true, Logs: true,
	})
}

// attached is the raw stream: peers do not take the frames apart.
type attached struct{ client.ContainerAttachResult }

func (a attached) All() string {
	defer a.Close()
	text, _ := io.ReadAll(a.Reader)
	return string(text)
}

func (d daemon) Attach(id string) (double.Output, error) {
	stream, err := d.attach(id)
	if err != nil {
		return nil, err
	}
	return attached{stream}, nil
}

func (d daemon) Follow(id string, line func(string)) error {
	stream, err := d.attach(id)
	if err != nil {
		return errors.New("error attaching to IO channel in container " + id)
	}
	defer stream.Close()
	for {
		text, err := stream.Reader.ReadString('\n')
		if len(text) > 0 {
			line(text)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d daemon) Start(id string) error {
	_, err := d.client.ContainerStart(context.Background(), id, client.ContainerStartOptions{})
	return err
}

func (d daemon) Wait(id string) (int, error) {
	waiting := d.client.ContainerWait(context.Background(), id, client.ContainerWaitOptions{})
	select {
	case result := <-waiting.Result:
		return int(result.StatusCode), nil
	case err := <-waiting.Error:
		return 0, err
	}
}

func (d daemon) Download(id string, path string, to io.Writer) error {
	options := client.CopyFromContainerOptions{SourcePath: path}
	copied, err := d.client.CopyFromContainer(context.Background(), id, options)
	if err != nil {
		return err
	}
	defer copied.Content.Close()
	// Peers do not look at an error of this copy.
	_, _ = io.Copy(to, copied.Content)
	return nil
}

func (d daemon) Stop(id string) error {
	now := 0
	_, err := d.client.ContainerStop(
		context.Background(), id, client.ContainerStopOptions{Timeout: &now},
	)
	return err
}

func (d daemon) Kill(id string) error {
	_, err := d.client.ContainerKill(context.Background(), id, client.ContainerKillOptions{})
	return err
}

func (d daemon) Remove(id string, force bool) error {
	options := client.ContainerRemoveOptions{Force: force}
	_, err := d.client.ContainerRemove(context.Background(), id, options)
	return err
}
