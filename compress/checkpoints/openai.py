"""OpenAI's .pt checkpoints."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

import torch

from compress.checkpoints.believed import believed
from compress.checkpoints.reading import check_tensors, read_json, regular, told
from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint, from_foreign
from compress.networks.family import Foreign

DIMS = ("n_audio_layer", "n_text_layer", "n_audio_head", "n_text_head")
MOST_PICKLED = 1 << 24  # bytes of what is pickled, without the tensors' numbers
# what the pickle of tensors in a dictionary calls; PyTorch allows more, such as an array of any size
CALLED = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"} | {
    f"torch {name}Storage" for name in ("Float", "Half", "BFloat16", "Double", "Long", "Int")
}
NAMES = ("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4")  # operations of a pickle that call by a name


def load_openai(path: Path) -> Checkpoint:
    """Whisper from an OpenAI .pt ({dims, model_state_dict}); it has no tokenizer, the teacher's is taken.

    Raises:
        CheckpointError: not such a file, or tensors that do not fit.
    """
    wanted = "an OpenAI .pt with dims and model_state_dict"
    with told(path, wanted):
        _check_archive(regular(path))
        stored = torch.load(path, map_location="cpu", weights_only=True)
        tensors = stored["model_state_dict"]
        dims = {name: int(stored["dims"][name]) for name in DIMS}
        check_tensors(tensors, path)
    folder = teacher_folder()
    config = read_json(folder / "config.json", "the teacher's settings")
    with told(path, f"{wanted} that fit"):
        foreign = Foreign("openai", tensors, {**config, "dims": dims}, folder, path)
        return believed(from_foreign("whisper", foreign, f"OpenAI checkpoint {path.name}"))


def _check_archive(path: Path) -> None:
    """Looks at PyTorch's archive before it is unpickled.

    Raises:
        ValueError, zipfile.BadZipFile: it is no archive, a part of it is compressed (and may stand for any size), or
            its pickle calls something else than what makes tensors.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("a compressed part, which PyTorch does not write")
        pickled = [part for part in parts if part.filename.endswith("data.pkl")]
        if len(pickled) != 1 or pickled[0].file_size > MOST_PICKLED:
            raise ValueError(f"wanted one data.pkl of at most {MOST_PICKLED} bytes, found others")
        operations = list(pickletools.genops(archive.read(pickled[0])))
    called = {str(argument) for operation, argument, _ in operations if operation.name in NAMES}
    if not called <= CALLED:
        raise ValueError(f"a pickle that calls {min(called - CALLED)}")
