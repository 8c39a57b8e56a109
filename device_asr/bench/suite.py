"""A whole benchmark: loads, measures, scores, and makes the record that `device_asr.bench.report` describes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from device_asr.bench.memory import peak_memory
from device_asr.bench.noise import KINDS, recognize_noise
from device_asr.bench.peers.known import PEERS
from device_asr.bench.peers.process import Peer
from device_asr.bench.report import Measured, corpus_record, details, noise_record, record
from device_asr.bench.run import Corpus, measure, read_audio, recognize
from device_asr.bench.teacher import read_teacher
from device_asr.config import Config, with_settings
from device_asr.errors import OutputError
from device_asr.events import Seconds
from device_asr.files import WholeFile
from device_asr.hotwords.words import configured_hotwords
from device_asr.metrics.clips import Clip, ManifestError, check_clips, read_manifest

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True)
class TestSet:
    """A manifest, its name in the report, and its clips that are measured."""

    name: str
    path: Path
    clips: Sequence[Clip]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    tail: seconds of silence after each clip. noise: seconds, all kinds together.
    peers: names, see `device_asr.bench.peers.known`.
    teacher: a file of the teacher's texts for each test set, in order; empty: no teacher.
    detail: the file for one JSON object a clip.
    against: settings of the other side by `section.name`, which recognizes the clips too; empty: there is none.
    """

    test_sets: Sequence[TestSet]
    tail: Seconds
    noise: Seconds | None = None
    peers: Sequence[str] = ()
    teacher: Sequence[Path] = ()
    detail: Path | None = None
    against: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Microphone:
    """Recognize a microphone in real time: while `player` plays the clips, or without clips for `seconds`."""

    player: Sequence[str] = ()
    seconds: Seconds | None = None


def read_test_sets(paths: Sequence[Path], limit: int | None) -> list[TestSet]:
    """Manifests with their first `limit` clips, checked.

    Raises:
        ManifestError: one cannot be used, or an audio file is missing.
    """
    found: list[TestSet] = []
    for path in paths:
        clips = read_manifest(path)[:limit]
        problem = check_clips(clips)
        if problem:
            raise ManifestError(f"{path}: {problem}.")
        name = path.name.removesuffix(".jsonl")
        taken = any(test_set.name == name for test_set in found)
        found.append(TestSet(str(path) if taken else name, path, clips))
    return found


def as_fast_as_possible(config: Config, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Measures on the audio clock, with peers and noise; then all clips again without custom words, and otherwise.

    Raises:
        UsageError: `plan.against` names an unknown setting, or a value that is not valid.
    """
    from device_asr.recognition.assemble import assemble

    custom = configured_hotwords(config.decoding)
    other = with_settings(config, plan.against)
    teacher = teacher_texts(plan)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(PEERS[name], config.model.threads)) for name in plan.peers]
        began = perf_counter()
        recognizer = assemble(config)
        load = perf_counter() - began
        corpora = []
        for test_set in plan.test_sets:
            corpora.append(corpus := Corpus(test_set.name, custom=custom))
            results = measure(recognizer, test_set.clips, plan.tail, peers)
            for result in progress.track(results, len(test_set.clips), description=test_set.name):
                corpus.add(result)
        noise = None
        if plan.noise:
            seconds = plan.noise / len(KINDS)
            kinds = progress.track(KINDS, description="noise")
            noise = noise_record([recognize_noise(recognizer, kind, seconds) for kind in kinds])
        memory = peak_memory()  # before scoring, which is not the recognizer's work
        theirs = {peer.name: peer.record() for peer in peers}
    if custom:
        recognize_without(config, plan, corpora, progress)
    if plan.against:
        recognize_against(other, plan, corpora, progress)
    finish(plan, corpora, teacher)
    entries = [corpus_record(corpus) for corpus in corpora]
    return record(config, Measured("audio", plan.tail, load, memory, entries, theirs, plan.against, noise))


def in_real_time(config: Config, plan: Plan, microphone: Microphone | None, progress: Progress) -> dict[str, Any]:
    """Measures on the wall clock in real time, from files or through a microphone."""
    from device_asr.bench.live import files_live, listen_live, microphone_live, realtime_record
    from device_asr.dictation import remote

    custom = configured_hotwords(config.decoding)
    teacher = teacher_texts(plan)
    corpora, runs = [], []
    load = 0.0
    for test_set in plan.test_sets or [TestSet("microphone", Path(), ())]:
        corpora.append(corpus := Corpus(test_set.name, custom=custom))
        began = perf_counter()
        recognizer = remote.load(config)
        load = perf_counter() - began
        task = progress.add_task(f"{test_set.name}, in real time", total=None)
        if microphone is None:
            run = files_live(test_set.clips, recognizer, config, corpus, plan.tail)
        elif test_set.clips:
            run = microphone_live(test_set.clips, recognizer, config, corpus, plan.tail, microphone.player)
        else:
            run = listen_live(microphone.seconds, recognizer, config, corpus)
        progress.remove_task(task)
        runs.append(run)
    finish(plan, corpora, teacher)
    memory = max((run.peak_memory for run in runs if run.peak_memory is not None), default=None)
    realtime = realtime_record(runs, runs[0].device if microphone else "files")
    entries = [corpus_record(corpus) for corpus in corpora]
    return record(config, Measured("wall", plan.tail, load, memory, entries, realtime=realtime))


def recognize_without(config: Config, plan: Plan, corpora: Sequence[Corpus], progress: Progress) -> None:
    """Recognizes every clip once more without custom words, to show their effect; after all timing."""
    from device_asr.recognition.assemble import assemble

    recognizer = assemble(replace(config, decoding=replace(config.decoding, hotwords=None)))
    for test_set, corpus in zip(plan.test_sets, corpora, strict=True):
        for clip in progress.track(test_set.clips, description=f"{test_set.name}, without custom words"):
            corpus.plain.append(recognize(recognizer, read_audio(clip.audio), plan.tail))


def recognize_against(other: Config, plan: Plan, corpora: Sequence[Corpus], progress: Progress) -> None:
    """Recognizes every clip with the settings of the other side too."""
    from device_asr.recognition.assemble import assemble

    recognizer = assemble(other)
    for test_set, corpus in zip(plan.test_sets, corpora, strict=True):
        corpus.against = Corpus(test_set.name)
        results = measure(recognizer, test_set.clips, plan.tail)
        for result in progress.track(results, len(test_set.clips), description=f"{test_set.name}, the other side"):
            corpus.against.add(result)


def teacher_texts(plan: Plan) -> list[list[str]]:
    """The teacher's texts of each test set; empty without a teacher.

    They are read first of all, so that a mistake in them costs no measurement.

    Raises:
        DeviceAsrError: see `read_teacher`.
    """
    return [
        read_teacher(file, test_set.path, test_set.clips)
        for file, test_set in zip(plan.teacher, plan.test_sets, strict=False)
    ]


def finish(plan: Plan, corpora: Sequence[Corpus], teacher: Sequence[list[str]]) -> None:
    """Puts the teacher's texts beside the corpora, and writes `--detail`."""
    for corpus, texts in zip(corpora, teacher, strict=False):
        corpus.teacher = texts
    if plan.detail:
        write_details(plan.detail, corpora)


def write_details(path: Path, corpora: Sequence[Corpus]) -> None:
    """One JSON object a clip; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    file = None
    try:
        file = WholeFile(path)
        for corpus in corpora:
            for entry in details(corpus):
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        file.done()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --detail.") from None
    finally:
        if file is not None:
            file.abandon()
