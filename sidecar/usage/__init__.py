"""What requests use and cost: the ledger, budgets, reports, prices."""
