"""Manifests become clips and batches; augmentation keeps the speech, its length limit and its chances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.data import augment
from compress.data.augment import Augmentation
from compress.data.corpus import CorpusError, batches, pad, read_clip, read_corpus
from compress.data.torchaudio_shim import load as torchaudio
from device_asr.errors import UsageError
from device_asr.metrics.clips import Clip
from tests.support import moonshine
from tests.support.paths import ROOT

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def level(audio: np.ndarray) -> float:
    """Mean power in dB, without the edges where filters begin."""
    return 10 * np.log10(np.mean(audio[800:-800] ** 2) + 1e-20)


# -- manifests ---------------------------------------------------------------------------------------


def test_sounds_are_found_beside_the_manifest(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440), RATE)
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": null, "speaker": null, "duration": 1.0}\n')
    (clip,) = read_corpus(tmp_path / "m.jsonl")
    assert clip == Clip(tmp_path / "a.wav", None, None, 1.0)
    assert np.allclose(read_clip(clip), tone(440), atol=1e-4)


def test_a_duration_that_the_manifest_lacks_is_read_from_the_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440), RATE)
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav"}\n')
    assert read_corpus(tmp_path / "m.jsonl")[0].duration == 1.0
    (tmp_path / "m.jsonl").write_text('{"audio": "gone.wav"}\n')
    with pytest.raises(CorpusError, match=r"gone\.wav"):
        read_corpus(tmp_path / "m.jsonl")


def test_no_sound_and_another_rate_are_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.wav"):
        read_clip(Clip(tmp_path / "gone.wav", None, None, 1.0))
    soundfile.write(tmp_path / "a.wav", tone(440), 8000)
    with pytest.raises(CorpusError, match="16000 Hz, found 8000"):
        read_clip(Clip(tmp_path / "a.wav", None, None, 1.0))


@given(lengths=st.lists(st.floats(0.5, 29.0), min_size=1, max_size=300), size=st.integers(1, 16))
@settings(max_examples=50, deadline=None)
def test_every_clip_is_in_one_batch(lengths: list[float], size: int) -> None:
    groups = list(batches(lengths, size, np.random.default_rng(0)))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert max(map(len, groups)) <= size


def test_batches_are_of_like_length() -> None:
    lengths = np.random.default_rng(1).uniform(1, 20, 512).tolist()
    wasted = [
        max(lengths[i] for i in g) - min(lengths[i] for i in g) for g in batches(lengths, 8, np.random.default_rng(0))
    ]
    assert np.mean(wasted) < 3.0  # unsorted: about 15 s


def test_padding_is_whole_positions() -> None:
    stacked, lengths = pad([np.ones(321, np.float32), np.ones(5, np.float32)], 320)
    assert stacked.shape == (2, 640) and lengths.tolist() == [321, 5] and stacked.sum() == 326


# -- torchaudio ----------------------------------------------------------------------------------------


def test_torchaudio_computes_with_or_without_its_compiled_part() -> None:
    import torch

    halved = torchaudio().functional.resample(torch.from_numpy(tone(440)), RATE, RATE // 2)
    assert halved.shape == (RATE // 2,)


def test_a_stand_in_says_why_and_does_not_pretend() -> None:
    from compress.data import torchaudio_shim

    module = torchaudio_shim._stand_in("libcudart.so: not found")
    assert module._IS_TORCHAUDIO_EXT_AVAILABLE is False and "libcudart" in (module.__doc__ or "")
    with pytest.raises(torchaudio_shim.TorchaudioError, match="libcudart"):
        module.fail_if_no_align(tone)(440)


# -- augmentation --------------------------------------------------------------------------------------

EVERYTHING = Augmentation(noise=1, reverb=1, speed=1, telephone=1, clipped=1)


def test_the_same_chance_makes_the_same_sound() -> None:
    first, second, other = (
        EVERYTHING.apply(tone(440), [tone(90)], np.random.default_rng(seed), 30 * RATE) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second) and not np.array_equal(first[:RATE], other[:RATE])


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_longest_clip_stays_within_thirty_seconds(seed: int) -> None:
    audio = np.resize(tone(440), 29 * RATE)
    recorded = EVERYTHING.apply(audio, [tone(90)], np.random.default_rng(seed), 30 * RATE)
    assert recorded.dtype == np.float32 and np.abs(recorded).max() <= 1 and np.isfinite(recorded).all()
    assert 27 * RATE < len(recorded) <= 30 * RATE


def test_all_off_leaves_the_speech_whole_but_for_gain() -> None:
    off = Augmentation(lead=0, tail=0, noise=0, reverb=0, speed=0, telephone=0, clipped=0)
    for seed in range(8):
        recorded = off.apply(tone(440), [], np.random.default_rng(seed), 30 * RATE)
        assert np.corrcoef(recorded, tone(440))[0, 1] > 0.999


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_noise_comes_at_the_level_wanted(snr: float) -> None:
    noise = np.random.default_rng(0).normal(size=RATE // 3).astype(np.float32)
    added = augment.add_noise(tone(440), noise, snr, np.random.default_rng(0)) - tone(440)
    assert level(tone(440)) - level(added) == pytest.approx(snr, abs=0.3)


def test_silent_noise_and_silent_speech_stay_finite() -> None:
    silence, rng = np.zeros(RATE, np.float32), np.random.default_rng(0)
    assert np.array_equal(augment.add_noise(tone(440), silence, 10, rng), tone(440))
    assert np.isfinite(EVERYTHING.apply(silence, [tone(90)], rng, 30 * RATE)).all()


def test_a_room_keeps_length_power_and_onset() -> None:
    audio = np.pad(tone(440), (RATE, 0))
    recorded = augment.convolve(audio, augment.room(np.random.default_rng(0)))
    assert len(recorded) == len(audio) and np.mean(recorded**2) == pytest.approx(np.mean(audio**2), rel=1e-3)
    assert np.abs(recorded[: RATE - 1]).max() < 1e-4 < np.abs(recorded[RATE : RATE + 100]).max()
    assert not np.allclose(recorded, audio, atol=1e-2)


def test_a_telephone_passes_the_voice_band_alone() -> None:
    passed = {hertz: level(augment.telephone(tone(hertz) + tone(1000) * 0.5)) for hertz in (60, 5000)}
    for left in passed.values():
        assert left == pytest.approx(level(tone(1000) * 0.5), abs=1.0)


def test_clipping_cuts_the_peaks_alone() -> None:
    cut = augment.clip(tone(440), 6.0)
    assert np.abs(cut).max() == pytest.approx(0.3 * 10**-0.3, rel=1e-3)
    quiet = np.abs(tone(440)) < 0.1
    assert np.array_equal(cut[quiet], tone(440)[quiet])


def test_speed_changes_the_length() -> None:
    assert len(augment.change_speed(tone(440), 0.95)) == pytest.approx(RATE / 0.95, abs=2)


def test_spec_augment_hides_some_and_changes_nothing_else() -> None:
    import torch

    torch.manual_seed(0)
    mel = torch.rand(4, 300, 80) + 1
    masked = augment.spec_augment(mel)
    hidden = masked == 0
    assert 0.02 < hidden.float().mean() < 0.6 and torch.equal(masked[~hidden], mel[~hidden])


def test_only_a_spectrogram_can_be_masked() -> None:
    augment.prepare_frontend(moonshine.random_network())
    with pytest.raises(
        UsageError, match=r"augment\.masked: wanted .* a spectrogram, found moonshine, which reads samples"
    ):
        augment.prepare_frontend(moonshine.random_network(), 0.2)


@pytest.mark.parametrize("values", [{"noise": 1.5}, {"reverb": -0.1}, {"tail": 9.0}])
def test_an_impossible_fraction_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        Augmentation(**values)


def test_real_speech_is_read(tmp_path: Path) -> None:
    folder = ROOT.parent / "shared" / "speech"
    if not folder.is_dir():
        pytest.skip("needs ../shared/speech")
    clip = read_corpus(folder / "ljspeech-386.jsonl")[1]
    assert len(read_clip(clip)) / RATE == pytest.approx(clip.duration, abs=0.1)
    assert clip.text == json.loads((folder / "ljspeech-386.jsonl").read_text().splitlines()[1])["text"]
