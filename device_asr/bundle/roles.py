"""Roles: what the inputs and outputs of a method are for.

pcm: (1, samples) float32 at 16 kHz.
tokens: (n,) int64 ids. position: (1,) int64, the cache slot of the first of them.
constant: bytes of the program file.
self_keys[i], self_values[i]: the cache of decoder layer i, (heads, head_dim, slots) and (heads, slots, head_dim)
    float32; as outputs of `decode` its new slots.
cross_keys[i], cross_values[i]: for cross-attention, (heads, head_dim, positions) and (heads, positions, head_dim)
    float32.
logits: (n, ids) float32.
alignment: (heads, n, positions) float32, the attention of the alignment heads.
ctc: (positions, symbols) float32, scores of `device_asr.bundle.symbols`.
state[i]: given to the next call as the last one returned it.
probability: (1, 1) float32, that the audio holds speech.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

PCM, TOKENS, POSITION, CONSTANT = "pcm", "tokens", "position", "constant"
LOGITS, ALIGNMENT, CTC, PROBABILITY = "logits", "alignment", "ctc", "probability"
SELF_KEYS, SELF_VALUES, CROSS_KEYS, CROSS_VALUES, STATE = (
    "self_keys",
    "self_values",
    "cross_keys",
    "cross_values",
    "state",
)
_NUMBERED = re.compile(r"([a-z_]+)\[(\d{1,4})\]")


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of a method's inputs, or of its outputs.

    one: roles that exactly one tensor has. may: roles that one tensor may have. many: roles with a number, from 0 on.
    constants: whether tensors may be constants.
    """

    one: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    many: tuple[str, ...] = ()
    constants: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """All roles, as a person reads them."""
        constants = (CONSTANT,) if self.constants else ()
        return (*self.one, *self.may, *constants, *(f"{role}[i]" for role in self.many))

    def knows(self, role: str) -> bool:
        """Whether a tensor may have this role."""
        numbered = _NUMBERED.fullmatch(role)
        return role in self.known or (numbered is not None and numbered[1] in self.many)


def numbered(role: str, found: Iterable[str]) -> list[str]:
    """The roles `role[i]` among those found, in the order of their numbers."""
    return list(_numbered(role, tuple(found)))


@lru_cache(1024)  # asked for every token
def _numbered(role: str, found: tuple[str, ...]) -> tuple[str, ...]:
    parts = [(int(match[2]), one) for one in found if (match := _NUMBERED.fullmatch(one)) and match[1] == role]
    return tuple(one for _, one in sorted(parts))


def nth(role: str, number: int) -> str:
    """The role with its number: `self_keys[3]`."""
    return f"{role}[{number}]"


def tensor(
    name: str, role: str, shape: Sequence[int | str], dtype: str = "float32", start: Any = None
) -> dict[str, Any]:
    """An input or output as the manifest describes it; `start` is left out where it is None."""
    described = {"name": name, "role": role, "shape": list(shape), "dtype": dtype}
    return described if start is None else {**described, "start": start}


# program and method -> the roles of its inputs and of its outputs
METHODS: dict[tuple[str, str], tuple[Roles, Roles]] = {
    ("speech", "encode"): (Roles((PCM,), constants=True), Roles(many=(CROSS_KEYS, CROSS_VALUES))),
    ("speech", "decode"): (
        Roles((TOKENS, POSITION), many=(SELF_KEYS, SELF_VALUES, CROSS_KEYS, CROSS_VALUES), constants=True),
        Roles((LOGITS,), (ALIGNMENT,), (SELF_KEYS, SELF_VALUES)),
    ),
    ("speech", "stream"): (
        Roles((PCM,), many=(STATE,), constants=True),
        Roles(may=(CTC,), many=(CROSS_KEYS, CROSS_VALUES, STATE)),
    ),
    ("vad", "step"): (Roles((PCM,), many=(STATE,), constants=True), Roles((PROBABILITY,), many=(STATE,))),
}
