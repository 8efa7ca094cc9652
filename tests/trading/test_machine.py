"""Any steps in any order leave the books whole: a state machine over every kind of account (see `machine`).

`MACHINE_STEPS` says how many steps are taken in all, chosen anew each time; without it they are few, and the same ones.
"""

import os
import secrets

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.trading import machine
from tests.trading.worlds import WORLDS, World
from trading import dispatch

pytestmark = pytest.mark.soak

STEPS_OF_A_RUN = 60
FEWEST_RUNS, MOST_RUNS = 5, 100  # of a round; the first is always the simplest there is
CHOSEN = os.environ.get("MACHINE_STEPS")
STEPS = int(CHOSEN or 2000)
SEED = int(os.environ.get("MACHINE_SEED") or (secrets.randbits(32) if CHOSEN else 0))


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_any_steps_leave_the_books_whole(world: World, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = machine.Desk.prepare(world)
    monkeypatch.setattr(dispatch, "after_commit", desk.say)
    wanted = STEPS // len(WORLDS)
    rounds = 0
    while desk.steps < wanted:
        left = (wanted - desk.steps) // STEPS_OF_A_RUN
        run_state_machine_as_test(seed(SEED + rounds)(desk), settings=_of(max(FEWEST_RUNS, min(left, MOST_RUNS))))
        rounds += 1


def _of(runs: int) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=STEPS_OF_A_RUN,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
