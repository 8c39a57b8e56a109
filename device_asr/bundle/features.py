"""Features of a model that depend on roles and ids that its manifest may leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from device_asr.bundle.roles import ALIGNMENT, CTC


def gives(method: Mapping[str, Any], role: str) -> bool:
    """Whether an output of the method has the role."""
    return any(tensor["role"] == role for tensor in method["outputs"])


def absent(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each feature that the model does not have."""
    methods = manifest["programs"]["speech"]["methods"]
    if not gives(methods["decode"], ALIGNMENT):
        yield (
            "No word times and no custom words: the program has no alignment output; partials commit the words on "
            "which successive ones agree."
        )
    if "stream" not in methods:
        yield (
            "No streaming and no custom words: the program has no method stream; partials encode the utterance so far "
            "again."
        )
    elif not gives(methods["stream"], CTC):
        yield (
            "No custom words: the program has no ctc output of the method stream; partials are sought with every "
            "chunk, and silence is found by the voice activity detector alone."
        )
    if manifest["speech"]["no_speech"] is None:
        yield "No check for silence: the vocabulary has no no-speech token; text is judged by its probability alone."
