"""What several wires share: types, drafts, faults, costs."""
