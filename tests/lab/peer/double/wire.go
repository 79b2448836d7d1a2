package double

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kind is what a message of the chaincode protocol says (peer/chaincode_shim.proto).
type Kind int32

// The kinds that the double understands or sends.
const (
	Register    Kind = 1
	Registered  Kind = 2
	Ready       Kind = 4
	Transaction Kind = 5
	Completed   Kind = 6
	Failed      Kind = 7
	GetState    Kind = 8
	PutState    Kind = 9
	DelState    Kind = 10
	Response    Kind = 13
	KeepAlive   Kind = 18
)

// Message is a ChaincodeMessage; fields that nobody here reads are left out.
type Message struct {
	Kind    Kind
	Payload []byte
	TxID    string
	Channel string
}

// Fields of the messages, as numbered in Fabric's .proto files.
const (
	messageKind    = 1
	messagePayload = 3
	messageTxID    = 4
	messageChannel = 7

	chaincodeName = 2 // ChaincodeID.name
	inputArgument = 1 // ChaincodeInput.args
	stateKey      = 1 // GetState.key, PutState.key, DelState.key
	stateValue    = 2 // PutState.value
	resultStatus  = 1 // Response.status
	resultMessage = 2 // Response.message
	resultPayload = 3 // Response.payload
)

// field is one field of a message: a number for varints, bytes for the rest.
type field struct {
	id     protowire.Number
	number uint64
	bytes  []byte
}

// fields reads a message field by field, in the order of the wire.
func fields(data []byte) ([]field, error) {
	var found []field
	for len(data) > 0 {
		id, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		data = data[size:]
		each := field{id: id}
		switch kind {
		case protowire.VarintType:
			each.number, size = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			each.bytes, size = protowire.ConsumeBytes(data)
		default:
			size = protowire.ConsumeFieldValue(id, kind, data)
		}
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		data = data[size:]
		found = append(found, each)
	}
	return found, nil
}

// first is the content of the first field with a number; nil if there is none.
func first(data []byte, id protowire.Number) ([]byte, error) {
	found, err := fields(data)
	if err != nil {
		return nil, err
	}
	for _, each := range found {
		if each.id == id {
			return each.bytes, nil
		}
	}
	return nil, nil
}

func appendField(data []byte, id protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(data, id, protowire.BytesType), content)
}

func appendNumber(data []byte, id protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(data, id, protowire.VarintType), value)
}

// input is a ChaincodeInput: the function and its arguments.
func input(arguments []string) []byte {
	var data []byte
	for _, argument := range arguments {
		data = appendField(data, inputArgument, []byte(argument))
	}
	return data
}

// codec writes and reads Message for gRPC in place of generated code.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(value any) ([]byte, error) {
	message, ok := value.(*Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a message of the chaincode protocol", value)
	}
	data := appendNumber(nil, messageKind, uint64(message.Kind))
	data = appendField(data, messagePayload, message.Payload)
	data = appendField(data, messageTxID, []byte(message.TxID))
	return appendField(data, messageChannel, []byte(message.Channel)), nil
}

func (codec) Unmarshal(data []byte, value any) error {
	message, ok := value.(*Message)
	if !ok {
		return fmt.Errorf("%T is not a message of the chaincode protocol", value)
	}
	found, err := fields(data)
	if err != nil {
		return err
	}
	*message = Message{}
	for _, each := range found {
		switch each.id {
		case messageKind:
			message.Kind = Kind(each.number)
		case messagePayload:
			message.Payload = append([]byte(nil), each.bytes...)
		case messageTxID:
			message.TxID = string(each.bytes)
		case messageChannel:
			message.Channel = string(each.bytes)
		}
	}
	return nil
}

// Result is what a chaincode function returned.
type Result struct {
	Status  int32  `json:"status"`
	Message string `json:"message"`
	Payload string `json:"payload"`
}

func readResult(data []byte) (Result, error) {
	found, err := fields(data)
	if err != nil {
		return Result{}, err
	}
	var result Result
	for _, each := range found {
		switch each.id {
		case resultStatus:
			result.Status = int32(each.number)
		case resultMessage:
			result.Message = string(each.bytes)
		case resultPayload:
			result.Payload = string(each.bytes)
		}
	}
	return result, nil
}
