"""A real trial: the candidate's recipe is built into a bundle, which is measured through the runtime."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from compress.checkpoints.load import load_checkpoint
from compress.data.corpus import CorpusError, read_clip
from compress.data.labels import in_full_context
from compress.data.training_data import Progress, TrainingData, choose_clips
from compress.evaluate.measurement import Measurement
from compress.networks.checkpoint import Checkpoint
from compress.recipe.build import beginning, build
from compress.recipe.recipe import Recipe
from compress.recipe.techniques import settings_of
from compress.search.card import measured_card
from compress.search.device_profile import DeviceProfile, misses
from compress.search.outcome import Outcome
from compress.search.profile import measured
from compress.search.search import CheckLoss, Cut, Plan, search
from compress.search.space import Candidate, Space, space_of, student_dims
from compress.settings import key
from device_asr.bundle import bundle as bundles
from device_asr.metrics.clips import Clip, read_manifest

LOSS_CLIPS = 6  # of the measured manifest, for the look before training: about 5 s of computation with tiny.en
STRUCTURE = "narrow"  # the technique that removes layers, heads and channels


def text_loss(checkpoint: Checkpoint, clips: Sequence[Clip]) -> float:
    """Nats a character of the clips' texts, given the clips in the context of the family's teachers.

    By character, so that vocabularies of different sizes compare.

    Raises:
        CorpusError: no clip has a text, or an audio file cannot be read.
    """
    family = checkpoint.family_of()
    network, tokens_of = checkpoint.network(), family.token_encoder(checkpoint.vocabulary)
    vocabulary, nats, characters = checkpoint.vocabulary, 0.0, 0
    for clip in clips:
        if not clip.text:
            continue
        ids = [*tokens_of(" " + clip.text.strip()), vocabulary.end][: checkpoint.dims.text_ctx - len(vocabulary.prompt)]
        pcm, lengths = in_full_context([read_clip(clip)], family)
        tokens = torch.tensor([[*vocabulary.prompt, *ids[:-1]]])
        with torch.no_grad():
            logits = network(pcm, tokens, lengths)[0, len(vocabulary.prompt) - 1 :]
        nats += float(F.cross_entropy(logits, torch.tensor(ids), reduction="sum"))
        characters += len(clip.text)
    if not characters:
        raise CorpusError(f"Wanted clips with texts to measure a loss on, found none among {len(clips)}.")
    return nats / characters


@dataclass(frozen=True)
class Trials:
    """Builds and measures candidates.

    base: the recipe whose other settings (clips, rates, temperature...) every trial keeps.
    manifest: trials are measured on its first `limit` clips (None: all). corpus, noise: see `build`.
    work: stages, labels and bundles are kept there.
    """

    base: Recipe
    manifest: Path
    limit: int | None
    corpus: Path | None
    noise: Path | None
    work: Path
    progress: Progress

    @cached_property
    def teacher(self) -> Checkpoint:
        """The teacher's checkpoint."""
        return load_checkpoint(self.base.teacher)

    @cached_property
    def first(self) -> Checkpoint:
        """The checkpoint that every trial begins with."""
        return beginning(self.base, self.teacher)[0]

    @cached_property
    def clips(self) -> list[Clip]:
        """The clips that trials are measured on."""
        return read_manifest(self.manifest)[: self.limit]

    def check(self) -> None:
        """Checks, before any work, that the clips and the training data are there.

        Raises:
            CheckpointError, ManifestError, CorpusError: teacher or clips are missing or unusable.
        """
        if not any(clip.text for clip in self.clips):
            raise CorpusError(f"{self.manifest}: wanted clips with texts to measure WER on, found none.")
        for clip in self.clips:
            if not clip.audio.is_file():
                raise CorpusError(f"{self.manifest}: the audio file {clip.audio} is missing.")
        if any(technique.learns(settings) for technique, settings in map(settings_of, self.base.stages)):
            choose_clips(self.corpus, self.base.corpus)

    def space(self) -> Space:
        """The settings that vary for this teacher."""
        return space_of(
            self.first.dims,
            len(self.first.vocabulary.tokens),
            distill=any(table["do"] == "distill" for table in self.base.stages),
        )

    def recipe(self, candidate: Candidate) -> Recipe:
        """The base recipe with the candidate's settings in it."""
        varied, quantize = {"vocabulary", STRUCTURE, "distill"}, candidate.plan.to_table()
        stages: list[Mapping[str, Any]] = [{"do": "vocabulary", "size": candidate.vocabulary}]
        layer = student_dims(self.first.dims, candidate).decoder[0]
        stages.append(
            {
                "do": STRUCTURE,
                "encoder_layers": candidate.encoder_layers,
                "decoder_layers": candidate.decoder_layers,
                "heads": layer.heads,
                "ffn": layer.ffn,
                # without training, a head of six less: loss 0.4 so, 5.0 by magnitude (importance.py)
                "importance": "taylor" if self.base.corpus else "magnitude",
            }
        )
        stages += [table for table in self.base.stages if table["do"] not in varied]
        if candidate.epochs:
            training = [table for table in self.base.stages if table["do"] == "distill"][-1]
            rounding = {"qat": quantize} if candidate.bits == 4 else {}  # 44 steps of it: 23.5 -> 19.0 % WER
            stages.append({**training, "epochs": candidate.epochs, **rounding})
        return replace(
            self.base, name=f"{self.base.name}-{candidate.key}", stages=stages, quantize=quantize, base=False
        )

    def __call__(self, candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        """Builds the candidate's bundle, unless an earlier run has, and measures it.

        Raises:
            Cut: the loss is hopeless, or the bundle is too large.
            DeviceAsrError: a stage or the benchmark failed.
        """
        recipe, out = self.recipe(candidate), self.work / "bundles" / candidate.key
        if not (out / "manifest.json").is_file():
            self.progress("fp32 loss", None, "")
            check_loss(self._loss(recipe))
            build(recipe, out, self.work / "build", self.corpus, self.noise, self.progress)
        bundle = bundles.load(str(out), verify=False)
        size = Measurement(
            candidate.key, parameters=int(bundle.manifest["parameters"]), bytes=bundle.size, bundle=str(out)
        )
        over = misses(size, device)
        if over:
            shutil.rmtree(out)
            raise Cut(f"built {over[0]}", replace(size, bundle=""))
        self.progress("bench", None, "")
        return measured(str(out), self.manifest, device.threads, self.limit)

    def _loss(self, recipe: Recipe) -> float:
        """The fp32 loss of the pruned network before it is trained."""
        data = TrainingData(
            self.teacher, recipe.corpus, self.corpus, self.noise, self.work / "build" / "labels", self.progress
        )
        checkpoint = self.first
        for table in recipe.stages:
            technique, settings = settings_of(table)
            if table["do"] == "distill":
                break
            checkpoint, _ = technique.run(checkpoint, settings, data, self.work / "look")
        return text_loss(checkpoint, [clip for clip in self.clips if clip.text][:LOSS_CLIPS])


def run(trials: Trials, device: DeviceProfile, plan: Plan, command: str) -> Outcome:
    """Searches with real trials; the best bundle's card gets its figures and the `command` that made them.

    Args:
        plan: its identity is that of `trials`, which is added here.

    Raises:
        DeviceAsrError: teacher, clips or ledger cannot be used, or no bundle can fit.
    """
    trials.check()
    space = trials.space()
    speech = hashlib.sha256(trials.manifest.read_bytes()).hexdigest()[:16]
    settings = {
        "recipe": key(replace(trials.base, base=False)),
        "corpus": str(trials.corpus),
        "noise": str(trials.noise),
        "measured on": [trials.manifest.name, speech, trials.limit],
    }

    def report(row: Measurement) -> None:
        if row.worked:
            wer = "" if row.wer is None else f", WER {100 * row.wer:.1f} %"
            why = f": {row.reason}" if row.reason else ""
            sizes = f"{(row.parameters or 0) / 1e6:.1f} M parameters, {(row.bytes or 0) / 1e6:.1f} MB"
            trials.progress(f"trial {row.name}", 1.0, f"{sizes}, {row.seconds:.0f} s, {row.state}{wer}{why}")

    found = search(device, space, trials.first.dims, trials, trials.work, replace(plan, identity=settings), report)
    if found.best is not None and Path(found.best.bundle).is_dir():  # else another machine has it
        measured_card(found.best, device, f"{trials.manifest.stem} ({len(trials.clips)} clips)", command)
    return found
