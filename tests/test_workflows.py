"""The workflows: they run what was reviewed, may do no more than they need, and end."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
JOBS = {
    f"{path.stem} {name}": job
    for path in FILES
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_named_by_its_commit_with_the_version_beside_it(path):
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_commit_in_all_workflows():
    used = {
        action
        for path in FILES
        for action in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    }
    names = [action.split("@")[0] for action in used]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends(name):
    assert JOBS[name]["timeout-minutes"] <= 350


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_workflow_may_read_and_has_one_run_at_a_time(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]


def test_only_publishing_may_write_and_it_runs_no_code_of_ours():
    writers = {name: job for name, job in JOBS.items() if "permissions" in job}
    assert list(writers) == ["site publish"]
    assert all("run" not in step for step in writers["site publish"]["steps"])


def test_nox_is_installed_at_its_pinned_version():
    steps = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    installing = [step for step in steps if "install" in step]
    assert installing
    assert set(installing) == {'pip install -c constraints.txt "nox[uv]"'}
    assert re.search(r"^nox==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)


def test_what_is_published_is_never_made_of_other_data():
    assert JOBS["site build"]["env"]["BN_TUTORIAL_DATASET"] == "mnist"


def test_versions_of_python_that_are_tested_are_those_that_the_package_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert JOBS["site test"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if "strategy" in job])
def test_a_version_or_session_that_fails_does_not_end_the_others(name):
    assert JOBS[name]["strategy"]["fail-fast"] is False


def test_what_ci_runs_on_a_checkout_is_run_by_the_workflows_too():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = set(re.findall(r"^@nox\.session.*\ndef (\w+)", noxfile, re.M))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    calls = re.findall(r"^(?:until_minute \d+ both|.*nox -s) (.*)", script, re.M)
    on_a_checkout = sessions & set(re.findall(r"\w+", " ".join(calls)))
    assert {"docs", "repeat", "notebooks", "faults", "tests"} <= on_a_checkout
    called = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    called += JOBS["weekly session"]["strategy"]["matrix"]["session"]
    assert on_a_checkout <= set(re.findall(r"\w+", " ".join(called)))


def test_every_part_of_the_package_has_its_mutants_tried_each_week():
    sessions = JOBS["weekly session"]["strategy"]["matrix"]["session"]
    patterns = [
        found for session in sessions for found in re.findall(r'"(bn_tutorial\S*)"', session)
    ]
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "bn_tutorial").rglob("*.py")
        if path.stem != "__init__"
    ]
    assert len(modules) > 30
    for module in modules:
        assert [fnmatch(f"{module}.x", pattern) for pattern in patterns].count(True) == 1, module
