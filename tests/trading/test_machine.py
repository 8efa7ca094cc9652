"""Any steps in any order leave the books whole: a state machine over every kind of account (see `machine`).

`MACHINE_STEPS` says how many steps are taken in all; without it they are the same ones each time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.trading import machine
from trading import dispatch

STEPS_OF_A_RUN = 100
CHOSEN = os.environ.get("MACHINE_STEPS")
STEPS = int(CHOSEN or 10_200)


@pytest.mark.parametrize("world", machine.WORLDS, ids=lambda world: world.name)
def test_any_steps_leave_the_books_whole(world: machine.World, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = machine.Desk.prepare(world)
    wanted = STEPS // len(machine.WORLDS)
    before = machine.Desk.steps

    def make() -> machine.Desk:
        made = desk()
        monkeypatch.setattr(dispatch, "after_commit", made.say)
        return made

    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=wanted // STEPS_OF_A_RUN + 1,
            stateful_step_count=STEPS_OF_A_RUN,
            deadline=None,
            derandomize=not CHOSEN,
            database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert machine.Desk.steps - before >= wanted
    print("STAT", *sorted(machine.Desk.stat.items()), sep="\n") if os.environ.get("MSTAT") else None
