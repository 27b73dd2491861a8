"""A language model of random weights, of half a megabyte, in the format GGUF. It writes nonsense in letters.

Source: ggml-org/ggml, `docs/gguf.md`; ggml-org/llama.cpp, `src/llama-arch.cpp` and `src/llama-vocab.cpp`, read 2026-11.
"""

import random
import string
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

CONTEXT_TOKENS = 16_384
WIDTH, LAYERS, HEADS, INNER_WIDTH = 64, 2, 4, 128

SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
WORDS = (*string.ascii_letters, *string.digits, *'.,:;!?-{}[]"', "\u2581", "\u2581the", "\u2581a", "ing", "er")
TOKENS = (*SPECIAL, *BYTES, *WORDS)

_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _INT32 = 4, 6, 7, 8, 9, 5
_F32, _ALIGNMENT = 0, 32
_UNKNOWN, _CONTROL, _BYTE, _NORMAL = 2, 3, 6, 1


def write_model(path: Path) -> None:
    """Write the model, the same at every run, to the file *path*."""
    values = list(_list_values())
    tensors = list(_make_tensors(random.Random(7)))
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(values)), *values]
    offset = 0
    for name, shape, data in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        parts += [_string(name), dimensions, struct.pack("<IQ", _F32, offset)]
        offset += _pad(len(data) * data.itemsize)
    header = b"".join(parts)
    with path.open("wb") as file:
        file.write(header.ljust(_pad(len(header)), b"\0"))
        for _, _, data in tensors:
            raw = data.tobytes()
            file.write(raw.ljust(_pad(len(raw)), b"\0"))


def _list_values() -> Iterator[bytes]:
    for key, text in (
        ("general.architecture", "llama"),
        ("general.name", "tiny"),
        ("tokenizer.ggml.model", "llama"),
    ):
        yield _string(key) + struct.pack("<I", _STRING) + _string(text)
    for key, number in (
        ("llama.context_length", CONTEXT_TOKENS),
        ("llama.embedding_length", WIDTH),
        ("llama.block_count", LAYERS),
        ("llama.feed_forward_length", INNER_WIDTH),
        ("llama.attention.head_count", HEADS),
        ("llama.rope.dimension_count", WIDTH // HEADS),
        ("tokenizer.ggml.unknown_token_id", 0),
        ("tokenizer.ggml.bos_token_id", 1),
        ("tokenizer.ggml.eos_token_id", 2),
    ):
        yield _string(key) + struct.pack("<II", _UINT32, number)
    yield _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", _FLOAT32, 1e-5)
    yield _string("tokenizer.ggml.add_space_prefix") + struct.pack("<I?", _BOOL, False)
    count = len(TOKENS)
    yield (
        _string("tokenizer.ggml.tokens") + struct.pack("<IIQ", _ARRAY, _STRING, count) + b"".join(map(_string, TOKENS))
    )
    scores = struct.pack(f"<{count}f", *(-float(index) for index in range(count)))
    yield _string("tokenizer.ggml.scores") + struct.pack("<IIQ", _ARRAY, _FLOAT32, count) + scores
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * len(BYTES), *[_NORMAL] * len(WORDS)]
    packed = struct.pack(f"<{count}i", *kinds)
    yield _string("tokenizer.ggml.token_type") + struct.pack("<IIQ", _ARRAY, _INT32, count) + packed


def _make_tensors(chance: random.Random) -> Iterator[tuple[str, tuple[int, ...], "array[float]"]]:
    """Yield name, shape with the innermost dimension first, and weights."""

    def draw(*shape: int, scale: float = 0.2) -> "array[float]":
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        return array("f", (chance.gauss(0, scale) for _ in range(count)))

    ones = array("f", [1.0] * WIDTH)
    yield "token_embd.weight", (WIDTH, len(TOKENS)), draw(WIDTH, len(TOKENS), scale=1.0)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        yield prefix + "attn_norm.weight", (WIDTH,), ones
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{prefix}{name}.weight", (WIDTH, WIDTH), draw(WIDTH, WIDTH)
        yield prefix + "ffn_norm.weight", (WIDTH,), ones
        for name in ("ffn_gate", "ffn_up"):
            yield f"{prefix}{name}.weight", (WIDTH, INNER_WIDTH), draw(WIDTH, INNER_WIDTH)
        yield prefix + "ffn_down.weight", (INNER_WIDTH, WIDTH), draw(INNER_WIDTH, WIDTH)
    yield "output_norm.weight", (WIDTH,), ones
    # Next to the words all else is improbable, the end of the text too.
    silent = array("f", bytes(4 * WIDTH * (len(SPECIAL) + len(BYTES))))
    yield "output.weight", (WIDTH, len(TOKENS)), silent + draw(WIDTH, len(WORDS), scale=1.0)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pad(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
