"""What people are told of a program that cannot be loaded or run, by whichever runtime."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from device_asr.errors import BundleError


def not_a_program(path: Path, version: str, error: Exception) -> BundleError:
    """ExecuTorch cannot load the file."""
    return BundleError(
        f"{path} is not a program that ExecuTorch {version} can load ({error}); build or copy the bundle again."
    )


def check_methods(path: Path, wanted: Iterable[str], found: Iterable[str]) -> None:
    """Checks that the program has every method.

    Raises:
        BundleError: it lacks one.
    """
    found = sorted(found)
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise BundleError(f"{path}: wanted the method {missing[0]!r}, found {found}; build the bundle again.")


def not_loaded(path: Path, method: str, error: Exception) -> BundleError:
    """ExecuTorch cannot prepare the method."""
    return BundleError(f"{path}: the method {method!r} cannot be loaded ({error}); build or copy the bundle again.")


def refused(
    path: Path, method: str, names: Sequence[str], inputs: Sequence[np.ndarray], error: Exception
) -> BundleError:
    """ExecuTorch refuses the inputs, or fails while it computes."""
    found = ", ".join(f"{name} {i.dtype}{list(i.shape)}" for name, i in zip(names, inputs, strict=True))
    return BundleError(f"{path}: the method {method!r} refused the inputs {found}: {error}")
