// A host over the client in Go: it streams, runs a tool, cancels, and outlives its sidecar. Run it in the folder of the
// client: go run ../../../examples/host.go. Put a real provider in place of `replay` and nothing else changes.
package main

import (
	"context"
	"fmt"
	"sidecar"
)

func ask(model string) sidecar.Chat {
	hello := sidecar.Message{Role: sidecar.RoleUser, Content: sidecar.MessageContent{Value: "Hello"}}
	options := &sidecar.Options{ToolLoop: &sidecar.ToolLoop{}}
	return sidecar.Chat{Model: model, Messages: []sidecar.Message{hello}, Options: options}
}

func weather(arguments map[string]any) (any, error) { return fmt.Sprint("4 degrees in ", arguments["city"]), nil }

func showExit(exit sidecar.Exit) { fmt.Printf("[ended, restarting: %v]\n", exit.Restarting) }

func main() {
	client := sidecar.New(sidecar.Config{OnExit: showExit})
	client.Start()
	on := func(take func(sidecar.Content)) sidecar.Handlers { return sidecar.Handlers{"content": sidecar.Handle(take)} }
	show := on(func(chunk sidecar.Content) { fmt.Print(chunk.Content) })
	options := sidecar.RequestOptions{On: show, Tools: sidecar.Tools{"weather": weather}}
	call := client.Request(sidecar.ActionStreamChat, ask("replay/tool_call"), options)
	done, _ := sidecar.WaitFor[sidecar.Done](context.Background(), call)
	fmt.Printf("\n[%s, rounds: %d]\n", done.FinishReason, len(done.Rounds))
	ctx, cancel := context.WithCancel(context.Background())
	for _, stop := range []func(){cancel, client.Kill} {
		options = sidecar.RequestOptions{On: on(func(sidecar.Content) { stop() })}
		_, err := client.Request(sidecar.ActionStreamChat, ask("replay/slow"), options).Wait(ctx)
		fmt.Printf("[%s]\n", err.(*sidecar.Failure).Code)
		ctx = context.Background()
	}
	pong, err := client.Request(sidecar.ActionPing, nil, sidecar.RequestOptions{}).Wait(context.Background())
	fmt.Println(string(pong), err)
	client.Close()
}
