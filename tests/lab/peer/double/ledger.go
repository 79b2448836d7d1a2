package double

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// ledger is the world state: keys and values, kept in a file so that a restart finds them.
type ledger struct {
	mutex  sync.Mutex
	path   string // empty: in memory only
	values map[string][]byte
}

func openLedger(path string) (*ledger, error) {
	opened := &ledger{path: path, values: map[string][]byte{}}
	if path == "" {
		return opened, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return opened, nil
	}
	if err != nil {
		return nil, err
	}
	return opened, json.Unmarshal(data, &opened.values)
}

// take answers a chaincode that reads or writes state.
func (l *ledger) take(message Message) Message {
	value, err := l.apply(message)
	if err != nil {
		message.Kind, message.Payload = Failed, []byte(err.Error())
		return message
	}
	message.Kind, message.Payload = Response, value
	return message
}

func (l *ledger) apply(message Message) ([]byte, error) {
	key, err := first(message.Payload, stateKey)
	if err != nil {
		return nil, err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	switch message.Kind {
	case GetState:
		return l.values[string(key)], nil
	case PutState:
		value, err := first(message.Payload, stateValue)
		if err != nil {
			return nil, err
		}
		l.values[string(key)] = value
	case DelState:
		delete(l.values, string(key))
	default:
		return nil, fmt.Errorf("the double does not know message %d", message.Kind)
	}
	return nil, l.save()
}

func (l *ledger) save() error {
	if l.path == "" {
		return nil
	}
	data, err := json.Marshal(l.values)
	if err != nil {
		return err
	}
	return os.WriteFile(l.path, data, 0o600)
}
