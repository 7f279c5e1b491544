"""A small valid chip as text, and a way to write it with one thing changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

CHIP = """\
name: tiny
mesh: {rows: 2, columns: 2}
core_groups:
  - name: main
    core:
      clock_mhz: 1000
      arrays: {rows: 8, columns: 8}
      vector: {lanes: 8}
      sfu: {lanes: 2}
      scratchpad: {capacity_mib: 1}
memories:
  - name: hbm
    capacity_gib: 1
    channels: 2
    timing: {channel_gb_s: 16, t_rcd_ns: 14, t_rp_ns: 14, t_cl_ns: 14, t_ras_ns: 33}
noc: {clock_mhz: 1000, link_bytes_per_cycle: 32}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write_chip(folder: Path) -> Callable[..., str]:
    """write(old, new) → name of a chip file in which `new` stands for `old`."""

    def write(old: str = "", new: str = "", name: str = "chip.yaml") -> str:
        assert old in CHIP
        (folder / name).write_text(CHIP.replace(old, new, 1) if old else CHIP)
        return name

    return write
