"""The composition root: the settings choose the parts, and the parts that are passed in are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from device_asr.bundle.bundle import Bundle, load
from device_asr.config import Config
from device_asr.config import load as load_config
from device_asr.errors import UsageError
from device_asr.recognition.align_att import AlignAtt
from device_asr.recognition.assemble import StreamProgram, assemble
from device_asr.recognition.local_agreement import LocalAgreement
from device_asr.recognition.stream_encoder import StreamEncoder
from device_asr.recognition.whole_utterance import WholeUtterance
from device_asr.runtime.session import Session
from tests.support.changed_bundle import Change, changed, drop, says

AGREED = (StreamEncoder, LocalAgreement)
STREAMED, WHOLE = (StreamEncoder, AlignAtt), (WholeUtterance, LocalAgreement)


def settings(bundle: Path, **flags: object) -> Config:
    named = {key.replace("__", "."): value for key, value in flags.items()}
    return load_config(environ={}, flags={"model.name": str(bundle), "model.threads": 1, **named}).config


def without_stream(bundle: Path) -> Bundle:
    opened = load(str(bundle), verify=False)
    speech = opened.manifest["programs"]["speech"]
    methods = {name: method for name, method in speech["methods"].items() if name != "stream"}
    programs = {**opened.manifest["programs"], "speech": {**speech, "methods": methods}}
    return Bundle(opened.path, {**opened.manifest, "programs": programs})


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({}, STREAMED),
        ({"partial__mode": "reencode"}, WHOLE),
        ({"partial__enabled": False}, WHOLE),
        ({"final__mode": "stream"}, STREAMED),
        ({"final__mode": "stream", "partial__enabled": False}, STREAMED),
        ({"final__mode": "stream", "partial__enabled": False, "partial__mode": "reencode"}, STREAMED),
    ],
)
def test_the_settings_choose_the_parts(bundle: Path, flags: dict[str, Any], parts: tuple[type, type]) -> None:
    wrapped: list[Session] = []

    def wrap(session: Session) -> Session:
        wrapped.append(session)
        return session

    made = assemble(settings(bundle, **flags), wrap_stream=wrap)
    assert (type(made._encoder), type(made._policy)) == parts
    assert len(wrapped) == (parts == STREAMED), "a session is wrapped where it streams"


def test_without_the_method_stream_utterances_are_encoded_whole(bundle: Path) -> None:
    made = assemble(settings(bundle), bundle=without_stream(bundle))
    assert (type(made._encoder), type(made._policy)) == WHOLE


def test_a_stream_that_is_passed_in_takes_the_place_of_the_bundles_own(bundle: Path) -> None:
    own = load(str(bundle), verify=False)
    stream = StreamProgram(own.manifest["programs"]["speech"]["methods"]["stream"], own.session("speech", 1))
    wrapped: list[Session] = []

    def wrap(session: Session) -> Session:
        wrapped.append(session)
        return session

    made = assemble(settings(bundle), bundle=without_stream(bundle), stream=stream, wrap_stream=wrap)
    assert isinstance(made._encoder, StreamEncoder) and wrapped == [stream.session]
    assert isinstance(made._policy, AlignAtt)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ([drop("ctc", "stream")], STREAMED),
        ([drop("alignment", "decode")], AGREED),
        ([drop("alignment", "decode"), drop("ctc", "stream")], AGREED),
    ],
)
def test_a_stream_is_used_without_its_ctc_head_and_without_alignment(
    bundle: Path, changes: list[Change], parts: tuple[type, type]
) -> None:
    made = assemble(settings(bundle), bundle=changed(bundle, *changes))
    assert (type(made._encoder), type(made._policy)) == parts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("ctc", "stream"), "a ctc output of the method stream, found none in tiny"),
        (drop("alignment", "decode"), "an alignment output of the method decode, found none in tiny"),
    ],
)
def test_custom_words_want_a_ctc_head_and_alignment(bundle: Path, tmp_path: Path, change: Change, words: str) -> None:
    (tmp_path / "words").write_text("stone\n")
    wanted = settings(bundle, decoding__hotwords=str(tmp_path / "words"))
    with pytest.raises(UsageError, match=f"Hotwords want a model with {words}; choose another --model"):
        assemble(wanted, bundle=changed(bundle, change))


def test_an_utterance_is_cut_where_the_model_takes_no_more(bundle: Path) -> None:
    wanted = settings(bundle, endpoint__preroll_ms=300)
    short = assemble(wanted, bundle=changed(bundle, says(positions=500)))  # 10 s, of which 1.3 s are beside
    assert short._config.endpoint.longest_utterance_s == pytest.approx(8.7)
    with pytest.raises(UsageError, match=r"takes utterances of 4\.0 s at most; wanted 6\.3 s or more"):
        assemble(wanted, bundle=changed(bundle, says(positions=200)))
