"""What the steps ran on: a letter for each machine, so that no table mixes two without saying so."""

from collections.abc import Iterable, Mapping
from typing import Any

Machine = Mapping[str, Any]
"""As :func:`benchmarks.machine.describe` has it."""


class Machines:
    """Letters by machine, in the order in which the machines appear.

    Parameters
    ----------
    described
        The machine of everything that was measured.
    """

    def __init__(self, described: Iterable[Machine]) -> None:
        self.names = list(dict.fromkeys(_name(one) for one in described))

    def letter(self, machine: Machine) -> str:
        """Return the letter of one machine."""
        return chr(ord("A") + self.names.index(_name(machine)))

    def legend(self) -> str:
        """Return what each letter stands for."""
        return "".join(f"- {chr(ord('A') + i)}: {name}\n" for i, name in enumerate(self.names))


def _name(machine: Machine) -> str:
    return f"{machine['cores']} cores of {machine['processor']}, torch {machine['packages']['torch']}"
