package double

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// build is the making of one package's image.
type build struct {
	peer    *Peer
	source  Package
	request int
	daemon  Daemon
}

// run makes the image: the build call is open while the compile runs.
func (b build) run() error {
	tag := b.peer.release.names(b.peer.settings, b.source.ID).Image
	return b.daemon.Build(tag, b.peer.settings.NetworkMode, b.context())
}

// context is the body of the build call: the Dockerfile at once, the result when there is one.
func (b build) context() io.Reader {
	reader, writer := io.Pipe()
	go func() {
		zipped := gzip.NewWriter(writer)
		archive := tar.NewWriter(zipped)
		err := b.writeContext(archive)
		// A peer closes both also after a failure, and cuts the body off only then.
		_ = archive.Close()
		_ = zipped.Close()
		_ = writer.CloseWithError(err)
	}()
	return reader
}

func (b build) writeContext(archive *tar.Writer) error {
	builder, runtimeImage := b.peer.images(b.source.Language)
	dockerfile := b.peer.release.dockerfile(b.source, runtimeImage)
	if err := writeBytes(archive, "Dockerfile", []byte(dockerfile)); err != nil {
		return err
	}
	if b.peer.release.Moby && b.source.Language == Golang {
		if err := probe(b.daemon, builder); err != nil {
			return fmt.Errorf("get params docker image failed: %w", err)
		}
	}
	result, err := b.compile(builder)
	if err != nil && b.peer.release.Legacy {
		return fmt.Errorf("Failed to generate platform-specific docker build: %w", err)
	}
	if err != nil {
		return fmt.Errorf("docker build failed: %w", err)
	}
	return writeBytes(archive, "binpackage.tar", result)
}

// images are the builder and the runtime image: the release's, or what the settings say instead.
func (p *Peer) images(language Language) (string, string) {
	builder, runtimeImage := p.release.images(language)
	if p.settings.BuilderImage != "" {
		builder = p.settings.BuilderImage
	}
	if p.settings.RuntimeImage != "" {
		runtimeImage = p.settings.RuntimeImage
	}
	return builder, runtimeImage
}

// compile runs the build script in a build container; the result is the tar of its output.
func (b build) compile(builder string) ([]byte, error) {
	daemon := b.daemon
	container := Container{
		Image:   builder,
		Command: []string{"/bin/sh", "-c", b.peer.release.script(b.source.Language, b.source.Path)},
		Attach:  true,
	}
	var source io.Reader = unsized{bytes.NewReader(b.source.Code)}
	if b.peer.release.Legacy {
		fresh, err := b.peer.daemon(b.request)
		if err != nil {
			return nil, fmt.Errorf("Error creating docker client: %w", err)
		}
		daemon = fresh
		container.Host = b.peer.release.host(b.peer.settings.NetworkMode)
		source = bytes.NewReader(b.source.Code)
	} else if b.source.Language == Golang {
		container.Env = b.peer.settings.BuildEnv
	}
	if err := ensureImage(daemon, builder); err != nil {
		return nil, err
	}
	id, err := daemon.Create(container)
	if err != nil {
		return nil, fmt.Errorf("Error creating container: %w", err)
	}
	defer func() { _ = daemon.Remove(id, false) }()

	if err := daemon.Upload(id, "/chaincode/input", source); err != nil {
		return nil, fmt.Errorf("Error uploading input to container: %w", err)
	}
	if _, err := runToEnd(daemon, id); err != nil {
		return nil, err
	}
	var result bytes.Buffer
	if err := daemon.Download(id, "/chaincode/output/.", &result); err != nil {
		return nil, fmt.Errorf("Error downloading output: %w", err)
	}
	return result.Bytes(), nil
}

// runToEnd attaches to a build container, starts it and waits; its output, or an error with it.
func runToEnd(daemon Daemon, id string) (string, error) {
	output, err := daemon.Attach(id)
	if err != nil {
		return "", fmt.Errorf("Error attaching to container: %w", err)
	}
	if err := daemon.Start(id); err != nil {
		return "", fmt.Errorf("Error executing build: %w \"%s\"", err, output.All())
	}
	code, err := daemon.Wait(id)
	if err != nil {
		return "", fmt.Errorf("Error waiting for container to complete: %w", err)
	}
	text := output.All()
	if code > 0 {
		return "", fmt.Errorf("Error returned from build: %d \"%s\"", code, text)
	}
	return text, nil
}

// probe asks the builder image for its Go version, as peers do from 2.5.15 and 3.1.4 on.
func probe(daemon Daemon, builder string) error {
	if err := ensureImage(daemon, builder); err != nil {
		return err
	}
	command := []string{"go", "version"}
	id, err := daemon.Create(Container{Image: builder, Command: command, Attach: true})
	if err != nil {
		return fmt.Errorf("Error creating container: %w", err)
	}
	defer func() { _ = daemon.Remove(id, false) }()

	text, err := runToEnd(daemon, id)
	if err != nil {
		return err
	}
	if !goVersion.MatchString(text) {
		return fmt.Errorf("invalid string format: %s", text)
	}
	return nil
}

// ensureImage pulls an image that the daemon does not have; it does not look again.
func ensureImage(daemon Daemon, name string) error {
	if daemon.InspectImage(name) == nil {
		return nil
	}
	if err := daemon.Pull(name); err != nil {
		return fmt.Errorf("Failed to pull %s: %w", name, err)
	}
	return nil
}
