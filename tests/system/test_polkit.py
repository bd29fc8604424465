"""Who may change something, with the real polkitd, and the level of the log through systemd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .container import Container, booted
from .guests import DEPENDENCIES, NAME, PATH, SUITES, install
from .roots import Root

RULES = "/etc/polkit-1/rules.d/50-test.rules"

# Reload is allowed to a user who could otherwise be asked for a password only; Synchronize needs
# the same action, RotateKey one that is refused.
RULE = """polkit.addRule(function (action, subject) {
    if (subject.user == "nobody" && action.id == "org.bmx7.WireGuard1.reload")
        return polkit.Result.YES;
    if (action.id == "org.bmx7.WireGuard1.rotate-key")
        return polkit.Result.NO;
});
"""


@pytest.fixture(scope="module", params=SUITES)
def container(request: pytest.FixtureRequest) -> Iterator[Container]:
    with booted(Root(request.param, (*DEPENDENCIES, "polkitd")), 1) as (one,):
        (one.root / RULES.lstrip("/")).write_text(RULE)
        install(one)
        yield one


def call(container: Container, user: str, member: str) -> str:
    """What busctl says to a call of the Manager by a user; empty if it succeeded."""
    command = f"setpriv --reuid={user} --clear-groups --regid=nogroup busctl call {NAME} {PATH}"
    done = container.run(f"{command} {NAME}.Manager {member}", check=False)
    assert (done.status == 0) == (done.output == ""), done.output
    return done.output


def test_polkit_knows_the_actions(container: Container) -> None:
    shown = container.run("pkaction --verbose | grep -A 8 ^org.bmx7.WireGuard1").output
    for who in ("any:", "inactive:", "active:"):
        assert shown.count(f"implicit {who:9} auth_admin\n") == 4, shown


def test_who_is_allowed_may(container: Container) -> None:
    assert call(container, "nobody", "Reload") == ""
    assert call(container, "nobody", "Synchronize") == ""


def test_who_is_denied_may_not(container: Container) -> None:
    key = f"busctl get-property {NAME} {PATH}/device {NAME}.Device PublicKey"
    before = container.run(key).output
    assert "Access denied" in call(container, "nobody", "RotateKey")
    assert container.run(key).output == before


def test_who_would_have_to_authenticate_is_told(container: Container) -> None:
    for option, words in (("no", "does not allow to ask"), ("yes", "nobody is there to ask")):
        said = call(container, "daemon", f"Reload --allow-interactive-authorization={option}")
        assert f"{NAME}.reload takes authentication" in said and words in said


def test_root_may_without_polkit_too(container: Container) -> None:
    container.run("systemctl mask --now --runtime polkit")
    assert call(container, "root", "Reload") == ""
    assert "Access denied" in call(container, "nobody", "Reload")
    container.run("systemctl unmask --runtime polkit")
    container.wait(f"setpriv --reuid=nobody busctl call {NAME} {PATH} {NAME}.Manager Reload")


def test_the_level_of_the_log(container: Container) -> None:
    assert container.run("systemctl service-log-level bmx7-wg").output == "info\n"
    container.run("systemctl service-log-level bmx7-wg debug")
    assert container.run("systemctl service-log-level bmx7-wg").output == "debug\n"
    assert container.run("systemctl service-log-target bmx7-wg").output == "journal\n"
    refused = container.run(
        "setpriv --reuid=nobody busctl set-property org.bmx7.WireGuard1"
        " /org/freedesktop/LogControl1 org.freedesktop.LogControl1 LogLevel s info",
        check=False,
    )
    assert refused.status != 0
    assert container.run("systemctl service-log-level bmx7-wg").output == "debug\n"
