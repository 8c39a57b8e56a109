"""The plan of a quantization: which weights get how many bits, and how activations are quantized.

Weights are symmetric integers; activations are int8, quantized per token at run time ("dynamic") or
with ranges that are measured beforehand ("static", see `export/static.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from torch import nn

from compress.networks.family import family_of
from compress.networks.network import SpeechNetwork
from compress.networks.patterns import choose
from device_asr.errors import UsageError

FLOAT = 32
BITS = (4, 8, FLOAT)
GROUPS = (32, 64, 128)  # XNNPACK: multiples of 32
Activations = Literal["dynamic", "static"]


@dataclass(frozen=True)
class Width:
    """Bits of a layer's weights; `group`: columns that share a scale, None: a whole row. Groups are for 4 bits."""

    bits: int = 8
    group: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise UsageError(f"Weight bits: wanted {', '.join(map(str, BITS[:-1]))} or {FLOAT}, found {self.bits!r}.")
        if self.group is not None and (self.bits != 4 or self.group not in GROUPS):
            raise UsageError(
                f"Weight group: wanted {', '.join(map(str, GROUPS))} with 4 bits, or none; found "
                f"{self.group!r} with {self.bits} bits."
            )

    def fits(self, columns: int) -> bool:
        """Whether a row of so many columns can be stored so: whole groups, two 4-bit numbers a byte."""
        return self.bits != 4 or columns % (self.group or 2) == 0

    def bytes(self, rows: int, columns: int) -> int:
        """Bytes of a weight matrix in the program: numbers, and scales (float32 for 8 bits, bfloat16 for 4)."""
        scales = {FLOAT: 0, 8: 4 * rows, 4: 2 * rows * (columns // (self.group or columns))}[self.bits]
        return rows * columns * self.bits // 8 + scales


@dataclass(frozen=True)
class QuantizationPlan:
    """What is quantized, and how far.

    bits, group: of every linear layer, see `Width`; a layer whose columns are not whole groups of the
        4-bit default gets 8 bits.
    layers: (pattern, width) pairs over layer names of the network ("encoder.layers.0.*"); later ones win.
    embedding, embedding_group: of the token embedding, which is also the table of the logits.
    activations: "dynamic", or "static" for the 8-bit linear layers; 4-bit ones and logits stay dynamic.

    Raises:
        UsageError: a value that cannot be.
    """

    bits: int = 8
    group: int | None = None
    layers: tuple[tuple[str, Width], ...] = ()
    embedding: int = 8
    embedding_group: int | None = None
    activations: Activations = "dynamic"

    def __post_init__(self) -> None:
        for _ in (self.default, self.table):  # a width checks itself
            pass
        if self.activations not in get_args(Activations):
            raise UsageError(f"Activations: wanted {' or '.join(get_args(Activations))}, found {self.activations!r}.")

    @property
    def default(self) -> Width:
        """Of layers that no pattern names."""
        return Width(self.bits, self.group)

    @property
    def table(self) -> Width:
        """Of the token embedding."""
        return Width(self.embedding, self.embedding_group)

    def widths(self, network: nn.Module) -> dict[str, Width]:
        """Every linear layer's width, by name.

        Raises:
            UsageError: a pattern that matches no layer, or a width that does not fit a layer it names.
        """
        columns = {name: child.in_features for name, child in network.named_modules() if isinstance(child, nn.Linear)}
        widths = {name: self.default if self.default.fits(n) else Width(8) for name, n in columns.items()}
        for pattern, width in self.layers:
            widths |= dict.fromkeys(choose(columns, [pattern], "quantize.layers"), width)
        for name, width in widths.items():
            if not width.fits(columns[name]):
                raise UsageError(
                    f"Quantization: {name} has {columns[name]} columns, which are not whole groups of "
                    f"{width.group or 2}; choose another group, or 8 bits."
                )
        return widths

    def static_layers(self, network: nn.Module) -> list[str]:
        """Names of the linear layers whose activations have fixed ranges."""
        if self.activations == "dynamic":
            return []
        return [name for name, width in self.widths(network).items() if width.bits == 8]

    def with_layers(self, names: Mapping[str, Width], embedding: str) -> QuantizationPlan:
        """The same plan with these layers changed; `embedding` is the token embedding's name among them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if (table := names.get(embedding)) is not None:
            values |= {"embedding": table.bits, "embedding_group": table.group}
        values["layers"] = (*self.layers, *((name, width) for name, width in names.items() if name != embedding))
        return QuantizationPlan(**values)

    def to_table(self) -> dict[str, Any]:
        """As a table of a TOML recipe or JSON object; settings that are none are left out."""
        table: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "layers"}
        table = {key: value for key, value in table.items() if value is not None}
        if self.layers:
            table["layers"] = [
                {"name": pattern, "bits": width.bits, **({"group": width.group} if width.group else {})}
                for pattern, width in self.layers
            ]
        return table

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> QuantizationPlan:
        """The inverse of `to_table`.

        Raises:
            UsageError: an unknown key, or a value that cannot be.
        """
        _known(table, [f.name for f in fields(cls)], "quantize")
        overrides = table.get("layers", ())
        if not isinstance(overrides, list | tuple) or not all(isinstance(entry, Mapping) for entry in overrides):
            raise UsageError(
                f"quantize.layers: wanted a list of tables with name, bits and group, found {overrides!r}."
            )
        layers = []
        for entry in overrides:
            _known(entry, ["name", "bits", "group"], "quantize.layers")
            if "name" not in entry or "bits" not in entry:
                raise UsageError(f"quantize.layers: wanted name and bits in each, found {dict(entry)}.")
            layers.append((str(entry["name"]), Width(entry["bits"], entry.get("group"))))
        return cls(**{**table, "layers": tuple(layers)})


EXACT = QuantizationPlan(bits=FLOAT, embedding=FLOAT)  # nothing quantized


def _known(table: Mapping[str, Any], keys: list[str], where: str) -> None:
    for key in table:
        if key not in keys:
            nearest = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.0)[0]
            raise UsageError(f"{where}: no setting {key!r}; the nearest is {nearest}.")


def weight_shape(network: nn.Module, layer: str) -> tuple[int, int]:
    """(rows, columns) of the weight of a linear layer or an embedding."""
    rows, columns = network.get_parameter(f"{layer}.weight").shape
    return rows, columns


@dataclass(frozen=True)
class QuantizationReport:
    """What a plan makes of a network: linear layers by bits, and bytes of all matrices before and after.

    The token embedding is counted in the bytes; biases, norms and positions stay float32 and are not.
    bytes: after, by the bits that they are stored with.
    """

    layers: Mapping[int, int]
    bytes_before: int
    bytes_after: int
    bytes: Mapping[int, int]


def report(network: SpeechNetwork, plan: QuantizationPlan) -> QuantizationReport:
    """Counts what `plan` does to `network`, which is not changed."""
    widths = plan.widths(network)
    counts: dict[int, int] = {}
    for width in widths.values():
        counts[width.bits] = counts.get(width.bits, 0) + 1
    every = {**widths, family_of(network.dims).embedding: plan.table}
    sizes = {name: weight_shape(network, name) for name in every}
    stored: dict[int, int] = {}
    for name, width in every.items():
        stored[width.bits] = stored.get(width.bits, 0) + width.bytes(*sizes[name])
    return QuantizationReport(
        counts, sum(4 * rows * columns for rows, columns in sizes.values()), sum(stored.values()), stored
    )
