"""Which runtime computes, and which model."""

from __future__ import annotations

from device_asr.bundle.bundle import Bundle
from device_asr.doctor.check import OK, WARNING, Check
from device_asr.runtime.session import Runtime


def check_runtime(runtime: Runtime) -> Check:
    """What runs the programs; a warning where it is the slower one because the other cannot be loaded."""
    figures = {
        "name": runtime.name,
        "version": runtime.version,
        "instructions": list(runtime.instructions),
        "reason": runtime.reason,
        "fallback": runtime.fallback,
    }
    says = f"{runtime.name}, ExecuTorch {runtime.version}; {runtime.reason}"
    if runtime.fallback:
        return Check("runtime", WARNING, f"{says}. It takes more memory and processor time.", figures)
    return Check("runtime", OK, f"{says}.", figures)


def check_model(bundle: Bundle) -> Check:
    """The model; without the method `stream` its partials cost much more."""
    streams = bundle.stream is not None
    figures = {"name": bundle.name, "path": str(bundle.path), "bytes": bundle.size, "streams": streams}
    how = "encodes speech while it goes on" if streams else "encodes an utterance again for every partial"
    return Check("model", OK, f"{bundle.name}, {bundle.size / 1e6:.1f} MB, {how}.", figures)
