"""The manual page of the bus is made of the contract, and its examples can be read by Python."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from bmx7wg.bus import contract
from bmx7wg.bus.names import NAME

from .daemon import ROOT as TREE


@pytest.fixture(scope="module")
def page() -> str:
    done = subprocess.run([TREE / "docs" / "bus-manual"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_of_the_contract_is_in_it(page: str) -> None:
    for name, interface in contract.load().items():
        if name.startswith(NAME):
            section = page.partition(f"\n{name}\n====")[2].partition("\n====")[0]
            for member in (*interface.properties, *interface.methods):
                assert f"\n**{member}**" in section, f"{name}.{member}"


def test_it_can_be_formatted(page: str, tmp_path: Path) -> None:
    source = tmp_path / "page.rst"
    source.write_text(page)
    subprocess.run(["rst2man", "--strict", source, tmp_path / "page.5"], check=True)


def test_the_examples_are_python(page: str) -> None:
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", page)
    programs = [textwrap.dedent(block) for block in blocks if "import " in block]
    assert len(programs) == 3
    for program in programs:
        compile(program, "example", "exec")
