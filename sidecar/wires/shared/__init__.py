"""What several wires share: types, options, provider state, tool calls, the draft of a message, errors, costs."""
