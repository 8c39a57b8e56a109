"""Figures of the report: each a function of plain rows to an SVG, the same bytes for the same rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.evaluate.measurement import Measurement
from compress.search.device_profile import DeviceProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: dict[Any, Any] = {  # matplotlib's type of the keys is a list of all of them
    "svg.hashsalt": "device-asr",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
MOST_LAYERS = 40  # of the sensitivity's bars; the most sensitive come first
SMOOTHED = 50  # steps in a point of a loss curve: the loss of one step says little


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other betters in both coordinates (less is better), by the first."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front


def pareto(rows: Sequence[Measurement], device: DeviceProfile | None) -> str:
    """Size against WER, colored by finalization, the front joined; a device's size budget as a line."""
    shown = [
        (row, row.bytes / 1e6, 100 * row.wer)
        for row in rows
        if row.state == "complete" and row.wer is not None and row.bytes
    ]
    factor = device.speed_factor if device else 1.0

    def draw(axes: Axes) -> None:
        timed = [(x, y, 1000 * factor * row.compute_p95) for row, x, y in shown if row.compute_p95 is not None]
        untimed = [(x, y) for row, x, y in shown if row.compute_p95 is None]
        axes.scatter([x for x, _ in untimed], [y for _, y in untimed], color="0.6")
        drawn = axes.scatter(
            [x for x, _, _ in timed],
            [y for _, y, _ in timed],
            zorder=3,
            cmap="viridis_r",
            c=[time for _, _, time in timed],
        )
        places = [(x, y) for _, x, y in shown]
        front = [places[i] for i in pareto_front(places)]
        axes.plot([x for x, _ in front], [y for _, y in front], drawstyle="steps-post", color="0.4", linewidth=1)
        for row, x, y in shown:
            axes.annotate(row.name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
        if timed:
            where = f" on {device.name}" if device else ""
            axes.figure.colorbar(drawn, label=f"finalization, p95, ms{where}")
        if device:
            axes.axvline(device.size_mb, color="tab:red", linestyle="--", linewidth=1)
        axes.set(xlabel="bundle, MB", ylabel="WER, %")

    return _svg(draw)


def sensitivity(rows: Sequence[Measurement]) -> str:
    """WER saved by each layer when it alone has more bits, in points, the most sensitive first."""
    ranked = sorted(((row.name, row.saved_wer or 0.0) for row in rows), key=lambda pair: -pair[1])[:MOST_LAYERS]

    def draw(axes: Axes) -> None:
        axes.barh([name for name, _ in ranked], [100 * saved for _, saved in ranked])
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelsize=7)
        axes.set(xlabel="WER saved by this layer in fp32, points")

    return _svg(draw, height=1.5 + 0.16 * len(ranked))


def losses(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Loss against step, each point the mean of `SMOOTHED` steps, one line a run."""

    def draw(axes: Axes) -> None:
        for name, points in curves.items():
            blocks = [points[at : at + SMOOTHED] for at in range(0, len(points), SMOOTHED)]
            axes.plot(
                [block[-1][0] for block in blocks],
                [sum(loss for _, loss in b) / len(b) for b in blocks],
                marker="." if len(blocks) < 20 else None,
                label=name,
            )
        axes.set(xlabel="step", ylabel=f"loss, mean of {SMOOTHED} steps")
        axes.legend(fontsize=7)

    return _svg(draw)


def cost_by_length(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Computation a second of audio against the seconds of speech so far, one line a way to partials."""
    ticks = sorted({x for points in curves.values() for x, _ in points})

    def draw(axes: Axes) -> None:
        for name, points in curves.items():
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set(xlabel="speech without a pause so far, s", ylabel="computation for partials, ms a second of audio")
        axes.legend(fontsize=8)

    return _svg(draw)


def _svg(draw: Callable[[Axes], None], height: float = 4.0) -> str:
    """The figure as SVG text; no window system and no global state of matplotlib is touched."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, height))
        draw(figure.add_subplot())
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    return out.getvalue()
