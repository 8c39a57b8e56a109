"""The loss of a batch: the teacher's text, symbols for CTC, and hidden states, each term weighted by its setting."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.data.augment import prepare_frontend
from compress.data.labels import precision
from compress.data.targets import ctc_loss, distance, distillation_loss
from compress.distill.loader import Batch
from compress.distill.settings import DistillSettings
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking, without_look_ahead
from compress.networks.family import family_of
from compress.networks.masks import padding, position_count
from compress.networks.network import SpeechNetwork
from device_asr.errors import UsageError


class BatchLoss:
    """Computes the terms of the loss of a batch.

    Args:
        network: what is trained. student: the checkpoint with which the training begins. teacher: its teacher's.
        bfloat16: computes the networks in it; the terms are float32.

    Raises:
        UsageError: the student's states are to follow the teacher's, and are of another width.
    """

    def __init__(
        self,
        network: SpeechNetwork,
        student: Checkpoint,
        teacher: Checkpoint,
        settings: DistillSettings,
        device: str,
        bfloat16: bool,
    ) -> None:
        self.network, self.settings, self.device, self.bfloat16 = network, settings, device, bfloat16
        self._family = family_of(student.dims)
        streaming = settings.streaming
        heard = network.ctc is not None and len(network.ctc.norms) > 0
        if heard and streaming is not None and streaming.ctc > 0 and streaming.share < 1:
            raise UsageError(
                "distill.streaming.share: wanted 1 with a CTC head that reads several layers, whose states are of "
                f"chunks alone, found {streaming.share:g}."
            )
        self._initial = self._initial_network(student)
        self._teacher = self._teacher_network(teacher, student)

    def _initial_network(self, student: Checkpoint) -> SpeechNetwork | None:
        """The network as the training begins, where states follow its own of whole clips."""
        streaming = self.settings.streaming
        if streaming is None or streaming.hidden == 0:
            return None
        initial = student.network().to(self.device).requires_grad_(False)
        prepare_frontend(initial)
        return initial

    def _teacher_network(self, teacher: Checkpoint, student: Checkpoint) -> SpeechNetwork | None:
        """The teacher's network, where states follow its own of 30 s."""
        if self.settings.hidden == 0:
            return None
        wide, narrow = teacher.dims.state, student.dims.state
        if wide != narrow:
            raise UsageError(
                f"distill.hidden: wanted a student whose states are as wide as the teacher's, {wide}, "
                f"found {narrow}; leave it at 0."
            )
        return teacher.network().to(self.device).requires_grad_(False)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms by name: "text", "ctc", "hidden" and "states", as far as the settings ask for them."""
        settings, network = self.settings, self.network
        pcm, lengths = batch.pcm.to(self.device), batch.lengths.to(self.device)
        wanted = None if batch.wanted is None else batch.wanted.to(self.device)
        samples, audible = self._family.samples_per_position, lengths - self._family.overhang
        with precision(self.device, self.bfloat16):
            states, at = self._encode(batch, pcm, lengths)
            count = (pcm.shape[1] - self._family.overhang + samples - 1) // samples
            symbols = self._symbols(states, batch.chunking, count)
            states = states[..., : network.dims.state]
            audio = states if batch.chunking is None else without_look_ahead(states, batch.chunking)[:, :count]
            mask = padding(torch.arange(count, device=self.device), audible, samples)
            writes = settings.soft + settings.hard > 0
            logits = network.decode(wanted.tokens, audio, mask) if writes and wanted is not None else None
            with torch.no_grad():
                before = self._initial_states(batch, pcm, lengths)
                taught = self._teacher_states(pcm, lengths, audio.shape[1])
        terms = {}
        if logits is not None and wanted is not None:
            terms["text"] = distillation_loss(
                logits.float(), wanted, settings.soft, settings.hard, settings.temperature
            )
        streaming = settings.streaming
        if streaming is not None and symbols is not None:
            terms["ctc"] = streaming.ctc * ctc_loss(symbols.float(), position_count(audible, samples), batch.spoken)
        if before is not None and streaming is not None:
            block_mask = padding(at, audible, samples)
            terms["hidden"] = streaming.hidden * distance(states, before[:, at.clamp(max=count - 1)], block_mask)
        if taught is not None:
            terms["states"] = settings.hidden * distance(audio, taught, mask)
        return terms

    def _encode(self, batch: Batch, pcm: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States and their positions, see `SpeechNetwork.encode_chunks`; of whole clips (batch, n, state) and (n,)."""
        if batch.chunking is not None:
            return self.network.encode_chunks(pcm, lengths, batch.chunking, batch.start)
        states, _ = self.network.encode(pcm, lengths)
        return states, torch.arange(states.shape[1], device=self.device)

    def _symbols(self, states: Tensor, chunking: Chunking | None, count: int) -> Tensor | None:
        """Logits of CTC symbols (batch, count, symbols); None: nothing is learned from them."""
        streaming = self.settings.streaming
        if self.network.ctc is None or streaming is None or streaming.ctc == 0:
            return None
        if chunking is None:
            return self.network.ctc(states)
        return without_look_ahead(self.network.symbols(states, chunking), chunking)[:, :count]

    def _initial_states(self, batch: Batch, pcm: Tensor, lengths: Tensor) -> Tensor | None:
        """(batch, n, state) of the initial network for whole clips; None where the batch does not follow them."""
        streaming = self.settings.streaming
        if self._initial is None or streaming is None or (batch.chunking is None and not streaming.regularize_whole):
            return None
        return self._initial.encode(pcm, lengths)[0]

    def _teacher_states(self, pcm: Tensor, lengths: Tensor, count: int) -> Tensor | None:
        """The teacher's first `count` states of the clips in the context that it is given; None: none follow them."""
        if self._teacher is None:
            return None
        if not self._family.padded_context:
            return self._teacher.encode(pcm, lengths)[0]
        return self._teacher.encode(F.pad(pcm, (0, self._family.context_samples - pcm.shape[1])))[0][:, :count]
