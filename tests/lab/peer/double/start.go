package double

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// run launches a package: it returns when the chaincode has registered, or with the reason why not.
func (p *Peer) run(request int, packageID string) error {
	begun, before := p.handlers.launching(packageID)
	if before {
		<-begun.done
		return registration(begun.err)
	}
	failed := make(chan error, 1)
	go p.runInBackground(request, packageID, begun, failed)

	var err error
	select {
	case <-begun.done:
		err = registration(begun.err)
	case err = <-failed:
		begun.end(err)
	case <-time.After(p.settings.startup()):
		err = fmt.Errorf(
			"timeout expired while starting chaincode %s for transaction", packageID,
		)
		begun.end(err)
	}
	if err != nil {
		p.handlers.forget(packageID)
		if p.release.Legacy {
			p.stopContainer(request, packageID)
		}
	}
	return err
}

func registration(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chaincode registration failed: %w", err)
}

func (p *Peer) runInBackground(request int, packageID string, begun *launch, failed chan error) {
	if !p.release.Legacy {
		if err := p.ensureBuilt(request, packageID); err != nil {
			failed <- fmt.Errorf("error building chaincode: error building image: %w", err)
			return
		}
	}
	if err := p.startContainer(request, packageID); err != nil {
		failed <- fmt.Errorf("error starting container: error starting container: %w", err)
		return
	}
	daemon, err := p.daemon(request)
	if err != nil {
		failed <- err
		return
	}
	code, err := daemon.Wait(p.release.names(p.settings, packageID).Container)
	if err != nil {
		p.report(Event{Name: "warning", Package: packageID, Text: "wait: " + err.Error()})
		begun.end(fmt.Errorf("failed to wait on container exit: %w", err))
		return
	}
	p.report(Event{Name: "exit", Package: packageID, Code: &code})
	begun.end(fmt.Errorf("container exited with %d", code))
}

// startContainer goes from stop to start; 1.4 builds the image on the way if there is none.
func (p *Peer) startContainer(request int, packageID string) error {
	installed, ok := p.installed(packageID)
	if !ok {
		return fmt.Errorf("chaincode install package '%s' not found", packageID)
	}
	daemon, err := p.daemon(request)
	if err != nil {
		return err
	}
	names := p.release.names(p.settings, packageID)
	stopContainer(daemon, names.Container)

	container := Container{
		Name:    names.Container,
		Image:   names.Image,
		Command: p.release.command(installed.Language, p.settings.ChaincodeAddress),
		Env:     p.release.environment(packageID, p.settings.MSPID, p.authority != nil),
		Attach:  p.settings.AttachStdout,
		Host:    p.release.host(p.settings.NetworkMode),
	}
	if err := p.create(request, daemon, container, installed); err != nil {
		return err
	}
	if p.settings.AttachStdout {
		p.follow(daemon, names.Container)
	}
	if p.authority != nil {
		if err := p.uploadCertificates(daemon, names.Container, packageID); err != nil {
			return err
		}
	}
	return daemon.Start(names.Container)
}

func (p *Peer) create(
	request int, daemon Daemon, container Container, installed Package,
) error {
	_, err := daemon.Create(container)
	if err == nil || !p.release.Legacy || !daemon.IsNoSuchImage(err) {
		return err
	}
	if err := (build{p, installed, request, daemon}).run(); err != nil {
		return err
	}
	_, err = daemon.Create(container)
	return err
}

// uploadCertificates sends the TLS files of this launch; a map gives their random order.
func (p *Peer) uploadCertificates(daemon Daemon, container string, packageID string) error {
	pair, err := p.authority.client(packageID)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"client.key": []byte(base64.StdEncoding.EncodeToString(pair.Key)),
		"client.crt": []byte(base64.StdEncoding.EncodeToString(pair.Certificate)),
		"peer.crt":   p.authority.pem,
	}
	if !p.release.Legacy {
		files["client_pem.key"] = pair.Key
		files["client_pem.crt"] = pair.Certificate
	}
	var written bytes.Buffer
	zipped := gzip.NewWriter(&written)
	archive := tar.NewWriter(zipped)
	for name, content := range files {
		if err := writeBytes(archive, tlsFolder+name, content); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return err
	}
	if err := daemon.Upload(container, "/", bytes.NewReader(written.Bytes())); err != nil {
		return fmt.Errorf(
			"Error uploading files to the container instance %s: %w", container, err,
		)
	}
	return nil
}

// follow reports the output of a chaincode line by line, as a peer logs it, in the background.
func (p *Peer) follow(daemon Daemon, container string) {
	go func() {
		err := daemon.Follow(container, func(line string) {
			p.report(Event{Name: "log", Container: container, Text: line})
		})
		if err != nil {
			p.report(Event{Name: "warning", Container: container, Text: err.Error()})
			return
		}
		p.report(Event{Name: "log ended", Container: container})
	}()
}

func (p *Peer) stopContainer(request int, packageID string) {
	daemon, err := p.daemon(request)
	if err != nil {
		return
	}
	stopContainer(daemon, p.release.names(p.settings, packageID).Container)
}

// stopContainer makes the three calls that a peer always makes; it never looks at their results.
func stopContainer(daemon Daemon, container string) {
	_ = daemon.Stop(container)
	_ = daemon.Kill(container)
	_ = daemon.Remove(container, true)
}
