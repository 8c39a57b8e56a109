"""Lowering to XNNPACK, and the check that nothing heavy was left to the portable kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.export import ExportedProgram

from device_asr.errors import DeviceAsrError

HEAVY = ("mm", "bmm", "addmm", "linear", "convolution", "_softmax", "softmax", "matmul", "native_layer_norm")


class DelegationError(DeviceAsrError):
    """A heavy operation was not taken by the delegate; it would run on a slow portable kernel."""


def undelegated_heavy_ops(manager: Any, methods: Sequence[str]) -> list[str]:
    """`method: operation (count)` for each heavy operation outside the delegate.

    Args:
        manager: an ExecuTorch EdgeProgramManager after lowering.
        methods: names of its methods.
    """
    found: list[str] = []
    for method in methods:
        counts: dict[str, int] = {}
        for node in manager.exported_program(method).graph_module.graph.nodes:
            if node.op != "call_function":
                continue
            name = getattr(getattr(node.target, "_op", node.target), "__name__", str(node.target))
            base = name.split(".")[0]
            if base in HEAVY:
                counts[base] = counts.get(base, 0) + 1
        found += [f"{method}: {name} ({count})" for name, count in sorted(counts.items())]
    return found


def lower(programs: Mapping[str, ExportedProgram]) -> bytes:
    """The .pte with one method for each program, weights shared among them.

    Inputs are read in place (not memory-planned): a decoding step would otherwise copy its caches.

    Raises:
        DelegationError: a matrix product, convolution, softmax or normalization is left undelegated.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    manager = to_edge_transform_and_lower(dict(programs), partitioner=[XnnpackPartitioner()])
    left = undelegated_heavy_ops(manager, list(programs))
    if left:
        raise DelegationError(
            f"Wanted every heavy operation in the delegate, found outside it: {', '.join(left)}; "
            "rewrite the module with operations that XNNPACK takes."
        )
    planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=True)
    return bytes(manager.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning)).buffer)
