"""The Bocage simulator: a scenario in, a table out.

    >>> import bocage
    >>> table = bocage.simulate("simulator/scenarios/three.toml", seeds=30)
    >>> table.column_names[:4]
    ['time_s', 'seed', 'variant', 'measure']

The runs are those of ``bocage sim run``: same scenario, seed and commit, same trace hash. What a scenario may say and what
the measures are: docs/simulator.md in the repository.
"""

from ._bocage import commit, schema
from .errors import ScenarioError, ViolationWarning
from .run import Run, Violation, run, simulate

__all__ = ["Run", "ScenarioError", "Violation", "ViolationWarning", "commit", "run", "schema", "simulate"]
