"""Tables go between the markers of a file and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.tables import check_markers, put_table
from device_asr.errors import UsageError


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Title\n\n<!-- ablation -->\nold\n<!-- /ablation -->\n\nend, é\n")
    for markdown in ("| a |", "| b |"):
        put_table([path], "ablation", markdown)
        assert path.read_text() == f"# Title\n\n<!-- ablation -->\n{markdown}\n<!-- /ablation -->\n\nend, é\n"


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "<!-- ablation -->",
        "<!-- /ablation --><!-- ablation -->",
        "<!-- ablation --><!-- ablation --><!-- /ablation -->",
    ],
)
def test_a_file_without_one_pair_of_markers_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "CARD.md"
    path.write_text(text)
    with pytest.raises(UsageError, match="once each"):
        check_markers(path, "ablation")
    with pytest.raises(UsageError, match="cannot be read"):
        check_markers(tmp_path / "none.md", "ablation")
