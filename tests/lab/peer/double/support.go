package double

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
)

const channel = "ch"

// support is the service protos.ChaincodeSupport, to which chaincode connects.
type support struct {
	authority *authority
	handlers  *handlers
	ledger    *ledger
	report    func(Event)
	server    *grpc.Server
}

// handler is one stream: a chaincode process that connected.
type handler struct {
	support   *support
	stream    grpc.ServerStream
	packageID string
	ready     bool
	ended     chan struct{}

	sending sync.Mutex
	mutex   sync.Mutex
	waiting map[string]chan Message // by transaction
}

func (s *support) serve(listener net.Listener, settings *tls.Config) {
	options := []grpc.ServerOption{
		grpc.ForceServerCodec(codec{}),
		grpc.KeepaliveEnforcementPolicy(
			keepalive.EnforcementPolicy{MinTime: time.Minute, PermitWithoutStream: true},
		),
	}
	if settings != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(settings)))
	}
	s.server = grpc.NewServer(options...)
	s.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "protos.ChaincodeSupport",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "Register",
			Handler:       func(_ any, stream grpc.ServerStream) error { return s.accept(stream) },
			ServerStreams: true,
			ClientStreams: true,
		}},
	}, s)
	go func() {
		if err := s.server.Serve(listener); err != nil {
			s.report(Event{Name: "warning", Text: err.Error()})
		}
	}()
}

// accept serves a stream until either side ends it.
func (s *support) accept(stream grpc.ServerStream) error {
	h := &handler{
		support: s,
		stream:  stream,
		ended:   make(chan struct{}),
		waiting: map[string]chan Message{},
	}
	defer func() {
		close(h.ended)
		s.handlers.forget(h.packageID)
		s.report(Event{Name: "stream ended", Package: h.packageID})
	}()
	for begun := false; ; begun = true {
		var message Message
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		if !begun && s.authority != nil {
			if err := s.authenticate(stream, message); err != nil {
				s.report(Event{Name: "warning", Text: err.Error()})
				return err
			}
		}
		if err := h.take(message); err != nil {
			return err
		}
	}
}

// authenticate compares the first message with the client certificate, as a peer does.
func (s *support) authenticate(stream grpc.ServerStream, message Message) error {
	if message.Kind != Register {
		return errors.New("First message needs to be a register")
	}
	name, err := first(message.Payload, chaincodeName)
	if err != nil {
		return err
	}
	owner := ""
	if caller, ok := peer.FromContext(stream.Context()); ok {
		if info, ok := caller.AuthInfo.(credentials.TLSInfo); ok {
			owner = s.authority.owner(info.State.PeerCertificates[0].Raw)
		}
	}
	switch owner {
	case string(name):
		return nil
	case "":
		return fmt.Errorf("Chaincode %s with given certificate hash not found in registry", name)
	default:
		return fmt.Errorf(
			"Chaincode %s with given certificate hash belongs to a different chaincode", name,
		)
	}
}

func (h *handler) take(message Message) error {
	switch {
	case message.Kind == KeepAlive:
		return nil
	case !h.ready && message.Kind == Register:
		return h.register(message)
	case !h.ready:
		return fmt.Errorf("cannot handle message (%d) before it is ready", message.Kind)
	case message.Kind == Completed || message.Kind == Failed:
		h.answer(message)
		return nil
	default:
		return h.send(h.support.ledger.take(message))
	}
}

func (h *handler) register(message Message) error {
	name, err := first(message.Payload, chaincodeName)
	if err != nil {
		return err
	}
	h.packageID = string(name)
	if err := h.support.handlers.register(h.packageID, h); err != nil {
		// A peer keeps the stream that it refuses.
		h.support.handlers.notify(h.packageID, err)
		h.support.report(Event{Name: "refused", Package: h.packageID, Text: err.Error()})
		return nil
	}
	for _, kind := range []Kind{Registered, Ready} {
		if err := h.send(Message{Kind: kind}); err != nil {
			h.support.handlers.notify(h.packageID, err)
			return err
		}
	}
	h.ready = true
	h.support.report(Event{Name: "registered", Package: h.packageID})
	h.support.handlers.notify(h.packageID, nil)
	return nil
}

func (h *handler) send(message Message) error {
	h.sending.Lock()
	defer h.sending.Unlock()
	return h.stream.SendMsg(&message)
}

func (h *handler) answer(message Message) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if waiting := h.waiting[message.TxID]; waiting != nil {
		waiting <- message
	}
}

// transact sends a transaction and waits for its end.
func (h *handler) transact(txID string, arguments []string, limit time.Duration) (Message, error) {
	waiting := make(chan Message, 1)
	h.mutex.Lock()
	h.waiting[txID] = waiting
	h.mutex.Unlock()
	defer func() {
		h.mutex.Lock()
		defer h.mutex.Unlock()
		delete(h.waiting, txID)
	}()

	request := Message{Kind: Transaction, Payload: input(arguments), TxID: txID, Channel: channel}
	if err := h.send(request); err != nil {
		return Message{}, errTerminated
	}
	select {
	case answer := <-waiting:
		return answer, nil
	case <-time.After(limit):
		return Message{}, errExecution
	case <-h.ended:
		return Message{}, errTerminated
	}
}
