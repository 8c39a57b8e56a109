"""What every runtime does with a program: results, errors, whose memory is whose."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from device_asr.errors import BundleError
from tests.device_asr.runtime.conftest import Opener, opener
from tests.support.tiny_methods import EQUAL, METHODS, WIDTH

RANDOM = np.random.default_rng(1)


def rows(count: int) -> np.ndarray:
    return RANDOM.standard_normal((count, WIDTH)).astype(np.float32)


def test_a_method_returns_its_outputs_in_their_order(open_with: Opener, tiny: Path) -> None:
    positive, sums = open_with(tiny, METHODS).run("affine", rows(3))
    assert (positive.shape, positive.dtype) == ((3, WIDTH), np.float32)
    assert (sums.shape, sums.dtype) == ((3,), np.float32)
    assert (positive >= 0).all() and (sums != 0).all()


def test_a_shape_may_change_from_call_to_call(open_with: Opener, tiny: Path) -> None:
    session = open_with(tiny, METHODS)
    x = rows(9)
    together = session.run("affine", x)[0]
    apart = [session.run("affine", x[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-5)


def test_scalars_and_integers_are_inputs(open_with: Opener, tiny: Path) -> None:
    x = rows(3)
    session = open_with(tiny, METHODS)
    (found,) = session.run("scaled", x, np.array(0.5, np.float32), np.array(7, np.int64))
    np.testing.assert_allclose(found, x * 0.5 + 7, rtol=1e-6)


def test_constants_are_bound_by_name(open_with: Opener, tiny: Path) -> None:
    table = rows(5)
    session = open_with(tiny, METHODS, {"table": table})
    (found,) = session.run("look_up", np.array([4, 2]))
    np.testing.assert_array_equal(found, table[[4, 2]])


def test_read_only_inputs_are_read_in_place(open_with: Opener, tiny: Path, tmp_path: Path) -> None:
    table = rows(5)
    table.tofile(tmp_path / "table")
    mapped = np.memmap(tmp_path / "table", np.float32, "r", shape=table.shape)
    ids = np.array([1, 3])
    ids.setflags(write=False)
    (found,) = open_with(tiny, METHODS, {"table": mapped}).run("look_up", ids)
    np.testing.assert_array_equal(found, table[[1, 3]])


def test_outputs_belong_to_the_caller(open_with: Opener, tiny: Path) -> None:
    session = open_with(tiny, METHODS)
    first = session.run("affine", rows(3))[0]
    kept = first.copy()
    session.run("affine", rows(3))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # writable
    del session
    assert not first.any()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (rows(3).astype(np.float64), "x float64[3, 8]"),
        (np.zeros((3, WIDTH + 1), np.float32), "x float32[3, 9]"),
        (np.zeros((3, WIDTH, 1), np.float32), "x float32[3, 8, 1]"),
        (rows(6)[::2], "x float32[3, 8]"),
    ],
    ids=["dtype", "size", "rank", "strides"],
)
def test_a_refused_input_is_one_sentence(open_with: Opener, tiny: Path, given: np.ndarray, words: str) -> None:
    session = open_with(tiny, METHODS)
    with pytest.raises(BundleError, match=f"^{re.escape(str(tiny))}: the method 'affine' refused the inputs ") as error:
        session.run("affine", given)
    assert words in str(error.value)
    assert session.run("affine", rows(3))[0].shape == (3, WIDTH)  # it goes on


def test_layers_with_equal_integers_keep_their_scales(open_with: Opener, equal: Path) -> None:
    """XNNPACK's cache of packed weights gives the second layer the first one's: it must be off."""
    one, two = open_with(equal, EQUAL).run("equal", RANDOM.standard_normal((4, 64)).astype(np.float32))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)


@pytest.mark.parametrize("content", [b"", b"ET12", bytes(4096)], ids=["empty", "short", "zeros"])
def test_a_file_that_is_no_program_is_one_sentence(open_with: Opener, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "not a program.pte"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"is not a program that ExecuTorch 1.5.* can load \(.+\); build or copy"):
        open_with(path, METHODS)


def test_a_missing_method_is_one_sentence(open_with: Opener, tiny: Path) -> None:
    with pytest.raises(BundleError, match=r"wanted the method 'encode', found .*'affine'.*; build the bundle again"):
        open_with(tiny, {"encode": ("pcm",)})


def test_both_runtimes_compute_the_same_bits(tiny: Path) -> None:
    native, other = opener("native")(tiny, METHODS), opener("executorch")(tiny, METHODS)
    calls = [
        ("affine", rows(1)),
        ("affine", rows(64)),
        ("scaled", rows(3), np.array(-2.5, np.float32), np.array(-4)),
        ("look_up", np.array([0, 4]), rows(5)),
    ]
    for call in calls:
        for ours, theirs in zip(native.run(*call), other.run(*call), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=call[0])
