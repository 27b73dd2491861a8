"""An answer that is kept beside while it goes to the host."""

from collections.abc import Sequence

import msgspec

from protocol.messages import Message
from protocol.options import Options
from protocol.replies import Chunk, Content, Done, Start, Status
from protocol.requests import Chat
from protocol.reuse import ReuseOptions
from sidecar.core.http import HttpRequest
from sidecar.reuse.answers import decode
from sidecar.reuse.memory_store import MemoryStore
from sidecar.reuse.question import Question
from sidecar.reuse.recording import Place, Recording
from sidecar.wires.shared.types import Encoded
from tests.reuse.test_rules import KEY, done, target

CHAT = Chat(model="m", messages=[Message(role="user", content="Hi")], options=Options(reuse=ReuseOptions(scope="s")))
TARGET = target(credential=KEY)
ENCODED = Encoded(HttpRequest(method="POST", url="https://a.example", headers={}))
QUESTION = Question(b"digest", "s")


class Host:
    """Takes what comes."""

    full = False

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def send(self, chunks: Sequence[Chunk]) -> None:
        self.chunks += chunks

    def send_status(self, status: Status) -> None:
        self.chunks.append(status)

    async def wait_for_room(self) -> None:
        """Return at once."""

    def finish(self, done: Done) -> None:
        self.chunks.append(done)


def make(max_bytes: int = 10_000) -> tuple[Recording, Host, MemoryStore]:
    host = Host()
    kept = MemoryStore(1_000_000)
    place = Place(kept, QUESTION, 60, 0, max_bytes) if max_bytes else None
    return Recording(place, ENCODED, TARGET, CHAT, host), host, kept


def answer(recording: Recording, *texts: str, end: Done | None = None) -> None:
    recording.send([Start(provider="p", model="m"), *map(Content, texts)])
    recording.finish(end or done())


async def stored_chunks(kept: MemoryStore) -> list[Chunk] | None:
    """Return the chunks that are stored."""
    data = (await kept.find(QUESTION)).data
    stored = None if data is None else decode(data)
    return stored.chunks if stored else None


async def test_a_whole_answer_is_stored_with_the_bounds_of_its_chunks() -> None:
    recording, host, kept = make()
    assert recording.take_request(TARGET, CHAT) is ENCODED
    answer(recording, "Hel", "lo", "")
    assert await stored_chunks(kept) == [Content("Hel"), Content("lo"), Content("")]
    assert host.chunks[1:] == [Content("Hel"), Content("lo"), Content(""), done()]


async def test_an_answer_to_a_request_that_was_changed_is_not_stored() -> None:
    """As after an option that the model has refused, or with a fresh credential."""
    for changed in (
        (TARGET, msgspec.structs.replace(CHAT)),
        (msgspec.structs.replace(TARGET), CHAT),
    ):
        recording, _, kept = make()
        assert recording.take_request(TARGET, CHAT) is ENCODED
        assert recording.take_request(*changed) is None
        answer(recording, "Hello")
        assert await stored_chunks(kept) is None


async def test_an_answer_without_an_end_is_not_stored() -> None:
    recording, _, kept = make()
    recording.take_request(TARGET, CHAT)
    recording.send([Start(provider="p", model="m"), Content("Hello")])
    assert await stored_chunks(kept) is None


async def test_an_answer_that_is_too_long_is_passed_on_and_not_kept() -> None:
    recording, host, kept = make(max_bytes=1000)
    recording.take_request(TARGET, CHAT)
    answer(recording, *["x" * 400] * 5)
    assert await stored_chunks(kept) is None
    assert len(host.chunks) == 7


async def test_what_cannot_be_written_is_not_stored() -> None:
    recording, _, kept = make()
    recording.take_request(TARGET, CHAT)
    answer(recording, end=done(cost={"usd": 2**70}))
    assert await stored_chunks(kept) is None


async def test_without_room_nothing_is_kept() -> None:
    recording, _, kept = make(max_bytes=0)
    recording.take_request(TARGET, CHAT)
    answer(recording)
    assert await stored_chunks(kept) is None
