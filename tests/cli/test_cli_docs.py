"""The manual pages tell of everything there is, and man finds nothing wrong with them."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bmx7wg.cli import view
from bmx7wg.cli.main import parser
from bmx7wg.core import offers, searches, staticpeers
from bmx7wg.core.config import KEYS, ConfigSource, parse
from bmx7wg.core.model import OfferRule, PeerState, Search, StaticPeer

from .conftest import ROOT
from .made_up import device, manager, network, peer, properties

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.[1-8].rst"))


def parsers(
    top: argparse.ArgumentParser, path: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield path, top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, f"{path} {name}".strip())


def options(top: argparse.ArgumentParser) -> set[str]:
    return {
        option
        for _, below in parsers(top)
        for action in below._actions
        for option in action.option_strings
    }


def terms(page: str, section: str = "") -> list[str]:
    """The terms of a page's definition lists, those of one section if it is named."""
    text = (DOCS / page).read_text()
    if section:
        text = re.split(rf"^{re.escape(section)}\n[=-]+\n", text, flags=re.M)[1]
        text = re.split(r"^.+\n[=-]+\n", text, flags=re.M)[0]
    return re.findall(r"^(\S.*)\n    \S", text, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_built_without_a_warning(page: Path, tmp_path: Path) -> None:
    built = tmp_path / page.stem
    subprocess.run(["rst2man", "--strict", page, built], check=True)
    for width in ("80", "200"):
        done = subprocess.run(
            ["man", "--warnings", "--local-file", built],
            env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": width},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == "" and "SEE ALSO" in done.stdout


def test_there_are_the_four_pages() -> None:
    names = ["bmx7-wg-lab.1", "bmx7-wg.1", "bmx7-wg.toml.5", "bmx7-wgd.8"]
    assert [page.stem for page in PAGES] == names


def test_every_command_is_in_its_page() -> None:
    commands = terms("bmx7-wg.1.rst", "COMMANDS")
    for path, below in parsers(parser()):
        if path == "completion-words":  # for the shells' scripts alone
            continue
        if not any(isinstance(action, argparse._SubParsersAction) for action in below._actions):
            assert any(term.replace("*", "").startswith(path) for term in commands), path


def test_every_option_is_in_its_page() -> None:
    described = " ".join(terms("bmx7-wg.1.rst", "OPTIONS"))
    assert set(re.findall(r"--?[a-z-]+", described)) == options(parser())


def test_every_option_of_the_daemon_is_in_its_page() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bmx7wg.service.command", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    there = re.findall(r"^  (-.+?)(?:  |$)", done.stdout, re.M)
    described = " ".join(terms("bmx7-wgd.8.rst", "OPTIONS"))
    find = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
    assert set(find.findall(described)) == set(find.findall(" ".join(there))) != set()


def test_every_option_of_the_lab_is_in_its_page() -> None:
    from bmx7wg.lab.main import _parser

    described = " ".join(terms("bmx7-wg-lab.1.rst", "OPTIONS"))
    assert set(re.findall(r"--?[a-z-]+", described)) == options(_parser())
    commands = [term.split()[0] for term in terms("bmx7-wg-lab.1.rst", "COMMANDS")]
    assert commands == [path for path, _ in parsers(_parser()) if path]


def test_every_key_of_the_configuration_is_in_its_page() -> None:
    found = []
    for section in dict.fromkeys(key.rpartition(".")[0] for key in KEYS):
        for term in terms("bmx7-wg.toml.5.rst", f"[{section}]"):
            found.append(f"{section}.{term.split(' = ')[0]}")
    assert found == list(KEYS)


def test_every_key_of_a_peer_is_in_its_page() -> None:
    found = dict(term.split(" = ") for term in terms("bmx7-wg.toml.5.rst", "[[peer]]"))
    assert set(found) == set(staticpeers.KEYS)
    assert found["keepalive"] == str(StaticPeer(b"").keepalive)


@pytest.mark.parametrize(
    "section, keys, made",
    [
        ("[[offer]]", offers.KEYS, OfferRule(ip_network("::/0"))),
        ("[[search]]", searches.KEYS, Search(ip_network("::/0"))),
    ],
)
def test_every_key_of_networks_is_in_its_page(
    section: str, keys: Mapping[str, Any], made: OfferRule | Search
) -> None:
    found = dict(term.split(" = ") for term in terms("bmx7-wg.toml.5.rst", section))
    assert list(found) == list(keys)
    for key, said in found.items():
        if key not in ("from-table", "min-prefix-length") and said != '"..."':
            default = getattr(made, key.replace("-", "_"))
            assert json.loads(said) == default, key


def test_the_defaults_in_the_page_are_those_of_the_program() -> None:
    defaults = parse([]).values
    for section in dict.fromkeys(key.rpartition(".")[0] for key in KEYS):
        for term in terms("bmx7-wg.toml.5.rst", f"[{section}]"):
            name, said = term.split(" = ")
            value = defaults[f"{section}.{name}"]
            if said == '"..."':
                assert value == ""
            elif said.startswith('"'):
                assert said.split(" | ")[0] == f'"{value}"'
            elif said == "[]":
                assert value == ()
            elif isinstance(value, bool):
                assert json.loads(said) == value
            else:
                assert int(said, 0) == value, name


def test_every_state_is_explained() -> None:
    assert terms("bmx7-wg.1.rst", "STATES") == list(view.STATES)
    assert set(view.STATES) == set(PeerState)


def test_every_member_of_the_json_is_in_the_page() -> None:
    text = (DOCS / "bmx7-wg.1.rst").read_text()
    kinds = {
        "manager": manager(),
        "device": device(),
        "peer": peer("n2"),
        "network": network("::/0"),
    }
    said = dict(re.findall(rf"^\*({'|'.join(kinds)})\*\n((?:    .+\n)+)", text, re.M))
    for kind, made in kinds.items():
        assert set(re.findall(r"\*\*(\w+)\*\*", said[kind])) == set(properties(made))


def test_the_examples_of_the_configuration_are_valid() -> None:
    text = (DOCS / "bmx7-wg.toml.5.rst").read_text()
    examples = text.split("EXAMPLES\n========\n")[1].split("SEE ALSO")[0]
    found = re.findall(r"::\n\n((?:    .+\n|\n)+)", examples)
    assert len(found) == 4
    for example in found:
        content = textwrap.dedent(example).encode()
        assert parse([ConfigSource("example", content)]).config != parse([]).config


def test_the_readme_names_files_that_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:bench|tests|docs|dbus)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
