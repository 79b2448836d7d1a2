// Package double makes the calls that a Fabric peer makes, over the client library that it links.
//
// One process is one peer. It is told what to do in JSON lines (commands.go).
package double

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	defaultStartup = 300 * time.Second
	executeLimit   = 30 * time.Second
	shutdownLimit  = 10 * time.Second
)

// Settings are what a peer's core.yaml says, as far as it matters here.
type Settings struct {
	Version          string   `json:"version"`
	Endpoint         string   `json:"endpoint"`
	NetworkID        string   `json:"network_id"`
	PeerID           string   `json:"peer_id"`
	MSPID            string   `json:"msp_id"`
	Listen           string   `json:"listen"`            // where the chaincode support listens
	ChaincodeAddress string   `json:"chaincode_address"` // the same as Pods reach it; port 0: the listener's
	Hosts            []string `json:"hosts"`             // names and addresses in the server's certificate
	TLS              bool     `json:"tls"`
	NetworkMode      string   `json:"network_mode"`
	AttachStdout     bool     `json:"attach_stdout"`
	BuilderImage     string   `json:"builder_image"`
	RuntimeImage     string   `json:"runtime_image"`
	BuildEnv         []string `json:"build_env"`
	StartupSeconds   float64  `json:"startup_seconds"`
	Folder           string   `json:"folder"` // what survives a restart
	DaemonCA         string   `json:"daemon_ca"`
	DaemonCert       string   `json:"daemon_cert"`
	DaemonKey        string   `json:"daemon_key"`
}

func (s Settings) startup() time.Duration {
	if s.StartupSeconds == 0 {
		return defaultStartup
	}
	return time.Duration(s.StartupSeconds * float64(time.Second))
}

// Peer is a peer's chaincode part: packages, builds, launches and the streams of running chaincode.
type Peer struct {
	settings  Settings
	release   Release
	connect   Connect
	report    func(Event)
	authority *authority
	handlers  *handlers
	support   *support
	store     store

	mutex    sync.Mutex
	shared   Daemon             // from 2.0 on: one client for the life of the peer
	packages map[string]Package // by ID
	builds   map[string]*launch // by package ID; kept for the life of the peer
	built    map[string]bool
}

// Start brings a peer up; what its folder holds is found again, as after a restart.
func Start(settings Settings, connect Connect, report func(Event)) (*Peer, error) {
	release, err := ReleaseOf(settings.Version)
	if err != nil {
		return nil, err
	}
	p := &Peer{
		settings: settings,
		release:  release,
		connect:  connect,
		report:   report,
		handlers: newHandlers(),
		store:    store{settings.Folder},
		packages: map[string]Package{},
		builds:   map[string]*launch{},
		built:    map[string]bool{},
	}
	if !release.Legacy {
		if p.shared, err = connect(settings); err != nil {
			return nil, err
		}
	}
	if err := p.listen(); err != nil {
		return nil, err
	}
	return p, p.resume()
}

// listen starts the chaincode support.
func (p *Peer) listen() error {
	path := ""
	if p.settings.Folder != "" {
		path = filepath.Join(p.settings.Folder, "ledger.json")
	}
	opened, err := openLedger(path)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", p.settings.Listen)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(p.settings.ChaincodeAddress)
	if err != nil {
		return err
	}
	if port == "0" {
		_, port, _ = net.SplitHostPort(listener.Addr().String())
		p.settings.ChaincodeAddress = net.JoinHostPort(host, port)
	}
	var secure *tls.Config
	if p.settings.TLS {
		if p.authority, err = newAuthority(); err != nil {
			return err
		}
		if secure, err = p.authority.server(append([]string{host}, p.settings.Hosts...)); err != nil {
			return err
		}
	}
	p.support = &support{
		authority: p.authority, handlers: p.handlers, ledger: opened, report: p.report,
	}
	p.support.serve(listener, secure)
	return nil
}

// resume takes up what is installed: from 2.0 on, a peer asks for every image, then launches what
// is committed, one after the other.
func (p *Peer) resume() error {
	installed, err := p.store.load()
	if err != nil {
		return err
	}
	for _, each := range installed {
		p.packages[each.ID] = each
	}
	if p.release.Legacy || len(installed) == 0 {
		return nil
	}
	go func() {
		for _, each := range installed {
			if err := p.ensureBuilt(0, each.ID); err != nil {
				p.report(Event{Name: "warning", Package: each.ID, Text: err.Error()})
			}
		}
		for _, each := range installed {
			if !each.Runnable {
				continue
			}
			if err := p.run(0, each.ID); err != nil {
				p.report(Event{Name: "warning", Package: each.ID, Text: err.Error()})
			}
		}
		p.report(Event{Name: "recovered"})
	}()
	return nil
}

// daemon is the client for one operation: 1.4 makes a new one each time.
func (p *Peer) daemon(request int) (Daemon, error) {
	daemon := p.shared
	if p.release.Legacy {
		fresh, err := p.connect(p.settings)
		if err != nil {
			return nil, err
		}
		daemon = fresh
	}
	report := func(event Event) {
		event.ID = request
		p.report(event)
	}
	return watched{daemon, report}, nil
}

func (p *Peer) installed(packageID string) (Package, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	found, ok := p.packages[packageID]
	return found, ok
}

func (p *Peer) keep(installed Package) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.packages[installed.ID] = installed
	return p.store.save(installed)
}

// Install keeps a package and, from 2.0 on, builds its image.
func (p *Peer) Install(request int, folder string, name string, language Language) (Package, error) {
	made, err := p.release.makePackage(folder, name, language)
	if err != nil {
		return Package{}, err
	}
	if err := p.keep(made); err != nil || p.release.Legacy {
		return made, err
	}
	if err := p.buildAtInstall(request, made.ID); err != nil {
		return made, installError(err)
	}
	return made, nil
}

// installError is what the operator's command prints; a text that is no UTF-8 is lost on its way.
func installError(err error) error {
	const prefix = "chaincode install failed with status: 500 - "
	if !utf8.ValidString(err.Error()) {
		return errors.New(prefix + "error in simulation: transaction returned with failure: " +
			"failed to marshal response: string field contains invalid UTF-8")
	}
	return fmt.Errorf("%sfailed to invoke backing implementation of 'InstallChaincode': %w", prefix, err)
}

func (p *Peer) buildAtInstall(request int, packageID string) error {
	status, before := p.buildStatus(packageID, false)
	if before {
		<-status.done
		if status.err == nil {
			return fmt.Errorf("chaincode already successfully installed (package ID '%s')", packageID)
		}
		status, _ = p.buildStatus(packageID, true)
	}
	status.end(p.buildIfMissing(request, packageID))
	if status.err != nil {
		p.mutex.Lock()
		delete(p.packages, packageID)
		p.mutex.Unlock()
		p.store.remove(packageID)
		return fmt.Errorf("could not build chaincode: %w", status.err)
	}
	return nil
}

// buildStatus is the build of a package, and whether it had begun before.
func (p *Peer) buildStatus(packageID string, anew bool) (*launch, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if status, ok := p.builds[packageID]; ok && !anew {
		return status, true
	}
	status := newLaunch()
	p.builds[packageID] = status
	return status, false
}

// ensureBuilt builds a package unless this peer has built it, or failed to, in its life.
func (p *Peer) ensureBuilt(request int, packageID string) error {
	status, before := p.buildStatus(packageID, false)
	if !before {
		status.end(p.buildIfMissing(request, packageID))
	}
	<-status.done
	return status.err
}

func (p *Peer) buildIfMissing(request int, packageID string) error {
	installed, ok := p.installed(packageID)
	if !ok {
		return fmt.Errorf(
			"failed to get chaincode package for docker build: chaincode install package '%s' not found",
			packageID,
		)
	}
	daemon, err := p.daemon(request)
	if err != nil {
		return err
	}
	err = daemon.InspectImage(p.release.names(p.settings, packageID).Image)
	if err != nil && !daemon.IsNoSuchImage(err) {
		return fmt.Errorf("docker build failed: docker image inspection failed: %w", err)
	}
	if err != nil {
		if err := (build{p, installed, request, daemon}).run(); err != nil {
			return fmt.Errorf("docker build failed: docker image build failed: %w", err)
		}
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.built[packageID] = true
	return nil
}

// Launch is what a commit (1.4: instantiate) does: the package is running when it returns.
func (p *Peer) Launch(request int, packageID string) error {
	installed, ok := p.installed(packageID)
	if !ok {
		return fmt.Errorf("chaincode install package '%s' not found", packageID)
	}
	installed.Runnable = true
	if err := p.keep(installed); err != nil {
		return err
	}
	if p.handlers.handler(packageID) != nil {
		return nil
	}
	err := p.run(request, packageID)
	if err != nil && p.release.Legacy {
		return fmt.Errorf("could not assemble transaction, err proposal response was not "+
			"successful, error code 500, msg %w", err)
	}
	if err != nil {
		return fmt.Errorf("could not launch chaincode %s: %w", packageID, err)
	}
	return nil
}

// Upgrade commits another package for a chaincode: from 2.0 on the old container goes first.
func (p *Peer) Upgrade(request int, oldID string, newID string) error {
	old, ok := p.installed(oldID)
	if !ok {
		return fmt.Errorf("chaincode install package '%s' not found", oldID)
	}
	old.Runnable = false
	if err := p.keep(old); err != nil {
		return err
	}
	if !p.release.Legacy {
		p.stopContainer(request, oldID)
	}
	return p.Launch(request, newID)
}

// Invoke runs a function of a chaincode, which is launched first if it is not running.
func (p *Peer) Invoke(request int, packageID string, arguments []string) (Result, error) {
	txID := newTxID()
	result, err := p.execute(request, packageID, txID, arguments)
	if err != nil {
		err = fmt.Errorf("failed to execute transaction %s: %w", txID, err)
		if !p.release.Legacy {
			err = fmt.Errorf("error in simulation: %w", err)
		}
	}
	return result, err
}

func (p *Peer) execute(request int, packageID string, txID string, arguments []string) (Result, error) {
	running := p.handlers.handler(packageID)
	if running == nil {
		if err := p.run(request, packageID); err != nil {
			err = fmt.Errorf("could not launch chaincode %s: %w", packageID, err)
			if p.release.Legacy {
				err = fmt.Errorf("[channel %s] %w", channel, err)
			}
			return Result{}, err
		}
		if running = p.handlers.handler(packageID); running == nil {
			return Result{}, fmt.Errorf(
				"claimed to start chaincode container for %s but could not find handler", packageID,
			)
		}
	}
	answer, err := running.transact(txID, arguments, executeLimit)
	if err != nil {
		return Result{}, fmt.Errorf("error sending: %w", err)
	}
	if answer.Kind == Failed {
		return Result{}, fmt.Errorf("transaction returned with failure: %s", answer.Payload)
	}
	return readResult(answer.Payload)
}

func newTxID() string {
	var random [32]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// Stop stops and removes the container of a package.
func (p *Peer) Stop(request int, packageID string) { p.stopContainer(request, packageID) }

// Ping is what the operations listener's /healthz does.
func (p *Peer) Ping(request int) error {
	daemon, err := p.daemon(request)
	if err != nil {
		return err
	}
	if err := daemon.Ping(); err != nil {
		return fmt.Errorf("failed to ping to Docker daemon: %w", err)
	}
	return nil
}

// Shutdown ends a peer as SIGTERM does: from 2.0 on it stops every chaincode that it built.
func (p *Peer) Shutdown() {
	if p.release.Legacy {
		return
	}
	p.mutex.Lock()
	var stopping sync.WaitGroup
	for packageID := range p.built {
		stopping.Go(func() { p.stopContainer(0, packageID) })
	}
	p.mutex.Unlock()

	ended, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	go func() {
		stopping.Wait()
		cancel()
	}()
	<-ended.Done()
}
