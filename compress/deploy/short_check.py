"""Runs each method of a model a few times and prints what it chose; it runs here and on the device.

    python short_check.py MODEL AUDIO.npy

MODEL is the folder of a bundle, AUDIO.npy speech as (n,) float32 at 16 kHz. One JSON object is printed:
    speech: whether each of the first 32 ms steps holds speech; text, tokens: of four greedy steps of the decoder;
    symbols: the likeliest CTC symbol of each position of two chunks, empty where the model cannot stream;
    dot_products: whether the processor says that it has them; null: it does not say. seconds: of the computation.
The machines' tensors differ by up to 12 % of their largest value, because XNNPACK rounds differently in the kernels
of each processor; what is chosen does not.
"""

from __future__ import annotations

import json
import platform
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.bundle.bundle import Bundle, load
from device_asr.bundle.roles import (
    CROSS_KEYS,
    CROSS_VALUES,
    CTC,
    LOGITS,
    PCM,
    POSITION,
    PROBABILITY,
    SELF_KEYS,
    SELF_VALUES,
    TOKENS,
    numbered,
)
from device_asr.runtime.session import Session

VAD_STEPS, DECODE_STEPS, CHUNKS = 3, 4, 2
AT_HWCAP, ASIMDDP = 16, 1 << 20  # <elf.h>, and arm64's <asm/hwcap.h>


def check(bundle: Bundle, pcm: np.ndarray) -> dict[str, Any]:
    """What the methods choose for the audio; see the module."""
    begun = time.process_time()
    speech = bundle.session("speech", 1)
    tokens, text = decode(bundle, speech, pcm)
    found = {
        "speech": voice_activity(bundle, pcm),
        "tokens": tokens,
        "text": text,
        "symbols": stream(bundle, speech, pcm),
        "dot_products": dot_products(),
    }
    return {**found, "seconds": round(time.process_time() - begun, 2)}


def voice_activity(bundle: Bundle, pcm: np.ndarray) -> list[bool]:
    """Whether each of the first steps holds speech."""
    step = bundle.method(bundle.session("vad", 1), "vad", "step")
    size, state, found = int(step.inputs[PCM]["shape"][1]), step.state(), []
    for at in range(0, VAD_STEPS * size, size):
        outputs = step({PCM: np.ascontiguousarray(pcm[None, at : at + size]), **state})
        state = {role: outputs[role] for role in state}
        found.append(float(outputs[PROBABILITY].reshape(-1)[0]) >= 0.5)
    return found


def decode(bundle: Bundle, session: Session, pcm: np.ndarray) -> tuple[list[int], str]:
    """The tokens and the text of the first greedy steps; the first of them reads the prompt."""
    encode, step = (bundle.method(session, "speech", name) for name in ("encode", "decode"))
    whole = len(pcm) - len(pcm) % int(bundle.manifest["speech"]["samples_per_position"])
    cross = encode({PCM: np.ascontiguousarray(pcm[None, :whole])})
    cross = {role: cross[role] for role in (*numbered(CROSS_KEYS, cross), *numbered(CROSS_VALUES, cross))}
    keys, values = numbered(SELF_KEYS, step.inputs), numbered(SELF_VALUES, step.inputs)
    caches = {role: np.zeros(step.inputs[role]["shape"], np.float32) for role in (*keys, *values)}
    vocabulary = bundle.vocabulary()
    given, position, tokens = list(vocabulary.prompt), 0, []
    for _ in range(DECODE_STEPS):
        now = {TOKENS: np.asarray(given, np.int64), POSITION: np.asarray([position], np.int64)}
        outputs = step({**now, **caches, **cross})
        end = position + len(given)
        for role in keys:
            caches[role][:, :, position:end] = outputs[role]
        for role in values:
            caches[role][:, position:end] = outputs[role]
        given, position = [int(outputs[LOGITS][-1, : len(vocabulary.tokens)].argmax())], end
        tokens += given
    return tokens, vocabulary.decode(tokens)


def stream(bundle: Bundle, session: Session, pcm: np.ndarray) -> list[int]:
    """The likeliest symbol of each position that the first chunks return, without those before the audio."""
    if bundle.stream is None:
        return []
    method, found = bundle.method(session, "speech", "stream"), []
    size, state = int(method.inputs[PCM]["shape"][1]), method.state()
    before = look_ahead = int(bundle.stream["look_ahead"])
    for at in range(0, CHUNKS * size, size):
        outputs = method({PCM: np.ascontiguousarray(pcm[None, at : at + size]), **state})
        state = {role: outputs[role] for role in state}
        found += outputs[CTC][max(0, before) :].argmax(axis=1).tolist()
        before -= len(outputs[CTC]) - look_ahead
    return found


def dot_products() -> bool | None:
    """Whether an ARM processor tells programs that it has int8 dot products; None: another processor."""
    if platform.machine() != "aarch64":
        return None
    pairs = struct.iter_unpack("QQ", Path("/proc/self/auxv").read_bytes())
    return any(kind == AT_HWCAP and bool(value & ASIMDDP) for kind, value in pairs)


if __name__ == "__main__":
    print(json.dumps(check(load(sys.argv[1]), np.load(sys.argv[2]))))
