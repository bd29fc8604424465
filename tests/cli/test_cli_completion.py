"""The completion scripts in the real shells, with a bmx7-wg that knows three nodes.

    bash: the function, called as readline does    fish: its "complete --do-complete"
    zsh: a terminal (zpty), the line typed and Tab pressed
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bmx7wg.cli.completion import Command
from bmx7wg.cli.completion import command as description
from bmx7wg.cli.main import parser
from bmx7wg.cli.states import STATES

from .conftest import DEADLINE, run

INSTALLED = Path(__file__).resolve().parents[2] / "completion"
SHELLS = {"bash": "bmx7-wg", "zsh": "_bmx7-wg", "fish": "bmx7-wg.fish"}
NODES = ("n2", "n10", "m1")
PREFIXES = ("10.3.0.0/24", "fd00::/8", "fd00:1::/32", "2001:db8::/32")
Complete = Callable[[str], set[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the scripts in it and, in bin/, the program that they ask for nodes."""
    for shell, installed in SHELLS.items():
        (tmp_path / shell).write_text((INSTALLED / shell / installed).read_text())
        (tmp_path / f"{shell}.made").write_text(run("completion", shell).out)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "bmx7-wg"
    nodes = "".join(f"{node}\\tconnected\\n" for node in NODES)
    prefixes = "".join(f"{prefix}\\tnetwork\\n" for prefix in PREFIXES)
    program.write_text(
        f'#!/bin/sh\n[ "$1" = completion ] && exec cat "{tmp_path}/$2.made"\n'
        '[ "$1" = completion-words ] || exit 1\n'
        f'case $2 in networks|search|withdraw|forget) printf "{prefixes}" ;; '
        f'*) printf "{nodes}" ;; esac\n'
    )
    program.chmod(0o755)
    (tmp_path / "secret-file").touch()
    (tmp_path / "some-dir").mkdir()
    return tmp_path


def in_shell(home: Path, *args: str) -> str:
    done = subprocess.run(
        args,
        cwd=home,
        env={"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_bash(home: Path) -> Complete:
    def complete(line: str) -> set[str]:
        # As readline does it, with its default COMP_WORDBREAKS.
        words = [part for word in line.split(" ") for part in re.findall(r":+|[^:]+|^$", word)]
        code = (
            f"source {home}/bash; compopt() {{ :; }}; COMP_WORDS=({shlex.join(words)});"
            f"COMP_LINE={shlex.quote(line)};"
            f"COMP_CWORD={len(words) - 1}; _bmx7_wg; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        return set(in_shell(home, "bash", "--norc", "-c", code).split())

    return complete


def in_fish(home: Path) -> Complete:
    def complete(line: str) -> set[str]:
        code = f"source {home}/fish; complete --do-complete {shlex.quote(line)}"
        found = in_shell(home, "fish", "--no-config", "-c", code)
        return {word.split("\t")[0].rstrip("/") for word in found.splitlines()}

    return complete


# Each match is added through compadd; a replacement of it prints what it would add. The line is
# typed once zsh's editor reads: before, the terminal would take Tab and Ctrl-U for its own.
_ZSH = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; PS2=; unsetopt zle_bracketed_paste; stty -echo cols 200'
zpty -w z 'fpath=(@HOME@/functions $fpath); autoload -Uz compinit; compinit -u -d @HOME@/dump'
zpty -w z 'compadd() {
  local -a found; builtin compadd -O found "$@"; builtin compadd "$@"
  (( $#found )) && print -rl -- "<"$^found">" >>@HOME@/found
  return 0
}'
zpty -w z 'ready() { print -r READY${:-NOW}; }'
zpty -w z 'zle -C all list-choices _all; _all() { _main_complete; compstate[insert]=; }'
zpty -w z 'bindkey "^I" all; : >@HOME@/found; zle -N zle-line-init ready'
zpty -r -m z chunk '*READYNOW*'
zpty -w -n z "@LINE@"$'\\t'
zpty -w -n z $'\\C-u'
zpty -w z ' print -r ALL''DONE'
zpty -r -m z chunk '*ALLDONE*'
zpty -d z
cat @HOME@/found
"""


def in_zsh(home: Path) -> Complete:
    functions = home / "functions"
    functions.mkdir()
    (functions / "_bmx7-wg").write_text((home / "zsh").read_text())

    def complete(line: str) -> set[str]:
        code = _ZSH.replace("@HOME@", str(home)).replace("@LINE@", line)
        found = in_shell(home, "zsh", "-f", "-c", code)
        return {word[1:-1] for word in found.splitlines() if word.startswith("<")}

    return complete


@pytest.fixture(params=SHELLS)
def complete(request: pytest.FixtureRequest, home: Path) -> Complete:
    shells: dict[str, Callable[[Path], Complete]] = {
        "bash": in_bash,
        "fish": in_fish,
        "zsh": in_zsh,
    }
    return shells[request.param](home)


def test_commands(complete: Complete) -> None:
    commands = {verb.name for verb in description(parser()).verbs}
    assert complete("bmx7-wg ") == commands
    assert complete("bmx7-wg --json pe") == {"peer", "peers"}
    assert complete("bmx7-wg config ") == {"check", "show"}
    assert complete("bmx7-wg completion ") == set(SHELLS)


def test_nodes_come_from_the_service(complete: Complete) -> None:
    for verb in ("peer", "remove", "block", "unblock", "probe"):
        assert complete(f"bmx7-wg {verb} ") == set(NODES)
    assert complete("bmx7-wg peer --json n") == {"n2", "n10"}
    assert complete("bmx7-wg peer n2 n") == set()


def test_prefixes_come_from_the_service(complete: Complete) -> None:
    for verb in ("networks", "search", "withdraw", "forget"):
        assert complete(f"bmx7-wg {verb} ") == set(PREFIXES)
    assert complete("bmx7-wg withdraw 10.") == {"10.3.0.0/24"}
    assert complete("bmx7-wg search --name x 2") == {"2001:db8::/32"}
    assert not complete("bmx7-wg offer ") & set(PREFIXES)


def test_prefixes_with_colons(complete: Complete, request: pytest.FixtureRequest) -> None:
    # Readline replaces what follows the last colon.
    in_bash = "bash" in request.node.name
    assert complete("bmx7-wg networks fd00:1") == {"1::/32" if in_bash else "fd00:1::/32"}
    both = {":/8", "1::/32"} if in_bash else {"fd00::/8", "fd00:1::/32"}
    assert complete("bmx7-wg networks fd00:") == both


def test_options_and_their_values(complete: Complete) -> None:
    assert complete("bmx7-wg peers --s") == {"--state"}
    assert complete("bmx7-wg peer n2 --j") == {"--json"}
    assert complete("bmx7-wg peers --state ") == set(STATES)
    assert complete("bmx7-wg peers --state idle --state c") == {
        "connected",
        "configured",
        "conflict",
    }
    assert complete("bmx7-wg log-level de") == {"debug"}
    assert complete("bmx7-wg add --preshared-key-file se") == {"secret-file"}
    assert complete("bmx7-wg config show --config-dir s") == {"some-dir"}
    assert complete("bmx7-wg add --name n") == set()


def test_bash_expands_nothing(home: Path) -> None:
    complete = in_bash(home)
    (home / "bin" / "bmx7-wg").write_text(
        f'#!/bin/sh\n[ "$1" = completion ] && exec cat "{home}/$2.made"\n'
        "echo '$(touch broken)' '`touch broken`' '*'\n"
    )
    assert complete("bmx7-wg peer ") == {"$(touch", "broken)", "`touch", "broken`", "*"}
    assert not (home / "broken").exists()


def test_everything_is_described() -> None:
    def check(command: Command) -> None:
        for verb in command.verbs:
            assert verb.help, verb.path
            check(verb)
        assert all(option.help for option in command.options), command.path

    check(description(parser()))
