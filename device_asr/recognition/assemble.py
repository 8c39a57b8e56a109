"""Assembles a recognizer: the one place that chooses and connects its parts.

The program, the benchmarks and the tests use it; the parts that they replace are its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import Bundle, load
from device_asr.bundle.features import gives
from device_asr.bundle.roles import CTC
from device_asr.config import Config
from device_asr.decoding.decoder import Decoder
from device_asr.errors import UsageError
from device_asr.events import Seconds
from device_asr.hotwords.biasing import Biasing
from device_asr.hotwords.spotter import Spotter
from device_asr.hotwords.words import configured_hotwords
from device_asr.recognition.align_att import AlignAtt
from device_asr.recognition.endpoint import longest_utterance
from device_asr.recognition.local_agreement import LocalAgreement
from device_asr.recognition.protocol import PartialPolicy, UtteranceEncoder
from device_asr.recognition.recognizer import StreamingRecognizer
from device_asr.recognition.stream_encoder import StreamEncoder
from device_asr.recognition.vad import VoiceActivityDetector
from device_asr.recognition.whole_utterance import WholeUtterance
from device_asr.runtime.session import Session

SHORTEST_CUT: Seconds = 5.0  # the least that endpoint.longest_utterance_s may be


@dataclass(frozen=True)
class StreamProgram:
    """A method `stream`: its description as in a manifest, and the session that runs it."""

    method: Mapping[str, Any]
    session: Session


def assemble(
    config: Config,
    *,
    bundle: Bundle | None = None,
    stream: StreamProgram | None = None,
    wrap_stream: Callable[[Session], Session] | None = None,
    make_encoder: Callable[[Mapping[str, Any], Session, int], StreamEncoder] = StreamEncoder,
) -> StreamingRecognizer:
    """Builds the recognizer that the settings ask for.

    Where the model has no method `stream`, its partials encode the utterance again and again. An utterance is cut
    where it is the longest that the model takes, if that is shorter than the settings' longest.

    Args:
        bundle: the model; None: the one that `config.model` names.
        stream: takes the place of the bundle's own method `stream`.
        wrap_stream: makes the session of `stream` from the real one; called only where utterances are streamed.
        make_encoder: makes the streaming encoder of a method's description, its session, and the most positions of
            an utterance.

    Raises:
        BundleError: the bundle is missing, damaged, incomplete, or of a newer format.
        UsageError: the settings ask for what the model has not.
    """
    bundle = bundle or load(config.model.name, verify=not config.model.fast)
    config = _fitted(config, bundle)
    detector = VoiceActivityDetector(bundle.method(bundle.session("vad", config.model.threads), "vad", "step"))
    session = bundle.session("speech", config.model.threads)
    decoder = Decoder(bundle, session, config.decoding)
    if stream is None and bundle.stream is not None:
        stream = StreamProgram(bundle.stream, session)

    def streaming_encoder(program: StreamProgram) -> StreamEncoder:
        wrapped = wrap_stream(program.session) if wrap_stream else program.session
        return make_encoder(program.method, wrapped, _capacity(bundle, config))

    _check_finals(config, bundle, stream)
    streaming = streaming_encoder(stream) if stream and _wants_stream(config) else None
    words = configured_hotwords(config.decoding)
    custom = None
    if words:
        spotting = _stream_for_hotwords(stream, bundle)
        spotted = streaming or streaming_encoder(spotting)
        custom = Biasing(Spotter(words), spotted, decoder.vocabulary, shared=streaming is not None)
    encoder: UtteranceEncoder = streaming or WholeUtterance()
    policy: PartialPolicy = (
        AlignAtt(decoder, streaming, config.partial)
        if streaming and bundle.aligns
        else LocalAgreement(decoder, encoder, config.partial)
    )
    return StreamingRecognizer(detector, decoder, encoder, policy, config, custom)


def _methods(bundle: Bundle) -> Mapping[str, Any]:
    """The manifest's description of each method of the speech program."""
    methods: Mapping[str, Any] = bundle.manifest["programs"]["speech"]["methods"]
    return methods


def _capacity(bundle: Bundle, config: Config) -> int:
    """Positions of the longest utterance."""
    samples = longest_utterance(config.endpoint) * SAMPLE_RATE
    return math.ceil(samples / bundle.speech.samples_per_position) + 1


def _fitted(config: Config, bundle: Bundle) -> Config:
    """The settings, whose longest utterance is no longer than the model takes; UsageError where it takes too little."""
    endpoint = config.endpoint
    beside = longest_utterance(endpoint) - endpoint.longest_utterance_s
    most = math.floor(10 * (bundle.speech.longest - beside)) / 10
    if endpoint.longest_utterance_s <= most:
        return config
    if most < SHORTEST_CUT:
        raise UsageError(
            f"{bundle.name} takes utterances of {bundle.speech.longest:.1f} s at most; wanted "
            f"{SHORTEST_CUT + beside:.1f} s or more (5 s, the pre-roll endpoint.preroll_ms, and 1 s to spare); choose "
            "another --model."
        )
    return replace(config, endpoint=replace(endpoint, longest_utterance_s=most))


def _wants_stream(config: Config) -> bool:
    """Whether partials or finals are to come from the stream."""
    return config.final.mode == "stream" or (config.partial.enabled and config.partial.mode == "stream")


def _check_finals(config: Config, bundle: Bundle, stream: StreamProgram | None) -> None:
    """UsageError where finals are to come from the stream, and there is none."""
    if config.final.mode != "stream":
        return
    if config.partial.enabled and config.partial.mode != "stream":
        raise UsageError(
            f"final.mode = stream wants partial.mode = stream, found {config.partial.mode}; "
            "the positions of the stream are there only where it is encoded."
        )
    if stream is None:
        raise UsageError(
            f"final.mode = stream wants a model with the method stream, found {', '.join(_methods(bundle))} in "
            f"{bundle.name}; choose another --model, or final.mode = full."
        )


def _stream_for_hotwords(stream: StreamProgram | None, bundle: Bundle) -> StreamProgram:
    """The stream, whose CTC head spots custom words; UsageError where it has none, or words have no place."""
    if stream is None:
        lacking = f"the method stream, found {', '.join(_methods(bundle))}"
    elif not gives(stream.method, CTC):
        lacking = "a ctc output of the method stream, found none"
    elif not bundle.aligns:
        lacking = "an alignment output of the method decode, found none"
    else:
        return stream
    raise UsageError(
        f"Hotwords want a model with {lacking} in {bundle.name}; choose another --model, or leave out --hotwords "
        "(decoding.hotwords)."
    )
