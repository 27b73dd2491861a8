package sidecar

import "encoding/json"

// ToolFunc runs one call of the model's, in a goroutine of its own. What it returns goes back to the model: a string as
// it is, anything else as JSON, an error as its message.
type ToolFunc func(arguments map[string]any) (any, error)

// Tools are tools by their names.
type Tools map[string]ToolFunc

// toolCall is what is needed of a call: its arguments are absent if they are not a JSON object.
type toolCall struct {
	Call struct {
		ID        string         `json:"id"`
		Name      string         `json:"name"`
		Arguments map[string]any `json:"arguments"`
	} `json:"tool_call"`
}

type toolResult struct {
	ID      string `json:"id"`
	Content string `json:"content"`
	IsError bool   `json:"is_error,omitempty"`
}

// runTool returns the result of the call id: what the tool returns, or why it was not run.
func runTool(tools Tools, id string, call *toolCall) toolResult {
	if call == nil || tools[call.Call.Name] == nil {
		return toolResult{id, "There is no such tool.", true}
	}
	if call.Call.Arguments == nil {
		return toolResult{id, "The arguments are not a JSON object.", true}
	}
	result, err := tools[call.Call.Name](call.Call.Arguments)
	if err != nil {
		return toolResult{id, err.Error(), true}
	}
	if text, ok := result.(string); ok {
		return toolResult{id, text, false}
	}
	text, err := json.Marshal(result)
	if err != nil {
		return toolResult{id, err.Error(), true}
	}
	return toolResult{id, string(text), false}
}
