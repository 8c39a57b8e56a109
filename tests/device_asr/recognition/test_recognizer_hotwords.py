"""Custom words from the setting to the events: a tiny random network, real audio, given scores of the CTC head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.bundle.bundle import Bundle
from device_asr.bundle.symbols import BLANK, SYMBOLS, spell
from device_asr.commands.transcribe import command
from device_asr.config import load as load_config
from device_asr.errors import UsageError
from device_asr.events import Event, Final, Partial
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS
from tests.support.tiny_network import SECOND

TIMER = ASSETS / "timer.flac"
FIRST = 10  # the frame from which it is emitted
# frames from one symbol to the next: the words of a network that knows nothing lie anywhere, those of its partials
# early, the first of its final is long
QUICK, SLOW = 4, 18
SAID = "ohio"


def said() -> np.ndarray:
    speech = soundfile.read(TIMER, dtype="float32")[0]
    return np.concatenate([np.zeros(SECOND // 2, np.float32), speech, np.zeros(3 * SECOND // 2, np.float32)])


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("# places\nOhio\nZurich\t2\n")
    return path


class Scored:
    """The real session, but in every utterance its CTC head emits `SAID`, from frame `FIRST` on."""

    streams = 0
    step = SLOW

    def __init__(self, session: object) -> None:
        self._session = session

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        outputs = self._session.run(method, *arrays)
        if method != "stream":
            return outputs
        type(self).streams += 1
        scores = np.full_like(outputs[0], -12.0)
        for row, frame in zip(scores, range(int(arrays[1][0]), int(arrays[1][0]) + len(scores)), strict=True):
            symbol, between = divmod(frame - FIRST, self.step)
            emitted = 0 <= symbol < len(SAID) + 2 and not between
            row[[SYMBOLS.index(" ") + 1, *spell(SAID), SYMBOLS.index(" ") + 1][symbol] if emitted else BLANK] = 0.0
        return [scores, *outputs[1:]]


@pytest.fixture(autouse=True)
def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scored, "step", SLOW)
    real = Bundle.session
    monkeypatch.setattr(
        Bundle,
        "session",
        lambda bundle, program, threads: (
            Scored(real(bundle, program, threads)) if program == "speech" else real(bundle, program, threads)
        ),
    )


def recognize(bundle: Path, words: Path | None, cuts: Sequence[int] = (), **flags: object) -> list[Event]:
    named = {key.replace("__", "."): value for key, value in flags.items()}
    config = load_config(
        environ={},
        flags={
            "model.name": str(bundle),
            "model.threads": 1,
            "partial.interval_ms": 96,
            "decoding.hotwords": words and str(words),
            **named,
        },
    ).config
    recognizer = assemble(config)
    events = [event for piece in np.split(said(), sorted(cuts)) for event in recognizer.feed(piece)]
    return events + recognizer.finish()


def finals(events: Sequence[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def test_they_stand_in_the_final_and_all_else_is_what_it_was(bundle: Path, words: Path) -> None:
    (plain,), (final,) = finals(recognize(bundle, None)), finals(recognize(bundle, words))
    assert "Ohio" in final.text.split() and "Zurich" not in final.text
    assert " ".join(word.text for word in final.words) == final.text
    assert final.confidence == plain.confidence and final.end == plain.end
    kept = [word for word in plain.words if word.text in final.text.split()]
    assert [word for word in final.words if word.text != "Ohio"] == kept


def test_they_stand_in_partials_and_what_was_committed_stays(bundle: Path, words: Path) -> None:
    Scored.step = QUICK
    partials = [event for event in recognize(bundle, words, partial__holdback_ms=0) if isinstance(event, Partial)]
    assert "Ohio" in partials[-1].text.split()
    committed = ""
    for partial in partials:
        assert partial.text.startswith(partial.committed) and partial.committed.startswith(committed)
        committed = partial.committed
    assert committed


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_the_same_events_whatever_the_chunking(
    data: st.DataObject, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    words = tmp_path_factory.mktemp("words") / "words.txt"
    words.write_text("Ohio\nHi\t10\n")
    cuts = data.draw(st.lists(st.integers(0, len(said())), max_size=40))
    assert recognize(bundle, words, cuts) == recognize(bundle, words)


@pytest.mark.parametrize(
    "flags",
    [{"partial__enabled": False}, {"partial__mode": "reencode"}, {"partial__enabled": False, "final__mode": "stream"}],
)
def test_the_final_has_them_where_partials_do_not_come_from_the_stream(
    bundle: Path, words: Path, flags: dict[str, object]
) -> None:
    Scored.streams = 0
    (final,) = finals(recognize(bundle, words, **flags))
    assert "Ohio" in final.text.split()
    assert 0 < Scored.streams <= len(said()) / (8 * 320) + 1, "it was encoded once"


def test_a_list_that_holds_nothing_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("# to come\n")
    assert recognize(bundle, tmp_path / "none.txt") == recognize(bundle, None)


def test_a_model_without_a_ctc_head_is_refused(bundle: Path, words: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "plain")
    path = tmp_path / "plain" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["programs"]["speech"]["methods"]["stream"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        UsageError,
        match=r"Hotwords want a model with the method stream, found encode, decode in tiny; "
        r"choose another --model, or leave out --hotwords",
    ):
        recognize(tmp_path / "plain", words)


def test_file_environment_and_flag_name_the_same_setting(bundle: Path, words: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[decoding]\nhotwords = "{words}"\n')
    audio = tmp_path / "said.wav"
    soundfile.write(audio, said(), SECOND)
    ways = [
        (["--config", str(config)], {}),
        ([], {"DEVICE_ASR_DECODING_HOTWORDS": str(words)}),
        (["--hotwords", str(words)], {}),
        (["--set", f"decoding.hotwords={words}"], {}),
    ]
    base = ["--model", str(bundle), "--threads", "1", str(audio)]
    texts = [
        CliRunner().invoke(command, [*base, *flags], env=environment, catch_exceptions=False).stdout
        for flags, environment in ways
    ]
    assert "Ohio" in texts[0] and len(set(texts)) == 1
    loaded = load_config(environ={}).config
    assert replace(loaded.decoding, hotwords="") == loaded.decoding, "empty: none"
