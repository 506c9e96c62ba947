"""A scenario in, a table out: stories of somebody who runs experiments from Python."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import bocage

SMALL = """\
name = "small"
duration_s = 15
settle_s = 45

[[population]]
jurisdiction = "FR"
operators = 3

[[app]]
name = "guestbook"

[workload]
clients = 2
think_ms = 300

[[fault]]
at_s = 3
for_s = 6
what = "power"
who = { any = 1 }
"""

# Nobody there to be touched, so the run shows nothing.
VIOLATED = SMALL + """
[[sometimes]]
what = "leader-changed"
at_least = 1_000
"""


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_path_a_text_and_a_dict_give_the_same_run(file: pathlib.Path) -> None:
    tables = {
        "name": "small",
        "duration_s": 15,
        "settle_s": 45,
        "population": [{"jurisdiction": "FR", "operators": 3}],
        "app": [{"name": "guestbook"}],
        "workload": {"clients": 2, "think_ms": 300},
        "fault": [{"at_s": 3, "for_s": 6, "what": "power", "who": {"any": 1}}],
    }
    runs = [bocage.run(given, seed=7) for given in (file, str(file), SMALL, tables)]
    assert len({run.manifest["trace_hash"] for run in runs}) == 1
    assert len({run.manifest["config_hash"] for run in runs}) == 1
    assert all(run.table.equals(runs[0].table) for run in runs)
    assert bocage.run(file, seed=8).manifest["trace_hash"] != runs[0].manifest["trace_hash"]


def test_the_table_says_its_units_and_every_number_has_one(file: pathlib.Path) -> None:
    table = bocage.simulate(file)
    assert isinstance(table, pa.Table)
    assert table.column_names == [
        "time_s", "seed", "variant", "measure", "unit", "jurisdiction", "node", "kind", "by", "value",
    ]  # fmt: skip
    assert table.schema.field("time_s").metadata[b"unit"] == b"s"
    assert table.schema.metadata[b"operation_ms"].startswith(b"[ms] ")
    rows = table.to_pylist()
    writes = [row for row in rows if row["measure"] == "operation_ms" and row["kind"] == "write"]
    assert len(writes) > 20 and all(row["unit"] == "ms" and row["value"] > 0 for row in writes)
    assert {row["kind"] for row in rows if row["measure"] == "fault_begins"} == {"power"}


def test_seeds_on_many_threads_are_those_of_one_and_in_order() -> None:
    together = bocage.run(SMALL, seed=3, seeds=4)
    alone = bocage.run(SMALL, seed=3, seeds=4, threads=1)
    assert [manifest["seed"] for manifest in together.manifests] == [3, 4, 5, 6]
    hashes = [manifest["trace_hash"] for manifest in together.manifests]
    assert hashes == [manifest["trace_hash"] for manifest in alone.manifests] and len(set(hashes)) == 4
    assert together.table.equals(alone.table)
    of_one = together.table.filter(pc.equal(together.table["seed"], 5))
    assert bocage.simulate(SMALL, seed=5).equals(of_one)
    with pytest.raises(ValueError):
        together.manifest  # noqa: B018


def test_what_was_violated_stands_beside_the_numbers_and_warns() -> None:
    with pytest.warns(bocage.ViolationWarning, match="seed 1 violated sometimes"):
        table = bocage.simulate(VIOLATED)
    (violation,) = json.loads(table.schema.metadata[b"bocage.violations"])
    assert violation["property"] == "sometimes" and table.num_rows > 0
    run = bocage.run(VIOLATED)
    assert [it.property for it in run.violations] == ["sometimes"] and run.manifest["ended"] == "violated"
    assert json.loads(bocage.simulate(SMALL).schema.metadata[b"bocage.violations"]) == []


def test_a_mistake_is_shown_with_file_line_and_column(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SMALL.replace("operators", "operatrs"))
    with pytest.raises(bocage.ScenarioError) as raised:
        bocage.simulate(path)
    error = raised.value
    assert str(error) == f'{path}: line 7, column 1: unknown key "operatrs" (did you mean "operators"?)'
    assert (str(error.path), error.line, error.column, error.help) == (str(path), 7, 1, 'did you mean "operators"?')
    with pytest.raises(bocage.ScenarioError, match="cannot read the scenario nowhere.toml: No such file"):
        bocage.simulate("nowhere.toml")
    with pytest.raises(bocage.ScenarioError, match="line 7, column 1"):
        bocage.simulate(path.read_text())
    with pytest.raises(bocage.ScenarioError, match='unknown key "operatrs"'):
        bocage.simulate({"name": "x", "duration_s": 1, "population": [{"jurisdiction": "FR", "operatrs": 3}]})
    with pytest.raises(ValueError, match="TOML cannot say this"):
        bocage.simulate({"name": None})


def test_a_folder_keeps_what_sim_run_keeps_and_is_not_written_over(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "results"
    run = bocage.run(file, seed=2, out=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json", "measures.csv", "measures.parquet", "report.json", "scenario.toml",
    ]  # fmt: skip
    kept = json.loads((out / "manifest.json").read_text())
    assert kept["trace_hash"] == run.manifest["trace_hash"] and kept["program"]["commit"] == bocage.commit()
    assert pq.read_table(out / "measures.parquet").equals(run.table)
    with pytest.raises(OSError, match="already holds something"):
        bocage.run(file, out=out)
    with pytest.raises(ValueError, match="bocage sim sweep"):
        bocage.run(file, seeds=2, out=tmp_path / "many")


def test_numbers_that_cannot_be_are_refused() -> None:
    for wrong in ({"seeds": 0}, {"threads": 0}, {"seed": -1}, {"seed": 2**64}):
        with pytest.raises(ValueError, match="please"):
            bocage.run(SMALL, **wrong)


def test_the_schema_is_json() -> None:
    assert "duration_s" in json.loads(bocage.schema())["properties"]


def test_ctrl_c_ends_a_long_run() -> None:
    # Whoever runs tests in the background has them ignore Ctrl-C.
    script = f"""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import bocage
        print("runs", flush=True)
        try:
            bocage.run({SMALL.replace("duration_s = 15", "duration_s = 100_000")!r}, seeds=4)
        except KeyboardInterrupt:
            print("ended", flush=True)
    """
    ours = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert ours.stdout is not None and ours.stdout.readline() == "runs\n"
        time.sleep(1)
        ours.send_signal(signal.SIGINT)
        said, _ = ours.communicate(timeout=60)
    finally:
        ours.kill()
    assert said == "ended\n" and ours.returncode == 0
