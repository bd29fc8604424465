"""The completion of ``bmx7-wg`` as scripts for bash, zsh and fish."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from .completion import ASKED, Command, Option, Value, command


def _filled(template: str, texts: Mapping[str, Iterable[str]]) -> str:
    for name, lines in texts.items():
        template = template.replace(f"@{name}@", "\n".join(lines))
    return template


def _valued(top: Command) -> dict[str, Value]:
    """The options that take a value; a name means the same with every verb."""
    options = [option for each in top.all() for option in each.options]
    return {name: option.value for option in options if option.value for name in option.names}


# -- bash

_BASH: Final = """\
# bash completion for bmx7-wg, made by: bmx7-wg completion bash

_bmx7_wg() {
    local current verb= argument= option= kind= word words=() line=()
    COMPREPLY=()

    # Readline breaks words at colons, of which IPv6 prefixes have some.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ ${#line[@]} -gt 0 && ${line[-1]}$word == *:* &&
            $COMP_LINE == *"${line[-1]}$word"* && ( $word == :* || ${line[-1]} == *: ) ]]; then
            line[-1]+=$word
        else
            line+=("$word")
        fi
    done
    current=${line[-1]}

    # The verb so far, and the option whose value is wanted.
    for word in "${line[@]:0:${#line[@]}-1}"; do
        if [[ -n $option ]]; then
            option=
            continue
        fi
        case $word in
@VALUED@) option=$word ;;
            -*) ;;
            *)
                case $verb/$word in
@VERBS@) verb+=/$word ;;
                    *) argument=$word ;;
                esac
                ;;
        esac
    done

    if [[ -n $option ]]; then
        case $option in
@VALUES@
        esac
    else
        [[ $current == -* || -n $argument ]] || case $verb in
@ARGUMENTS@
        esac
        [[ -n $kind || ${#words[@]} -gt 0 ]] || case $verb in
@OPTIONS@
        esac
    fi

    case $kind in
        @ASKED@) mapfile -t words < <(command bmx7-wg completion-words "${verb##*/}" 2>/dev/null) ;;
        FILE) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        DIR) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    esac
    # Not "compgen -W", which would expand the words.
    for word in "${words[@]%%$'\\t'*}"; do
        [[ $word == "$current"* ]] && COMPREPLY+=("${word#"${current%"${current##*:}"}"}")
    done
}

complete -F _bmx7_wg bmx7-wg"""
_EMPTY: Final = "''"


def bash(parser: argparse.ArgumentParser) -> str:
    top = command(parser)
    paths = {"".join(f"/{word}" for word in each.path): each for each in top.all()}
    valued = _valued(top)
    known = {name: _bash_value(value) for name, value in valued.items()}
    below = {path: _bash_below(each) for path, each in paths.items()}
    options = {path: _bash_words(_names(each)) for path, each in paths.items()}
    return _filled(
        _BASH,
        {
            "ASKED": [" | ".join(ASKED)],
            "VALUED": [f"{'':12}" + " | ".join(valued)],
            "VERBS": [f"{'':20}" + " | ".join(path for path in paths if path)],
            "VALUES": _bash_cases(known),
            "ARGUMENTS": _bash_cases(below),
            "OPTIONS": _bash_cases(options),
        },
    )


def _bash_cases(commands: Mapping[str, str]) -> list[str]:
    return [f"{'':12}{case or _EMPTY}) {text} ;;" for case, text in commands.items() if text]


def _bash_below(each: Command) -> str:
    if each.argument:
        return _bash_value(each.argument)
    return _bash_words([verb.name for verb in each.verbs]) if each.verbs else ""


def _bash_value(value: Value) -> str:
    if value.words:
        return _bash_words(value.words)
    return f"kind={value.metavar}" if value.metavar in (*ASKED, "FILE", "DIR") else ""


def _bash_words(words: Iterable[str]) -> str:
    return f"words=({' '.join(words)})"


def _names(each: Command) -> list[str]:
    return [name for option in each.options for name in option.names]


# -- zsh

_ZSH: Final = """\
#compdef bmx7-wg
# zsh completion for bmx7-wg, made by: bmx7-wg completion zsh

_bmx7-wg_words() {
  local -a found
  found=(${(f)"$(_call_program words bmx7-wg completion-words $1 2>/dev/null)"})
  found=(${${found//:/\\\\:}/$'\\t'/:})
  _describe -t words $2 found
}

@FUNCTIONS@

_bmx7-wg "$@\""""

_ZSH_VERBS: Final = """\
@NAME@() {
  local curcontext=$curcontext state
  local -a line verbs
  verbs=(
@VERBS@
  )
  _arguments -C -A '-*' \\
@SPECS@ && return
  case $state in
    verb) _describe -t commands command verbs ;;
    rest) (( $+functions[@NAME@_$words[1]] )) && @NAME@_$words[1] ;;
  esac
}
"""

_ZSH_LAST: Final = """\
@NAME@() {
  _arguments \\
@SPECS@
}
"""


def zsh(parser: argparse.ArgumentParser) -> str:
    functions = [_zsh_function(each) for each in command(parser).all()]
    return _filled(_ZSH, {"FUNCTIONS": ["\n".join(functions).rstrip()]})


def _zsh_function(each: Command) -> str:
    specs = [_zsh_option(option) for option in each.options]
    if each.verbs:
        specs += ["'1: :->verb'", "'*:: :->rest'"]
    elif each.argument:
        specs.append("'1:" + _zsh_value(each.argument, each) + "'")
    return _filled(
        _ZSH_VERBS if each.verbs else _ZSH_LAST,
        {
            "NAME": ["_".join(("_bmx7-wg", *each.path))],
            "VERBS": [f"    {_quoted(f'{verb.name}:{verb.help}')}" for verb in each.verbs],
            "SPECS": [" \\\n".join(f"    {spec}" for spec in specs)],
        },
    )


def _zsh_option(option: Option) -> str:
    exclusive = "*" if option.repeats else f"({' '.join(option.names)})"
    text = option.help.replace("[", "\\[").replace("]", "\\]")
    value = ":" + _zsh_value(option.value, None) if option.value else ""
    rest = _quoted(f"[{text}]") + (f"'{value}'" if value else "")
    names = option.names
    return f"'{exclusive}'" + (names[0] if len(names) == 1 else f"{{{','.join(names)}}}") + rest


def _zsh_value(value: Value, each: Command | None) -> str:
    if value.words:
        action = f"({' '.join(value.words)})"
    elif value.metavar in ASKED and each is not None:
        action = f"{{_bmx7-wg_words {each.name} {value.metavar.lower()}}}"
    else:
        action = {"FILE": "_files", "DIR": "_files -/"}.get(value.metavar, "")
    return f"{value.metavar}:{action}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# -- fish

_FISH: Final = """\
# fish completion for bmx7-wg, made by: bmx7-wg completion fish

function __bmx7_wg_words --description 'The verb so far, and a dot for an argument'
    set -l words (commandline -opc)
    set -l verb
    set -l value no
    for word in $words[2..]
        if test $value = yes
            set value no
            continue
        end
        switch $word
            case @VALUED@
                set value yes
            case '-*'
            case '*'
                switch "$verb $word"
                    case @VERBS@
                        set -a verb $word
                    case '*'
                        set -a verb .
                end
        end
    end
    echo "$verb"
end

function __bmx7_wg_at --description 'Is this the verb?'
    test (__bmx7_wg_words | string replace -r '( ?\\\\.)*$' '')x = "$argv"x
end

function __bmx7_wg_wants --description 'Is this the verb, and its argument still to come?'
    test (__bmx7_wg_words)x = "$argv"x
end

complete -c bmx7-wg -f
@COMPLETIONS@"""


def fish(parser: argparse.ArgumentParser) -> str:
    top = command(parser)
    lines = []
    for each in top.all():
        path = " ".join(each.path)
        at, wants = f"-n '__bmx7_wg_at {path}'", f"-n '__bmx7_wg_wants {path}'"
        for verb in each.verbs:
            lines.append(f"{wants} -a {verb.name} -d {_fish_quoted(verb.help)}")
        for option in each.options:
            names = " ".join(_fish_name(name) for name in option.names)
            value = " " + _fish_value(option.value, each) if option.value else ""
            lines.append(f"{at} {names}{value} -d {_fish_quoted(option.help)}")
        if each.argument:
            lines.append(f"{wants} {_fish_value(each.argument, each)}")
    verbs = [" ".join(each.path) for each in top.all() if each.path]
    return _filled(
        _FISH,
        {
            "VALUED": [" ".join(_valued(top))],
            "VERBS": [" ".join(f"' {verb}'" if " " not in verb else f"'{verb}'" for verb in verbs)],
            "COMPLETIONS": [f"complete -c bmx7-wg {line}" for line in lines],
        },
    )


def _fish_name(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _fish_value(value: Value, each: Command) -> str:
    if value.words:
        return f"-x -a '{' '.join(value.words)}'"
    if value.metavar in ASKED:
        return f"-x -a '(bmx7-wg completion-words {each.name} 2>/dev/null)'"
    if value.metavar == "FILE":
        return "-r -F"
    return "-x -a '(__fish_complete_directories)'" if value.metavar == "DIR" else "-x"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Final[Mapping[str, Callable[[argparse.ArgumentParser], str]]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}
