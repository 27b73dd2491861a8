"""What a host hears of a stream whose provider is not reached, or says nothing."""

from contextlib import ExitStack

from tests.support import process_probes
from tests.support.fake_provider import Provider
from tests.support.process import Id, Object, Sidecar
from tests.support.stalling_providers import Phase, stalled

HEARTBEAT_MS = 1000

LATE_MS = 1000
"""What a busy machine may add."""


def hear(sidecar: Sidecar, *events: str, heartbeat_ms: int = HEARTBEAT_MS) -> None:
    """Have the process tell of waits."""
    reply = sidecar.ask("initialize", {"events": list(events), "heartbeat_ms": heartbeat_ms})
    assert reply["success"]


def status(sidecar: Sidecar, request_id: Id, index: int) -> Object:
    """Return the chunk of that index, which is a `status`."""
    chunk: Object = dict(sidecar.chunk(request_id, index).data["data"])
    assert chunk.pop("type") == "status"
    return chunk


def is_about(found: int, wanted: int) -> bool:
    """Return whether a silence of *wanted* milliseconds has been told of in time: looks are a fifth apart."""
    return wanted <= found <= wanted + HEARTBEAT_MS // 5 * (wanted // HEARTBEAT_MS) + LATE_MS


@process_probes.linux_only
def test_a_silent_stream_says_again_and_again_what_it_waits_for(sidecar: Sidecar, provider: Provider) -> None:  # D12
    hear(sidecar, "status")
    waits: list[tuple[Phase, str, str]] = [
        ("connect", "connecting", "connect"),
        ("headers", "waiting", "headers"),
        ("body", "waiting", "idle"),
    ]
    with ExitStack() as stack:
        # What has come before: a start and a piece of text.
        ids = [(stack.enter_context(stalled(sidecar, provider, phase)), 2 * (phase == "body")) for phase, *_ in waits]
        for (request_id, before), (_, state, phase) in zip(ids, waits, strict=True):
            for times in (1, 2):
                told = status(sidecar, request_id, before + times - 1)
                assert is_about(told.pop("silent_ms"), HEARTBEAT_MS * times)
                assert told == {"state": state, "phase": phase}
        for request_id, before in ids:
            sidecar.ask("cancel", {"id": request_id})
            error = sidecar.reply(request_id)["error"]
            assert (error["code"], error["partial"]) == ("cancelled", before > 0)
