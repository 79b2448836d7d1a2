package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kinds of ChaincodeMessage (peer/chaincode_shim.proto).
const (
	register    = 1
	registered  = 2
	ready       = 4
	transaction = 5
	completed   = 6
	failed      = 7
	getState    = 8
	putState    = 9
	response    = 13
	keepAlive   = 18
)

// message is a ChaincodeMessage without the fields that are not used here.
type message struct {
	kind    uint64
	payload []byte
	txID    string
	channel string
}

// codec writes and reads message for gRPC in place of generated code.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(value any) ([]byte, error) {
	sent, ok := value.(*message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", value)
	}
	data := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), sent.kind)
	data = appendBytes(data, 3, sent.payload)
	data = appendBytes(data, 4, []byte(sent.txID))
	return appendBytes(data, 7, []byte(sent.channel)), nil
}

func (codec) Unmarshal(data []byte, value any) error {
	received, ok := value.(*message)
	if !ok {
		return fmt.Errorf("%T is no message", value)
	}
	*received = message{}
	return eachField(data, func(id protowire.Number, number uint64, content []byte) {
		switch id {
		case 1:
			received.kind = number
		case 3:
			received.payload = append([]byte(nil), content...)
		case 4:
			received.txID = string(content)
		case 7:
			received.channel = string(content)
		}
	})
}

func appendBytes(data []byte, id protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(data, id, protowire.BytesType), content)
}

func eachField(data []byte, visit func(protowire.Number, uint64, []byte)) error {
	for len(data) > 0 {
		id, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		var number uint64
		var content []byte
		switch kind {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			content, size = protowire.ConsumeBytes(data)
		default:
			size = protowire.ConsumeFieldValue(id, kind, data)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		visit(id, number, content)
		data = data[size:]
	}
	return nil
}

// arguments are those of a ChaincodeInput: the function's name first.
func arguments(payload []byte) ([]string, error) {
	var found []string
	err := eachField(payload, func(id protowire.Number, _ uint64, content []byte) {
		if id == 1 {
			found = append(found, string(content))
		}
	})
	return found, err
}

// result is a Response with status 200 or 500.
func result(status uint64, text string, payload []byte) []byte {
	data := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), status)
	data = appendBytes(data, 2, []byte(text))
	return appendBytes(data, 3, payload)
}
