"""The tables of the ledger's file, as the steps from each version to the next. [pure]

A new file takes every step, an older one those that it lacks, so both end alike. A step that was
released never changes: a change of the tables is one more step.
"""

STEPS: tuple[tuple[str, ...], ...] = (
    # 1: one row for each attempt. `at` is its end, ISO 8601 in UTC; `cost_picousd` whole millionths of a millionth of a
    # US dollar.
    (
        "CREATE TABLE ledger_version (version INTEGER NOT NULL)",
        "INSERT INTO ledger_version VALUES (0)",
        """CREATE TABLE attempts (
          id INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
          outcome TEXT NOT NULL, code TEXT, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER,
          cache_read_tokens INTEGER, cache_write_tokens INTEGER, cache_write_1h_tokens INTEGER,
          reasoning_tokens INTEGER, cost_picousd INTEGER, latency_ms INTEGER NOT NULL, first_chunk_ms INTEGER)""",
        "CREATE INDEX attempts_at ON attempts (at, provider, cost_picousd)",
    ),
    # 2: what the host asked, the action, and what the provider was asked, the kind, are two columns. Every attempt of
    # version 1 was a chat, and its `kind` the action.
    (
        "ALTER TABLE attempts RENAME COLUMN kind TO action",
        "ALTER TABLE attempts ADD COLUMN kind TEXT NOT NULL DEFAULT 'chat'",
    ),
    # 3: what each process expects its attempts in progress to cost, until a moment that it moves on while they last.
    (
        """CREATE TABLE reservations (
          process TEXT NOT NULL, provider TEXT NOT NULL, picousd INTEGER NOT NULL, until TEXT NOT NULL,
          PRIMARY KEY (process, provider)) WITHOUT ROWID""",
    ),
    # 4: what routes and reports ask besides: the task of the host's request, what an answer that was used again has
    # saved, and the last attempts at one model.
    (
        "ALTER TABLE attempts ADD COLUMN task TEXT",
        "ALTER TABLE attempts ADD COLUMN saved_picousd INTEGER",
        "CREATE INDEX attempts_model ON attempts (provider, model, id)",
    ),
    # 5: how many attempts share the row. Its counts and its cost are sums, its latencies means.
    ("ALTER TABLE attempts ADD COLUMN requests INTEGER NOT NULL DEFAULT 1",),
)
"""Version → the statements that lead to it from the version before, the first being 1."""

VERSION = len(STEPS)

COLUMNS = (
    *("at", "action", "kind", "provider", "model", "outcome", "code", "finish_reason"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "cost_picousd", "latency_ms", "first_chunk_ms", "task", "saved_picousd", "requests"),
)
"""The columns of a row of `attempts`, in the order of `sidecar.usage.ledger.Row`."""
