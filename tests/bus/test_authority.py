"""Nothing changes before polkit said yes, whatever polkit and the caller do meanwhile."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from bmx7wg.bus import authority, errors
from bmx7wg.bus.client import CallError, Client
from bmx7wg.bus.names import MANAGER, NAME, PROPERTIES, ROOT
from bmx7wg.bus.service import Bus
from bmx7wg.bus.values import marshal

from .daemon import Daemon
from .polkit import CHALLENGE, NO, YES, Polkit, connect_as_nobody, polkit
from .samples import Counting, on_the_bus, peer, until
from .test_verbs import NAMES, VERBS, call_verb, tell

ACTIONS = {
    "OfferNetwork": "manage-networks",
    "WithdrawNetwork": "manage-networks",
    "SearchNetwork": "manage-networks",
    "ForgetSearch": "manage-networks",
    "RotateKey": "rotate-key",
    "Synchronize": "reload",
    "Reload": "reload",
}


async def refusal(client: Client, verb: tuple[Any, ...] = VERBS[4], **how: Any) -> str:
    """The error's last name and its text."""
    with pytest.raises(CallError) as caught:
        await call_verb(client, verb, **how)
    return f"{caught.value.name.rpartition('.')[2]}: {caught.value.text}"


def nothing_waits(bus: Bus) -> bool:
    known = bus._verbs.authority
    return not (known._asked or known._gone or bus._verbs._tasks or bus._verbs._by_caller)


@pytest.mark.parametrize("verb", VERBS, ids=NAMES)
def test_polkit_is_asked_before_anything_changes(daemon: Daemon, run_async, verb: Any) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(peer(3), controller=controller) as bus, polkit() as standin:
            async with await connect_as_nobody() as client:
                for result, done in ((NO, []), (YES, [verb[5]])):
                    standin.asked.clear()
                    call = asyncio.ensure_future(call_verb(client, verb))
                    await until(lambda: len(standin.asked) == 1)
                    assert controller.done == []
                    action = f"{NAME}.{ACTIONS.get(verb[2], 'manage-peers')}"
                    caller = client._connection.unique_name
                    assert standin.questions == [(caller, action, 0)]
                    standin.answer(0, result)
                    (answer,) = await asyncio.gather(call, return_exceptions=True)
                    if result == NO:
                        assert isinstance(answer, CallError)
                        assert answer.name == errors.ACCESS_DENIED and action in answer.text
                    else:
                        assert answer == verb[4]
                    assert controller.done == done
            assert nothing_waits(bus)

    run_async(look())


def test_root_is_not_asked_about(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(), polkit(says=NO) as standin, await Client.connect() as client:
            await call_verb(client, VERBS[4])
            assert standin.asked == []

    run_async(look())


def test_without_polkit_only_root_may(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller):
            async with await connect_as_nobody() as client, await Client.connect() as root:
                assert (await refusal(client)).startswith("AccessDenied: there is no polkit")
                assert controller.done == []
                await call_verb(root, VERBS[4])

    run_async(look())


def test_interaction_only_if_the_caller_allows_it(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(), polkit(says=CHALLENGE) as standin:
            async with await connect_as_nobody() as client:
                required = "InteractiveAuthorizationRequired"
                assert (await refusal(client)).startswith(required)
                assert (await refusal(client, interactive=True)).startswith(required)
                standin.says = lambda question: YES if question[3] else CHALLENGE
                assert (await refusal(client)).startswith(required)
                await call_verb(client, VERBS[4], interactive=True)
            assert [flags for _, _, flags in standin.questions] == [0, 1, 0, 1]

    run_async(look())


ODD = [
    ("", ()),
    ("b", (True,)),
    ("bba{ss}", (True, False, {})),
    ("(uua{ss})", ((1, 0, {}),)),
    ("(bb)", ((True, False),)),
    ("(sss)", (("yes", "yes", "yes"),)),
]


@pytest.mark.parametrize(("signature", "values"), ODD, ids=[odd[0] for odd in ODD])
def test_an_answer_that_makes_no_sense_is_a_no(
    daemon: Daemon, run_async, signature: str, values: Any
) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller), polkit() as standin:
            async with await connect_as_nobody() as client:
                call = asyncio.ensure_future(refusal(client))
                await until(lambda: len(standin.asked) == 1)
                header = standin.asked[0].header
                standin.connection.answer(header, signature, marshal(signature, values))
                assert (await call).startswith("AccessDenied: polkit's answer")
            assert controller.done == []

    run_async(look())


def test_an_error_of_polkit_is_a_no(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(), polkit() as standin, await connect_as_nobody() as client:
            call = asyncio.ensure_future(refusal(client))
            await until(lambda: len(standin.asked) == 1)
            error = "org.freedesktop.PolicyKit1.Error.Failed"
            standin.connection.answer_error(standin.asked[0].header, error, "out of order")
            assert await call == "AccessDenied: polkit could not be asked (out of order)."

    run_async(look())


@pytest.mark.parametrize("interactive", [False, True])
def test_a_polkit_that_hangs_is_a_no(
    daemon: Daemon, run_async, monkeypatch: pytest.MonkeyPatch, interactive: bool
) -> None:
    monkeypatch.setattr(authority, "ASK_TIMEOUT", 5.0 if interactive else 0.1)
    monkeypatch.setattr(authority, "INTERACTIVE_TIMEOUT", 0.1 if interactive else 5.0)

    async def look() -> None:
        async with on_the_bus() as bus, polkit() as standin, await connect_as_nobody() as client:
            said = await refusal(client, interactive=interactive)
            assert said == "AccessDenied: polkit did not answer in 0.1 s."
            await until(lambda: standin.cancelled == [standin.asked[0].body[4]])
            async with await Client.connect() as root:
                await call_verb(root, VERBS[4])
            assert nothing_waits(bus)

    run_async(look())


def test_a_polkit_that_is_restarted_is_asked_again(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller), await connect_as_nobody() as client:
            first, second = await Polkit().start(), Polkit()
            call = asyncio.ensure_future(call_verb(client, VERBS[4]))
            await until(lambda: len(first.asked) == 1)
            second.says = lambda question: YES
            await second.connection.open()
            await second.connection.call_bus("RequestName", "su", "org.freedesktop.PolicyKit1", 0)
            first.stop()
            await call
            assert controller.done == [("reload",)]
            second.says = lambda question: second.stop()
            assert (await refusal(client)).startswith("AccessDenied: ")

    run_async(look())


def test_100_callers_at_once_are_answered_in_any_order(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        rng = random.Random(6277)
        controller = Counting()
        async with on_the_bus(controller=controller) as bus, polkit() as standin:
            clients = [await connect_as_nobody() for _ in range(100)]
            calls = [asyncio.ensure_future(call_verb(client, VERBS[4])) for client in clients]
            await until(lambda: len(standin.asked) == 100)
            allowed = {client._connection.unique_name for client in rng.sample(clients, 50)}
            order = list(range(100))
            rng.shuffle(order)
            for number in order:
                caller = standin.questions[number][0]
                standin.answer(number, YES if caller in allowed else NO)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for client, answer in zip(clients, answers):
                assert (answer is None) == (client._connection.unique_name in allowed)
            assert controller.done == [("reload",)] * 50
            for client in clients:
                await client.close()
            assert nothing_waits(bus)

    run_async(look())


def test_questions_about_one_user_are_bounded(
    daemon: Daemon, run_async, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "MAX_ASKED", 3)

    async def look() -> None:
        async with on_the_bus(), polkit() as standin, await connect_as_nobody() as client:
            calls = [asyncio.ensure_future(call_verb(client, VERBS[4])) for _ in range(3)]
            await until(lambda: len(standin.asked) == 3)
            assert (await refusal(client)).startswith("LimitsExceeded: 3 calls of this user")
            async with await Client.connect() as root:
                await call_verb(root, VERBS[4])
            for number in range(3):
                standin.answer(number, YES)
            await asyncio.gather(*calls)

    run_async(look())


def test_who_leaves_before_polkit_said_yes_changes_nothing(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller) as bus, polkit() as standin:
            client = await connect_as_nobody()
            tell(client, ROOT, MANAGER, "Reload")
            await until(lambda: len(standin.asked) == 1)
            await client.close()
            await until(lambda: standin.cancelled == [standin.asked[0].body[4]])
            standin.answer(0, YES)
            async with await Client.connect() as root:
                await root.call(ROOT, PROPERTIES, "GetAll", "s", (MANAGER,))
            assert controller.done == [] and nothing_waits(bus)

    run_async(look())


def test_who_leaves_after_polkit_said_yes_has_it_done(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        controller.gate.clear()
        async with on_the_bus(controller=controller) as bus, polkit(says=YES) as standin:
            client = await connect_as_nobody()
            tell(client, ROOT, MANAGER, "Reload")
            await until(lambda: len(standin.asked) == 1 and not bus._verbs.authority._gone)
            await client.close()
            controller.gate.set()
            await until(lambda: controller.done == [("reload",)])

    run_async(look())


def test_a_bus_that_goes_while_polkit_thinks(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller) as bus, polkit() as standin:
            client = await connect_as_nobody()
            tell(client, ROOT, MANAGER, "Reload")
            await until(lambda: len(standin.asked) == 1)
            daemon.stop()
            await until(lambda: nothing_waits(bus))
            await client.close()
        assert controller.done == []

    run_async(look())


def test_signals_about_callers_come_from_the_bus_alone(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        controller = Counting()
        async with on_the_bus(controller=controller), polkit() as standin:
            async with await connect_as_nobody() as client, await connect_as_nobody() as rude:
                call = asyncio.ensure_future(call_verb(client, VERBS[4]))
                await until(lambda: len(standin.asked) == 1)
                caller = client._connection.unique_name
                rude._connection.signal(
                    "/org/freedesktop/DBus",
                    "org.freedesktop.DBus",
                    "NameOwnerChanged",
                    "sss",
                    marshal("sss", (caller, caller, "")),
                )
                await rude.call(ROOT, PROPERTIES, "GetAll", "s", (MANAGER,))
                standin.answer(0, YES)
                await call
            assert controller.done == [("reload",)]

    run_async(look())
