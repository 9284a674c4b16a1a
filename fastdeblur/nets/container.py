"""The safetensors container, read as a hostile file: nothing is believed before it is checked, and nothing in it is run."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdeblur.errors import ModelError

# The safetensors library's own limit for headers.
MOST_HEADER = 100_000_000
MOST_AXES = 8
_ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
_CODES = {"float16": "F16", "float32": "F32"}

Tensors = dict[str, NDArray[np.float32]]


def parse(text: str | bytes, what: str) -> Any:
    """JSON as the standard has it: no NaN or infinity, no key twice, and not nested beyond reason."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            # Found in one go: to count each name in all of a large file would take hours.
            (twice, _), *_ = Counter(name for name, _ in items).most_common(1)
            raise ModelError(f"{what}: expected each key once, got {short(twice)} twice")
        return found

    def constant(name: str) -> Any:
        raise ModelError(f"{what}: expected JSON, which has no {name}")

    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError:
        raise ModelError(f"{what}: expected JSON, got one nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{what}: expected UTF-8, got {error.reason} at byte {error.start}") from None
    except ModelError:
        raise
    except ValueError as error:  # JSONDecodeError, or an integer of thousands of digits
        raise ModelError(f"{what}: expected JSON, got what is none ({short(str(error), 120)})") from None


def short(value: Any, length: int = 60) -> str:
    """A value of a file in a message: of bounded length, and on one line."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # an integer too long to print
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= length else text[: length - 3] + "..."


def unpack(data: bytes) -> tuple[Tensors, dict[str, str]]:
    """The tensors, as float32 arrays that own nothing of ``data``, and the metadata. Raises ModelError."""
    if len(data) < 8:
        raise ModelError(f"model file: expected at least 8 bytes, got {len(data)}")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(MOST_HEADER, len(data) - 8):
        raise ModelError(
            f"model file: its header is said to have {length} bytes, of {len(data) - 8} that follow "
            f"(and of {MOST_HEADER} at most)"
        )
    header = parse(data[8 : 8 + length], "model file's header")
    if not isinstance(header, dict):
        raise ModelError(f"model file's header: expected an object, got {short(header)}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ModelError("model file's __metadata__: expected an object of strings")
    entries = {name: _entry(name, said) for name, said in header.items()}
    body = memoryview(data)[8 + length :]
    at = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: (item[1][2], item[1][3])):
        if begin != at:
            raise ModelError(
                f"tensor {short(name)}: expected data from byte {at} on (no gaps, no overlaps), got {begin}"
            )
        at = end
    if at != len(body):
        raise ModelError(f"model file: its tensors take {at} bytes, but {len(body)} follow the header")
    return {name: _values(name, entry, body) for name, entry in entries.items()}, metadata


_Entry = tuple[str, tuple[int, ...], int, int]  # dtype, shape, begin, end


def _entry(name: str, said: Any) -> _Entry:
    where = f"tensor {short(name)}"
    if not isinstance(said, dict) or said.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelError(f"{where}: expected dtype, shape and data_offsets, got {short(said)}")
    code, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(code, str) or code not in _ITEM_BYTES:
        more = " (quantised weights need a later version)" if code == "I8" else ""
        raise ModelError(f"{where}: expected dtype {', '.join(_ITEM_BYTES)}, got {short(code)}{more}")
    if not _are_counts(shape) or len(shape) > MOST_AXES or 0 in shape:
        raise ModelError(
            f"{where}: expected a shape of at most {MOST_AXES} axes, each of at least 1, got {short(shape)}"
        )
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ModelError(f"{where}: expected data_offsets [begin, end], got {short(offsets)}")
    begin, end = offsets
    size = math.prod(shape) * _ITEM_BYTES[code]
    if end - begin != size:
        raise ModelError(
            f"{where}: shape {short(shape)} of {code} takes {short(size)} bytes, its data_offsets {short(offsets)} hold others"
        )
    return code, tuple(shape), begin, end


def _are_counts(value: Any) -> bool:
    """A list of integers >= 0 that no file's size can exceed; true and false are none."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)


def _values(name: str, entry: _Entry, body: memoryview) -> NDArray[np.float32]:
    code, shape, begin, end = entry
    part = body[begin:end]
    if code == "BF16":  # the upper half of a float32
        values = (np.frombuffer(part, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(part, "<f2" if code == "F16" else "<f4").astype(np.float32)
    if not np.isfinite(values).all():
        raise ModelError(f"tensor {short(name)}: expected finite values, got NaN or infinity")
    return values.reshape(shape)


def pack(tensors: Mapping[str, NDArray[np.float32]], metadata: dict[str, str], dtype: str) -> bytes:
    """The bytes of a container; ``dtype`` is "float16" or "float32". Raises ModelError for values that float16 cannot hold."""
    header: dict[str, Any] = {"__metadata__": metadata}
    parts, at = [], 0
    for name, values in tensors.items():
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<"))
        if not np.isfinite(stored).all():
            raise ModelError(f"tensor {short(name)}: expected values that {dtype} can hold")
        header[name] = {
            "dtype": _CODES[dtype],
            "shape": list(values.shape),
            "data_offsets": [at, at + stored.nbytes],
        }
        parts.append(stored.tobytes())
        at += stored.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    return struct.pack("<Q", len(text)) + text + b"".join(parts)
