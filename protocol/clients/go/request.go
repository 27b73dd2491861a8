package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"sync/atomic"
	"time"
)

// RequestOptions are what concerns one request. Its handlers are called one at a time, and must not wait for a request.
type RequestOptions struct {
	Provider string
	// The most time until the reply. After that the request fails with `timeout` and is cancelled.
	Deadline time.Duration
	// A handler for each type of chunk: Handle makes one.
	On Handlers
	// Gets every chunk but the last one, also those of types that are not known.
	OnChunk func(json.RawMessage)
	// Called at the end: gets the data of the terminal line, or why the request has failed.
	OnEnd func(json.RawMessage, *Failure)
	// With `tool_loop`: the tools by their names.
	Tools Tools
}

// Handlers are handlers by the types of chunks.
type Handlers map[string]func(json.RawMessage)

// Handle returns a handler of chunks that are of the type T. One that does not fit is left out.
func Handle[T any](take func(T)) func(json.RawMessage) {
	return func(data json.RawMessage) {
		var chunk T
		if json.Unmarshal(data, &chunk) == nil {
			take(chunk)
		}
	}
}

// Failure is why a request has failed: an error of the sidecar's, or of the client's own, with the code `timeout`,
// `cancelled`, `sidecar_exited`, `spawn_failed`, `protocol_version` or `shutting_down`.
type Failure struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Reason    string `json:"reason,omitempty"`
	Retryable bool   `json:"retryable,omitempty"`
	Partial   bool   `json:"partial,omitempty"`
	// All of the sidecar's error, as an ErrorBody is read from it; nil for the client's own.
	Raw json.RawMessage `json:"-"`
}

func (failure *Failure) Error() string { return failure.Code + ": " + failure.Message }

func cancelled() *Failure { return &Failure{Code: "cancelled", Message: "The request was cancelled."} }

func closed() *Failure { return &Failure{Code: "shutting_down", Message: "The client was closed."} }

func readFailure(data json.RawMessage) *Failure {
	if data == nil {
		return cancelled()
	}
	failure := &Failure{}
	// A field of another type than it should be leaves the others readable.
	_ = json.Unmarshal(data, failure)
	failure.Raw = data
	return failure
}

// Call is a request on its way.
type Call struct {
	// Its id in the lines, as `tool_result` needs it.
	ID      int64
	client  *Client
	options RequestOptions
	stopped atomic.Bool
	done    chan struct{}
	data    json.RawMessage
	failure *Failure

	// What follows belongs to the tasks of the client.
	line      []byte
	sent      bool
	cancelled bool
	found     bool // The sidecar knows that it is cancelled, and no success comes any more.
	chunks    int
	tools     map[string]*toolCall
	timers    []*time.Timer
}

// Request sends a request; params are one of the structs, or anything that is JSON. It never waits, and fails soon if
// the sidecar cannot be used.
func (client *Client) Request(action Action, params any, options RequestOptions) *Call {
	call, err := client.newCall(action, params, options)
	client.tasks.post(func() {
		client.calls[call.ID] = call
		switch {
		case err != nil:
			client.settle(call, nil, &Failure{Code: "invalid_request", Message: err.Error()})
		case client.refused != nil:
			client.settle(call, nil, client.refused)
		case client.closing:
			client.settle(call, nil, closed())
		case client.ready:
			client.send(call)
		}
	})
	if options.Deadline > 0 {
		client.after(call, options.Deadline, client.expire)
	}
	return call
}

func (client *Client) newCall(action Action, params any, options RequestOptions) (*Call, error) {
	call := &Call{ID: client.lastID.Add(1), client: client, options: options}
	call.done, call.tools = make(chan struct{}), map[string]*toolCall{}
	if params == nil {
		params = struct{}{}
	}
	text, err := json.Marshal(struct {
		ID       int64  `json:"id"`
		Action   Action `json:"action"`
		Provider string `json:"provider,omitempty"`
		Params   any    `json:"params"`
	}{call.ID, action, options.Provider, params})
	call.line = append(text, '\n')
	return call, err
}

// Cancel ends the request, which fails with `cancelled` unless it has just ended. No handler of chunks is called after
// this.
func (call *Call) Cancel() {
	call.stopped.Store(true)
	call.client.tasks.post(func() { call.client.cancel(call) })
}

// Wait returns the data of the terminal line, or a *Failure. The end of the context cancels the request.
func (call *Call) Wait(ctx context.Context) (json.RawMessage, error) {
	select {
	case <-call.done:
	case <-ctx.Done():
		call.Cancel()
		<-call.done
	}
	if call.failure != nil {
		return nil, call.failure
	}
	return call.data, nil
}

// WaitFor is Wait for data of the type T.
func WaitFor[T any](ctx context.Context, call *Call) (T, error) {
	data, err := call.Wait(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return readMember[T](data)
}

// --- tasks ----------------------------------------------------------------------------------

// after runs what unless the request has ended by then.
func (client *Client) after(call *Call, wait time.Duration, what func(*Call)) {
	client.tasks.post(func() {
		timer := time.AfterFunc(wait, func() {
			client.tasks.post(func() {
				if client.calls[call.ID] == call {
					what(call)
				}
			})
		})
		call.timers = append(call.timers, timer)
	})
}

func (client *Client) settle(call *Call, data json.RawMessage, failure *Failure) {
	if client.calls[call.ID] != call {
		return
	}
	delete(client.calls, call.ID)
	stop(call.timers...)
	call.data, call.failure = data, failure
	if call.options.OnEnd != nil {
		call.options.OnEnd(data, failure)
	}
	close(call.done)
}

// failAll ends every open request for which why returns a failure.
func (client *Client) failAll(why func(*Call) *Failure) {
	for _, call := range client.listCalls() {
		if failure := why(call); failure != nil {
			client.settle(call, nil, failure)
		}
	}
}

func (client *Client) listCalls() []*Call {
	calls := make([]*Call, 0, len(client.calls))
	for _, call := range client.calls {
		calls = append(calls, call)
	}
	sort.Slice(calls, func(left, right int) bool { return calls[left].ID < calls[right].ID })
	return calls
}

func (client *Client) cancel(call *Call) {
	if client.calls[call.ID] != call || call.cancelled {
		return
	}
	give := func(call *Call) { client.settle(call, nil, cancelled()) }
	if !call.sent {
		give(call)
		return
	}
	call.cancelled = true
	client.after(call, client.config.Grace, give)
	client.Request(ActionCancel, cancelOf{call.ID}, RequestOptions{OnEnd: func(data json.RawMessage, failure *Failure) {
		var answer Cancelled
		if failure != nil || json.Unmarshal(data, &answer) != nil {
			return
		}
		if call.found = answer.Found; !call.found {
			give(call)
		}
	}})
}

type cancelOf struct {
	ID int64 `json:"id"`
}

func (client *Client) expire(call *Call) {
	if call.sent && client.process != nil {
		client.Request(ActionCancel, cancelOf{call.ID}, RequestOptions{})
	}
	message := fmt.Sprintf("No answer in %d ms.", call.options.Deadline.Milliseconds())
	client.settle(call, nil, &Failure{Code: "timeout", Message: message})
}

// takeChunk hands a chunk to the handlers: of its type, of all chunks, and of the calls of tools.
func (client *Client) takeChunk(call *Call, kind string, data json.RawMessage) {
	if take := call.options.On[kind]; take != nil {
		take(data)
	}
	if call.options.OnChunk != nil {
		call.options.OnChunk(data)
	}
	if call.options.Tools == nil {
		return
	}
	switch kind {
	case "tool_call":
		if read, err := readMember[toolCall](data); err == nil {
			call.tools[read.Call.ID] = &read
		}
	case "tool_round":
		round, _ := readMember[struct{ Calls []string }](data)
		for _, id := range round.Calls {
			go func(id string, tool *toolCall) {
				results := toolResults{call.ID, []toolResult{runTool(call.options.Tools, id, tool)}}
				client.Request(ActionToolResult, results, RequestOptions{})
			}(id, call.tools[id])
		}
	}
}

type toolResults struct {
	ID      int64        `json:"id"`
	Results []toolResult `json:"results"`
}
