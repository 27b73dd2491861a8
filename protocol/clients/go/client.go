// Package sidecar starts a sidecar, sends requests, and hands each reply to the request that it belongs to. It needs
// the standard library and nothing else. README.md shows its use.
package sidecar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// steadyTime is how long a process must work to be no failure in a row.
const steadyTime = time.Minute

// Config says how to start the sidecar, and what to do with what belongs to no request. Handlers are called one at a
// time, like those of requests, and must not wait for a request.
type Config struct {
	// The program and its arguments. Default: the path in the variable SIDECAR, or else `sidecar`.
	Command []string
	// The environment of the process. Default: that of the host.
	Env []string
	// The parameters of `initialize`, which is sent to each new process.
	Initialize Initialize
	// How long to wait before the first restart; twice as long before each one in a row. Default: 1 s, at most 30 s.
	Backoff, MaxBackoff time.Duration
	// How long to wait for each step of an orderly end, and for the end of a cancelled request. Default: 2 s.
	Grace time.Duration
	// How long a process may take to answer `initialize`. Default: 30 s.
	StartLimit time.Duration

	OnReady func(Initialized)
	// A warning that belongs to no request.
	OnEvent func(json.RawMessage)
	OnExit  func(Exit)
	// The sidecar cannot be used, and is not restarted: show the message to the user.
	OnRefused func(*Failure)
	// A line that belongs to no request: a mistake of the sidecar's. Default: stderr gets it.
	OnProblem func(string)
}

// Exit is the end of a process.
type Exit struct {
	// Nil if a signal has ended it.
	Code       *int
	Restarting bool
	// The last 8 KiB of what it wrote for people.
	Stderr string
}

// Client is one sidecar, again and again. Its methods may be called from any goroutine.
type Client struct {
	config Config
	tasks  serial
	lastID atomic.Int64

	// What follows belongs to the tasks.
	process   *process
	ready     bool
	readyAt   time.Time
	refused   *Failure
	closing   bool
	over      chan struct{}
	calls     map[int64]*Call
	restarts  int
	restart   *time.Timer
	startedIn *time.Timer
}

// New returns a client. Start starts its process, which is started again when it ends by itself.
func New(config Config) *Client {
	if len(config.Command) == 0 {
		config.Command = []string{"sidecar"}
		if path := os.Getenv("SIDECAR"); path != "" {
			config.Command[0] = path
		}
	}
	setDefault(&config.Backoff, time.Second)
	setDefault(&config.MaxBackoff, 30*time.Second)
	setDefault(&config.Grace, 2*time.Second)
	setDefault(&config.StartLimit, 30*time.Second)
	return &Client{config: config, calls: map[int64]*Call{}, over: make(chan struct{})}
}

func setDefault(duration *time.Duration, value time.Duration) {
	if *duration == 0 {
		*duration = value
	}
}

// Start starts the sidecar, also again after it was refused. Requests that come before it is ready wait.
func (client *Client) Start() {
	client.tasks.post(func() {
		if client.process == nil && !client.closing {
			stop(client.restart)
			client.refused = nil
			client.spawn()
		}
	})
}

// Kill ends the process, which is started again. For one that no longer answers, not even a `ping`.
func (client *Client) Kill() {
	client.tasks.post(func() {
		if client.process != nil {
			client.process.kill()
		}
	})
}

// Close ends the sidecar: by the end of its input, and by signals if that does not help. Open requests may finish. It
// returns when the process has ended; a handler calls it in a goroutine.
func (client *Client) Close() {
	client.tasks.post(func() {
		if client.closing {
			return
		}
		client.closing = true
		stop(client.restart)
		client.failAll(func(call *Call) *Failure {
			if call.sent {
				return nil
			}
			return closed()
		})
		own := client.process
		if own == nil {
			close(client.over)
			return
		}
		own.closeStdin()
		steps := []*time.Timer{
			time.AfterFunc(client.config.Grace, own.terminate),
			time.AfterFunc(2*client.config.Grace, own.kill),
		}
		go func() {
			<-client.over
			stop(steps...)
		}()
	})
	<-client.over
}

func stop(timers ...*time.Timer) {
	for _, timer := range timers {
		if timer != nil {
			timer.Stop()
		}
	}
}

// --- the process ----------------------------------------------------------------------------

func (client *Client) spawn() {
	read := func(text []byte) { client.tasks.do(func() { client.readLines(text) }) }
	end := func(code *int, stderr string) { client.tasks.do(func() { client.end(code, stderr, false) }) }
	own, err := startProcess(client.config.Command, client.config.Env, read, end)
	if err != nil {
		client.end(nil, err.Error(), true)
		return
	}
	client.process = own
	client.startedIn = time.AfterFunc(client.config.StartLimit, own.kill)
	params := client.config.Initialize
	if params.ProtocolVersion == nil {
		version := int64(ProtocolVersion)
		params.ProtocolVersion = &version
	}
	options := RequestOptions{OnEnd: client.takeInitialized}
	call, err := client.newCall(ActionInitialize, params, options)
	if err != nil {
		client.refuse(&Failure{Code: "invalid_request", Message: err.Error()})
		return
	}
	client.calls[call.ID] = call
	client.send(call)
}

func (client *Client) takeInitialized(data json.RawMessage, failure *Failure) {
	if failure != nil {
		if failure.Code != "sidecar_exited" {
			client.refuse(failure)
		}
		return
	}
	var initialized Initialized
	if err := json.Unmarshal(data, &initialized); err != nil || initialized.ProtocolVersion != ProtocolVersion {
		text := "The sidecar speaks version %d of the protocol, not %d."
		message := fmt.Sprintf(text, initialized.ProtocolVersion, ProtocolVersion)
		client.refuse(&Failure{Code: "protocol_version", Message: message})
		return
	}
	stop(client.startedIn)
	client.ready, client.readyAt = true, time.Now()
	if client.config.OnReady != nil {
		client.config.OnReady(initialized)
	}
	for _, call := range client.listCalls() {
		if !call.sent {
			client.send(call)
		}
	}
}

func (client *Client) refuse(failure *Failure) {
	client.refused = failure
	if client.config.OnRefused != nil {
		client.config.OnRefused(failure)
	}
	client.failAll(func(*Call) *Failure { return failure })
	client.process.closeStdin()
	time.AfterFunc(client.config.Grace, client.process.kill)
}

func (client *Client) end(code *int, stderr string, unspawned bool) {
	stop(client.startedIn)
	if client.ready && time.Since(client.readyAt) > steadyTime {
		client.restarts = 0
	}
	client.process, client.ready = nil, false
	restarting := !unspawned && !client.closing && client.refused == nil && (code == nil || *code != 2)
	if !restarting && !client.closing && client.refused == nil {
		client.refused = &Failure{Code: "sidecar_exited", Message: strings.TrimSpace(stderr)}
		if unspawned {
			client.refused.Code = "spawn_failed"
		}
	}
	how := "by a signal"
	if code != nil {
		how = fmt.Sprint(*code)
	}
	client.failAll(func(call *Call) *Failure {
		switch {
		case call.sent:
			message := fmt.Sprintf("The sidecar has ended (%s).", how)
			return &Failure{Code: "sidecar_exited", Message: message, Retryable: true, Partial: call.chunks > 0}
		case client.closing:
			return closed()
		}
		return client.refused
	})
	if restarting {
		wait := client.config.Backoff << client.restarts
		if wait > client.config.MaxBackoff || wait <= 0 {
			wait = client.config.MaxBackoff
		} else {
			client.restarts++
		}
		client.restart = time.AfterFunc(wait, client.Start)
	}
	if client.config.OnExit != nil {
		client.config.OnExit(Exit{code, restarting, stderr})
	}
	if client.closing {
		close(client.over)
	}
}

// --- lines ----------------------------------------------------------------------------------

type line struct {
	ID        json.RawMessage `json:"id"`
	Success   bool            `json:"success"`
	Streaming bool            `json:"streaming"`
	Event     json.RawMessage `json:"event"`
	Data      json.RawMessage `json:"data"`
	Error     json.RawMessage `json:"error"`
}

func (client *Client) readLines(text []byte) {
	for _, each := range bytes.Split(text, []byte{'\n'}) {
		var read line
		if len(bytes.TrimSpace(each)) == 0 {
			continue
		}
		if err := json.Unmarshal(each, &read); err != nil {
			client.report("The sidecar has written a line that cannot be read: " + err.Error())
			continue
		}
		id, _ := readMember[int64](read.ID)
		if call := client.calls[id]; call != nil {
			client.readReply(call, &read)
		} else if read.Event != nil {
			if client.config.OnEvent != nil {
				client.config.OnEvent(read.Data)
			}
		} else if id <= 0 || id > client.lastID.Load() {
			// A request that has expired may still have lines on their way; this is none of those.
			client.report("A line of the sidecar's belongs to no request.")
		}
	}
}

func (client *Client) readReply(call *Call, read *line) {
	if read.Streaming && read.Success {
		if kind := readTag(read.Data); kind != "done" {
			call.chunks++
			if !call.stopped.Load() {
				client.takeChunk(call, kind, read.Data)
			}
			return
		}
	}
	if read.Success && !call.found {
		client.settle(call, read.Data, nil)
	} else {
		client.settle(call, nil, readFailure(read.Error))
	}
}

func (client *Client) send(call *Call) {
	call.sent = true
	client.process.write(call.line)
	call.line = nil
}

func (client *Client) report(problem string) {
	if client.config.OnProblem != nil {
		client.config.OnProblem(problem)
	} else {
		fmt.Fprintln(os.Stderr, "sidecar: "+problem)
	}
}
