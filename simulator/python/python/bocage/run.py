"""Runs of a scenario, and what they came to."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

import pyarrow as pa
import pyarrow.parquet as pq

from . import _bocage
from .errors import ViolationWarning

#: A path; TOML text, which has more than one line; or the tables of a TOML file as a dict.
Scenario = Union[str, "os.PathLike[str]", Mapping[str, Any]]

#: Under these keys the schema of a table holds, in JSON, the manifest of each run and what was violated.
MANIFESTS, VIOLATIONS = b"bocage.manifests", b"bocage.violations"


@dataclass(frozen=True)
class Violation:
    """Something that must not happen and did."""

    #: Of the run.
    seed: int
    #: Which property, as docs/simulator.md names it: ``agreement``, ``exactly-once``, ``fault``, …
    property: str
    #: When it was seen, in seconds from the first node's start.
    at_s: float
    #: The node's number, if it is about one.
    node: int | None
    #: In words.
    what: str


@dataclass(frozen=True)
class Run:
    """What a scenario came to with one seed or with several."""

    #: In long form, as in ``measures.parquet``: a row is a number with its time, seed, measure, unit and labels. The
    #: schema's metadata has each measure in a sentence, and the unit of each column that has one.
    table: pa.Table = field(repr=False)
    #: Of all seeds. At most a hundred are listed of each; ``reports`` say how many more there were.
    violations: tuple[Violation, ...]
    #: Of each seed, in order: what ``manifest.json`` says, by which anybody can run it again and see that it is the same.
    manifests: tuple[dict[str, Any], ...] = field(repr=False)
    #: Of each seed, in order: what ``bocage sim run --output json`` says.
    reports: tuple[dict[str, Any], ...] = field(repr=False)

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest, where there was one seed only."""
        (manifest,) = self.manifests
        return manifest

    @property
    def report(self) -> dict[str, Any]:
        """The report, where there was one seed only."""
        (report,) = self.reports
        return report


def simulate(
    scenario: Scenario,
    *,
    seed: int = 1,
    seeds: int | None = None,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> pa.Table:
    """Run a scenario and give what it measured, as a table in long form.

    As :func:`run`, which says more. What was violated stands in JSON in the schema's metadata under ``bocage.violations``,
    each run's manifest under ``bocage.manifests``; a violated run warns with :class:`ViolationWarning`.
    """
    done = run(scenario, seed=seed, seeds=seeds, out=out, threads=threads)
    if done.violations:
        first = done.violations[0]
        more = f", and {len(done.violations) - 1} more" if len(done.violations) > 1 else ""
        text = f"seed {first.seed} violated {first.property} at {first.at_s:.3f} s: {first.what}{more}"
        warnings.warn(text, ViolationWarning, stacklevel=2)
    return done.table


def run(
    scenario: Scenario,
    *,
    seed: int = 1,
    seeds: int | None = None,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> Run:
    """Run a scenario with one seed, or with ``seeds`` many from ``seed`` up, on all cores.

    :param scenario: a path (``str`` without a line end, or any path object), TOML text, or a dict of its tables.
    :param seed: all randomness comes from it; the same one gives the same run, event by event.
    :param seeds: run so many; left out, one.
    :param out: keep the run in this folder, new or empty, as ``bocage sim run --out`` does. One seed only.
    :param threads: run so many seeds at the same time; left out, one a core.
    :raises ScenarioError: the scenario cannot be run; file, line and column are in its text and its attributes.
    :raises OSError: the folder cannot be written, or has something in it.
    :raises ValueError: a seed, count or combination that there cannot be.

    Ctrl-C ends it.
    """
    for name, number in (("seeds", seeds), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number}: at least 1, please")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}: from 0 up to 2**64 - 1, please")
    given, start = _given(scenario)
    parquet, told = start(given, seed, seeds or 1, threads, None if out is None else os.fspath(out))
    manifests = tuple(json.loads(manifest) for manifest, _ in told)
    reports = tuple(json.loads(report) for _, report in told)
    violations = tuple(
        Violation(report["seed"], it["property"], it["at_s"], it["node"], it["what"])
        for report in reports
        for it in report["violations"]
    )
    table = pq.read_table(pa.BufferReader(parquet))
    metadata = {
        **(table.schema.metadata or {}),
        MANIFESTS: json.dumps(manifests).encode(),
        VIOLATIONS: json.dumps([vars(violation) for violation in violations]).encode(),
    }
    return Run(table.replace_schema_metadata(metadata), violations, manifests, reports)


def _given(scenario: Scenario) -> tuple[str, Any]:
    """What was given as a path or as text, and what runs that."""
    if isinstance(scenario, Mapping):
        return _bocage.toml_of_json(json.dumps(scenario)), _bocage.run_text
    if isinstance(scenario, str) and "\n" in scenario:
        return scenario, _bocage.run_text
    return os.fspath(scenario), _bocage.run_file
