"""What several wires share: types, options, provider state, tool calls, drafts of messages, errors, costs."""
