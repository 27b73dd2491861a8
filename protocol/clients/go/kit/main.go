// The driver of the conformance kit (protocol/KIT.md): carries out operations, and reports what happens.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"sidecar"
)

type operation struct {
	Op         string          `json:"op"`
	ID         json.RawMessage `json:"id"`
	Action     sidecar.Action  `json:"action"`
	Provider   string          `json:"provider"`
	Params     json.RawMessage `json:"params"`
	DeadlineMs int64           `json:"deadline_ms"`
}

type fields map[string]any

var (
	mutex sync.Mutex
	calls = map[string]*sidecar.Call{}
)

func report(event string, about fields) {
	about["event"] = event
	line, err := json.Marshal(about)
	if err != nil {
		panic(err)
	}
	mutex.Lock()
	defer mutex.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func newClient() *sidecar.Client {
	backoff, _ := strconv.Atoi(os.Getenv("SIDECAR_BACKOFF_MS"))
	return sidecar.New(sidecar.Config{
		Command: []string{os.Getenv("SIDECAR_COMMAND")},
		Backoff: time.Duration(backoff) * time.Millisecond,
		Initialize: sidecar.Initialize{
			Client: &sidecar.ClientInfo{Name: "kit"},
			Events: []sidecar.InitializeEvent{sidecar.InitializeEventStatus, sidecar.InitializeEventWarnings},
		},
		OnReady: func(initialized sidecar.Initialized) {
			report("ready", fields{"protocol_version": initialized.ProtocolVersion})
		},
		OnEvent: func(data json.RawMessage) { report("unsolicited", fields{"data": data}) },
		OnExit: func(exit sidecar.Exit) {
			report("exit", fields{"code": exit.Code, "restarting": exit.Restarting, "stderr": exit.Stderr})
		},
		OnRefused: func(failure *sidecar.Failure) {
			reason := failure.Reason
			if reason == "" {
				reason = failure.Code
			}
			report("refused", fields{"reason": reason})
		},
	})
}

func request(client *sidecar.Client, op operation) {
	call := client.Request(op.Action, op.Params, sidecar.RequestOptions{
		Provider: op.Provider,
		Deadline: time.Duration(op.DeadlineMs) * time.Millisecond,
		OnChunk:  func(data json.RawMessage) { report("chunk", fields{"id": op.ID, "data": data}) },
		OnEnd: func(data json.RawMessage, failure *sidecar.Failure) {
			switch {
			case failure == nil:
				report("done", fields{"id": op.ID, "data": data})
			case failure.Raw != nil:
				report("error", fields{"id": op.ID, "error": failure.Raw})
			default:
				report("error", fields{"id": op.ID, "error": failure})
			}
		},
	})
	// A request that has ended is forgotten when its id is used again; to cancel it does nothing.
	calls[string(op.ID)] = call
}

func main() {
	client := newClient()
	for stdin := bufio.NewReader(os.Stdin); ; {
		var op operation
		line, err := stdin.ReadBytes('\n')
		if err != nil {
			break
		}
		if err := json.Unmarshal(line, &op); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		switch op.Op {
		case "start":
			client.Start()
		case "request":
			request(client, op)
		case "cancel":
			if call := calls[string(op.ID)]; call != nil {
				call.Cancel()
			}
		}
		if op.Op == "close" {
			break
		}
	}
	client.Close()
}
