package double

import (
	"errors"
	"fmt"
	"sync"
)

// launch is the start of a chaincode: it ends once, with an error or without.
type launch struct {
	once sync.Once
	done chan struct{}
	err  error
}

func newLaunch() *launch { return &launch{done: make(chan struct{})} }

func (l *launch) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
	})
}

// handlers are the streams and launches that a peer knows, by package ID.
//
// What a peer forgets and when is kept as it is, faults included: the end of any stream that named a
// package forgets that package's launch too, even if the launch is a later one.
type handlers struct {
	mutex    sync.Mutex
	streams  map[string]*handler
	launches map[string]*launch
}

func newHandlers() *handlers {
	return &handlers{streams: map[string]*handler{}, launches: map[string]*launch{}}
}

// handler is the registered stream of a package; nil if it is not running.
func (r *handlers) handler(packageID string) *handler {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.streams[packageID]
}

// launching is the launch of a package, and whether it had begun before.
func (r *handlers) launching(packageID string) (*launch, bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if begun, ok := r.launches[packageID]; ok {
		return begun, true
	}
	started := newLaunch()
	r.launches[packageID] = started
	return started, false
}

// register takes a stream for a package that is being launched.
func (r *handlers) register(packageID string, stream *handler) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.streams[packageID] != nil {
		return fmt.Errorf("duplicate chaincodeID: %s", packageID)
	}
	if r.launches[packageID] == nil {
		return fmt.Errorf(
			"peer will not accept external chaincode connection %s (except in dev mode)", packageID,
		)
	}
	r.streams[packageID] = stream
	return nil
}

// notify ends the launch of a package.
func (r *handlers) notify(packageID string, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if begun := r.launches[packageID]; begun != nil {
		begun.end(err)
	}
}

// forget drops stream and launch of a package.
func (r *handlers) forget(packageID string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.streams, packageID)
	delete(r.launches, packageID)
}

var (
	errTerminated = errors.New("chaincode stream terminated")
	errExecution  = errors.New("timeout expired while executing transaction")
)
