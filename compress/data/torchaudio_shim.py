"""torchaudio where its compiled part cannot be loaded: with a CPU-only torch.

torchaudio 2.11's Linux wheel is linked against CUDA, so beside a CPU-only torch `import torchaudio`
raises OSError. All that is used here (resampling, noise, convolution, mu-law, masks) is plain
PyTorch, and works once a stand-in for `torchaudio._extension` says that the compiled part is absent.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from device_asr.errors import DeviceAsrError

EXTENSION = "torchaudio._extension"


class TorchaudioError(DeviceAsrError):
    """torchaudio is not installed, or not usable."""


@functools.cache
def load() -> ModuleType:
    """The module torchaudio; the stand-in is used only where the real import failed with OSError.

    Raises:
        TorchaudioError: not installed, or broken in another way.
    """
    try:
        return importlib.import_module("torchaudio")
    except OSError as error:
        reason = error
    except ImportError as error:
        raise TorchaudioError(
            f"torchaudio is wanted for augmentation and cannot be imported ({error}); "
            "run: pip install 'device-asr[compress]'"
        ) from None
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]  # the half-imported package
    sys.modules[EXTENSION] = _stand_in(str(reason))
    try:
        return importlib.import_module("torchaudio")
    except (ImportError, OSError, AttributeError) as error:
        del sys.modules[EXTENSION]
        raise TorchaudioError(
            f"torchaudio cannot be used, with its compiled part ({reason}) or without it "
            f"({error}); wanted torchaudio 2.11 beside torch 2.13."
        ) from None


def _stand_in(reason: str) -> ModuleType:
    module = ModuleType(EXTENSION, f"Stand-in: the compiled part could not be loaded ({reason}).")

    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def fail(*_arguments: Any, **_options: Any) -> Any:
            raise TorchaudioError(
                f"{function.__name__} wants torchaudio's compiled part, which could not be "
                f"loaded ({reason}); install the torch that torchaudio was built for."
            )

        return fail

    module.fail_if_no_align = fail_if_no_align  # type: ignore[attr-defined]
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    module._check_cuda_version = lambda: None  # type: ignore[attr-defined]
    return module
