package main

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
)

// service is this side of the stream to the peer.
type service struct {
	stream  grpc.ClientStream
	sending sync.Mutex
	mutex   sync.Mutex
	waiting map[string]chan message // transactions that wait for an answer of the peer
}

func newService(stream grpc.ClientStream) *service {
	return &service{stream: stream, waiting: map[string]chan message{}}
}

// register says who we are, and waits until the peer is ready for us.
func (s *service) register(name string) error {
	hello := message{kind: register, payload: appendBytes(nil, 2, []byte(name))}
	if err := s.send(hello); err != nil {
		return err
	}
	for _, expected := range []uint64{registered, ready} {
		var received message
		if err := s.stream.RecvMsg(&received); err != nil {
			return err
		}
		if received.kind != expected {
			return fmt.Errorf("message %d came where %d was expected", received.kind, expected)
		}
	}
	fmt.Println("labcc registered as", name)
	return nil
}

// serve answers the peer until the stream ends.
func (s *service) serve() error {
	for {
		var received message
		if err := s.stream.RecvMsg(&received); err != nil {
			return err
		}
		switch received.kind {
		case keepAlive:
			if err := s.send(received); err != nil {
				return err
			}
		case transaction:
			go s.transact(received)
		default:
			s.pass(received)
		}
	}
}

func (s *service) transact(request message) {
	answer := message{kind: completed, txID: request.txID, channel: request.channel}
	payload, err := s.call(request)
	if err != nil {
		answer.payload = result(500, err.Error(), nil)
	} else {
		answer.payload = result(200, "", payload)
	}
	if err := s.send(answer); err != nil {
		fmt.Println("labcc could not answer:", err)
	}
}

func (s *service) call(request message) ([]byte, error) {
	words, err := arguments(request.payload)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, errors.New("no function was named")
	}
	function, known := functions[words[0]]
	if !known {
		return nil, fmt.Errorf("there is no function %q", words[0])
	}
	if len(words)-1 < function.arguments {
		return nil, fmt.Errorf("%s needs %d arguments", words[0], function.arguments)
	}
	return function.run(state{s, request}, words[1:])
}

// ask sends a question of a transaction to the peer and waits for the answer.
func (s *service) ask(question message) ([]byte, error) {
	waiting := make(chan message, 1)
	s.mutex.Lock()
	s.waiting[question.txID] = waiting
	s.mutex.Unlock()
	if err := s.send(question); err != nil {
		return nil, err
	}
	answer := <-waiting
	if answer.kind == failed {
		return nil, errors.New(string(answer.payload))
	}
	return answer.payload, nil
}

func (s *service) pass(answer message) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if waiting := s.waiting[answer.txID]; waiting != nil {
		delete(s.waiting, answer.txID)
		waiting <- answer
	}
}

func (s *service) send(sent message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.stream.SendMsg(&sent)
}
