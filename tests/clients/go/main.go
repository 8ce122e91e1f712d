// Drives every RPC of both services from Go, as tests/clients/calls.json says.
//
//	everyrpc CALLS WAL_ADDRESS BRANCH_ADDRESS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	_ "argon.example/branchpb"
	_ "argon.example/walpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

type call struct {
	Method  string            `json:"method"`
	Request any               `json:"request"`
	Expect  any               `json:"expect"`
	Error   string            `json:"error"`
	Take    int               `json:"take"`
	Save    map[string]string `json:"save"`
}

var known = map[string]string{"name": "clients-go"}
var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// fill replaces ${NAME} in a value by what is known.
func fill(value any) any {
	switch v := value.(type) {
	case string:
		return variable.ReplaceAllStringFunc(v, func(name string) string { return known[name[2:len(name)-1]] })
	case []any:
		filled := make([]any, len(v))
		for i, item := range v {
			filled[i] = fill(item)
		}
		return filled
	case map[string]any:
		filled := map[string]any{}
		for key, item := range v {
			filled[key] = fill(item)
		}
		return filled
	}
	return value
}

// matches tells whether everything that is expected is there; "*" is anything.
func matches(expected, actual any) bool {
	switch e := expected.(type) {
	case string:
		if e == "*" {
			return actual != nil
		}
	case []any:
		a, ok := actual.([]any)
		for i := range e {
			ok = ok && i < len(a) && matches(e[i], a[i])
		}
		return ok
	case map[string]any:
		a, ok := actual.(map[string]any)
		for key, item := range e {
			ok = ok && matches(item, a[key])
		}
		return ok
	}
	return reflect.DeepEqual(expected, actual)
}

func toValue(message *dynamicpb.Message) any {
	encoded, err := protojson.Marshal(message)
	check(err)
	var value any
	check(json.Unmarshal(encoded, &value))
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(connection *grpc.ClientConn, method protoreflect.MethodDescriptor, path string, c call) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	encoded, err := json.Marshal(fill(c.Request))
	check(err)
	request := dynamicpb.NewMessage(method.Input())
	check(protojson.Unmarshal(encoded, request))
	if !method.IsStreamingServer() {
		response := dynamicpb.NewMessage(method.Output())
		if err := connection.Invoke(ctx, path, request, response); err != nil {
			return nil, err
		}
		return toValue(response), nil
	}
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	check(err)
	check(stream.SendMsg(request))
	check(stream.CloseSend())
	messages := []any{}
	for c.Take == 0 || len(messages) < c.Take {
		response := dynamicpb.NewMessage(method.Output())
		if err := stream.RecvMsg(response); err != nil {
			if err.Error() == "EOF" {
				break
			}
			return nil, err
		}
		messages = append(messages, toValue(response))
	}
	return messages, nil
}

func main() {
	encoded, err := os.ReadFile(os.Args[1])
	check(err)
	var calls []call
	check(json.Unmarshal(encoded, &calls))
	connections := map[string]*grpc.ClientConn{}
	for i, name := range []string{"argon.wal.v1", "argon.branch.v1"} {
		connections[name], err = grpc.Dial(os.Args[2+i], grpc.WithTransportCredentials(insecure.NewCredentials()))
		check(err)
	}

	missing := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := 0; connections[string(file.Package())] != nil && i < file.Services().Len(); i++ {
			service := file.Services().Get(i)
			for k := 0; k < service.Methods().Len(); k++ {
				method := service.Methods().Get(k)
				missing[fmt.Sprintf("%s/%s", service.FullName(), method.Name())] = method
			}
		}
		return true
	})
	total, methods := len(missing), map[string]protoreflect.MethodDescriptor{}
	for name, method := range missing {
		methods[name] = method
	}

	for _, c := range calls {
		method := methods[c.Method]
		delete(missing, c.Method)
		if c.Expect == nil {
			c.Expect = map[string]any{}
		}
		expected := fill(c.Expect)
		answer, err := run(connections[string(method.ParentFile().Package())], method, "/"+c.Method, c)
		outcome := strings.ToUpper(regexp.MustCompile("([a-z])([A-Z])").ReplaceAllString(status.Code(err).String(), "${1}_$2"))
		wanted := c.Error
		if wanted == "" {
			wanted = "OK"
		}
		if outcome != wanted || (err == nil && !matches(expected, answer)) {
			check(fmt.Errorf("%s: %s: expected %s %v and got %v %v", c.Method, outcome, wanted, expected, answer, err))
		}
		for name, path := range c.Save {
			value := answer
			for _, key := range strings.Split(path, ".") {
				value = value.(map[string]any)[key]
			}
			known[name] = value.(string)
		}
	}
	if len(missing) > 0 {
		check(fmt.Errorf("never called: %v", missing))
	}
	fmt.Printf("go: all %d methods answer\n", total)
}
