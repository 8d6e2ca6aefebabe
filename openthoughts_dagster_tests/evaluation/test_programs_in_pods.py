"""What a pod of programs reads and says, without a cluster: the work, the signed lines, and what is refused."""

import base64
import contextlib
import io
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.cluster.indexed_job import OwnerPod
from openthoughts_dagster.evaluation import (
    BenchmarkAnswersMissing,
    BenchmarkError,
    benchmark_items,
    benchmark_needs,
    program_tests,
    require_confinement,
)
from openthoughts_dagster.evaluation.confined import (
    CallTask,
    CheckTask,
    ConfinementError,
    Limits,
    Outcome,
    ProgramPool,
    StdinTask,
    in_pod,
    kernel,
    start_programs,
    starting,
)
from openthoughts_dagster.evaluation.confined.limits import Task
from openthoughts_dagster.evaluation.confined.pod_manifests import PART_BYTES, config_maps, programs_job
from openthoughts_dagster.evaluation.confined.pod_messages import (
    WAY,
    Batch,
    PodTest,
    pack_item,
    read_lines,
    sign_line,
    unpack_item,
)
from openthoughts_dagster.evaluation.confined.pod_pool import PodPool
from openthoughts_dagster.lake import BENCHMARK_SCORES, Lake
from openthoughts_dagster.recipe import Evaluation
from openthoughts_dagster_tests.evaluation.helpers import json_lines
from openthoughts_dagster_tests.inspection.scored import score

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SHORT = Limits(seconds=5, cpu_seconds=2, memory_megabytes=256, output_megabytes=1)
OWNER = OwnerPod("step", "uid-1", spec={"serviceAccountName": "run", "imagePullSecrets": [{"name": "pull"}]})


def cluster(**programs: object) -> Cluster:
    return Cluster.model_validate({"images": {"code": "code:1", "gpu": "gpu:1"}, "programs": programs})


@pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")
def test_a_pod_runs_its_items_until_a_test_ends_badly_and_signs_what_came_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    double = "print(2 * int(input()))"
    stolen = "print(open('/programs/part-0000', 'rb').read())"
    forged = sign_line(OTHER_KEY, 0, [Outcome("ok", "forged")])
    check = "def check(candidate):\n    assert candidate(2) == 4\ncheck(candidate)\n"
    items: list[list[Task]] = [
        [StdinTask(double, "3"), StdinTask(double, "no number"), StdinTask(double, "4")],
        [CallTask("def f(a): return (a, {1: [a]})", "f", ((1,), ("x",)))],
        [CheckTask("def f(a): return a * a", "f", check)],
        [StdinTask(stolen)],
        [StdinTask("print('x' * 500_000)"), StdinTask("print(1)")],
        [StdinTask(f"import sys\nprint({forged!r})\nprint({forged!r}, file=sys.stderr)")],
    ]
    packed = [(n, pack_item([PodTest(task, SHORT, 100) for task in tests])) for n, tests in enumerate(items)]
    content = Batch(KEY, sandboxed=False, workers=1, seconds=60, items=packed).dump()
    (tmp_path / "part-0000").write_bytes(content[:100])
    (tmp_path / "part-0001").write_bytes(content[100:])
    (tmp_path / "..data").mkdir()  # as Kubernetes has it beside the files

    in_pod.main(str(tmp_path))

    found = dict(read_lines(KEY, f"{forged}\n{capsys.readouterr().out}\n{forged}"))
    assert "Landlock + seccomp + limits" in str(found.pop(WAY)) and sorted(found) == [0, 1, 2, 3, 4, 5]
    statuses = {n: [outcome.status for outcome in each] for n, each in found.items() if not isinstance(each, str)}
    assert statuses == {0: ["ok", "error"], 1: ["ok"], 2: ["ok"], 3: ["error"], 4: ["output"], 5: ["ok"]}
    assert found[0][0] == Outcome("ok", "6\n")
    assert found[1] == [Outcome("ok", values=((1, {1: [1]}), ("x", {1: ["x"]})))]
    assert found[5] == [Outcome("ok", forged + "\n")]  # it is what the program printed, and nothing else
    assert [unpack_item(each) for _, each in Batch.load(content).items][2][0].task == items[2][0]


def test_a_pod_that_cannot_confine_says_so_for_each_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    monkeypatch.setenv("PATH", "")
    item = pack_item([PodTest(StdinTask("print(1)"), SHORT, 100)])
    (tmp_path / "part-0000").write_bytes(Batch(KEY, False, 1, 60, [(7, item)]).dump())

    in_pod.main(str(tmp_path))

    ((number, reason),) = read_lines(KEY, capsys.readouterr().out)
    assert number == 7 and "the kernel has no Landlock" in str(reason)


def test_without_landlock_seccomp_alone_keeps_programs_from_writing_and_test_code_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in gVisor, where a program may find the pipe of the pod's log below /proc, but must not write to it."""
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    monkeypatch.setenv("PATH", "")
    tmp_path.chmod(0o777)
    program = f"""
import os, socket
tries = [
    lambda: open("/proc/1/fd/1", "w"),
    lambda: open({str(tmp_path / "written")!r}, "w"),
    lambda: os.open({__file__!r}, os.O_RDONLY | os.O_TRUNC),
    lambda: os.kill(os.getppid(), 0),
    lambda: socket.socket(),
    lambda: os.fork(),
]
for number, one in enumerate(tries):
    try: one()
    except PermissionError: continue
    print(number, "worked")
"""
    with ProgramPool("sandboxed", workers=1) as pool:
        assert pool.way == "seccomp + limits"
        assert pool.run([StdinTask(program)], SHORT) == [Outcome("ok")]
        with pytest.raises(ConfinementError, match="test code beside a program needs Landlock or bubblewrap"):
            pool.run([CheckTask("def f(): pass", "f", "candidate()")], SHORT)
    assert not list(tmp_path.iterdir())


class DoomedPods:
    """Runs the pods of programs in this process. Pods with a program that says `doomed`, and late ones, are evicted.

    It stands for the API server, to lose pods; test_program_pods.py has a real one.
    """

    def __init__(self, folder: Path, most: int = 1000) -> None:
        self.folder, self.most, self.lock = folder, most, threading.Lock()
        self.contents: dict[str, bytes] = {}
        self.logs: dict[str, str | None] = {}

    def create_config_map(self, config_map: dict[str, Any]) -> None:
        name = config_map["metadata"]["name"].rpartition("-")[0]
        self.contents[name] = b"".join(base64.b64decode(part) for part in config_map["binaryData"].values())

    def create_job(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        content = self.contents[name]
        programs = [test.task.program for _, packed in Batch.load(content).items for test in unpack_item(packed)]
        if len(self.logs) >= self.most or any("doomed" in program for program in programs):
            self.logs[name] = None
            return
        (place := self.folder / name).mkdir()
        (place / "part-0000").write_bytes(content)
        with self.lock, contextlib.redirect_stdout(io.StringIO()) as log:
            in_pod.main(str(place))
        self.logs[name] = log.getvalue()

    def job(self, name: str) -> dict[str, Any]:
        return {"status": {"failed": 1} if self.logs[name] is None else {"completionTime": "2026-11-26T00:00:00Z"}}

    def pods_of(self, job: str) -> list[dict[str, Any]]:
        evicted = {"phase": "Failed", "reason": "Evicted", "message": "the node was drained"}
        return [{"metadata": {"name": job}, "status": evicted if self.logs[job] is None else {"phase": "Succeeded"}}]

    def whole_log_of(self, pod: str, most_bytes: int) -> str | None:
        return self.logs[pod]

    def delete_job(self, name: str) -> None: ...

    def delete_config_map(self, name: str) -> None: ...


@pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")
def test_an_item_that_ends_its_pods_is_a_failed_sample_and_the_others_are_judged(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = cluster(runtime_class=None, pods=1)
    api = DoomedPods(tmp_path)
    monkeypatch.setattr(starting, "_start_pods", lambda: PodPool(cast(Api, api), settings, OWNER))
    tests = [{"input": "", "output": "1"}]
    path = json_lines(tmp_path / "p.jsonl", [{"question": f"Say 1 ({n}).", "tests": tests} for n in range(2)])
    code = {"kind": "programs", "name": "code", "path": str(path)}
    evaluation = Evaluation.model_validate({"benchmarks": [code], "confinement": "pod", "missing_answers": 0.5})

    def reply(question: str, _: int) -> str:
        return {"0": "print(1)", "1": "print(1)  # doomed"}[question[-3]]

    rows = score(lake, BENCHMARK_SCORES, evaluation, reply, tmp_path, source="s", teacher="t").sort("position")
    assert rows.select("score", "failed", "no_answer").rows() == [(1.0, 0, 0), (0.0, 1, 0)]
    items = benchmark_items(lake, BENCHMARK_SCORES, source="s", teacher="t").collect()
    assert items.select("verdict", "score").rows() == [("right", 1.0), ("failed", None)]
    assert re.search(r"its pod was lost 2 times: Evicted: the node was drained", items["error"][1])
    assert items["extracted"][1] == "print(1)  # doomed"
    strict = evaluation.model_copy(update={"missing_answers": 0.01})
    with pytest.raises(BenchmarkAnswersMissing, match=r"code: the programs of 1 of 2 answers could not be run"):
        score(lake, BENCHMARK_SCORES, strict, reply, tmp_path, source="s", teacher="t")

    api = DoomedPods(tmp_path, most=1)  # the first trial, and no other pod
    pool = PodPool(cast(Api, api), settings, OWNER)
    with pytest.raises(ConfinementError, match=r"trial program could not be run in a pod: .* 2 times: Evicted"):
        pool.run_items([[PodTest(StdinTask("print(1)"), SHORT, 100)]] * 100)
    assert len(api.logs) < 7


class LocalPods(PodPool):
    """Runs items as a pod does, on this machine."""

    def __init__(self, pool: ProgramPool) -> None:
        self.pool, self.asked = pool, list[int]()

    def run_items(self, items: Sequence[Sequence[PodTest]]) -> list[list[Outcome]]:
        self.asked.append(len(items))
        return [in_pod.run_item(self.pool, list(tests)) for tests in items]


@pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")
def test_large_tests_come_into_pods_in_parts_and_verdicts_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_tests, "_MOST_CHARACTERS", 5)

    def tests_of(doc: str, program: str) -> list[program_tests.ProgramTest]:
        return [program_tests.stdin_test(program, "12", doc, SHORT)]

    asked = [(answer, "print(input())") for answer in ("12", "13", "12", "12", "13")] + [("12", "```never closed")]
    with ProgramPool("landlock", workers=1) as local:
        pods = LocalPods(local)
        found = program_tests.judge_programs(pods, tests_of)(asked)
        assert found == program_tests.judge_programs(local, tests_of)(asked)
    assert [verdict.right for verdict in found] == [True, False, True, True, False, False] and pods.asked == [2, 2, 2]


def test_the_pod_has_no_token_no_identity_and_nothing_to_write_to() -> None:
    with_class, without = cluster(runtime_class="gvisor"), cluster(runtime_class=None)
    assert with_class.programs is not None and without.programs is not None
    job = programs_job("p", ["p-0", "p-1"], with_class, with_class.programs, OWNER)
    pod = job["spec"]["template"]["spec"]
    assert (pod["runtimeClassName"], pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (
        "gvisor",
        False,
        False,
    )
    assert "serviceAccountName" not in pod and pod["imagePullSecrets"] == [{"name": "pull"}]
    (container,) = pod["containers"]
    assert "env" not in container and "envFrom" not in container
    assert container["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["activeDeadlineSeconds"] == 3600
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    maps = config_maps("p", b"x" * (PART_BYTES + 1), OWNER)
    assert [each["metadata"]["name"] for each in maps] == ["p-0", "p-1"]
    job = programs_job("p", [], without, without.programs, OWNER)
    assert "runtimeClassName" not in job["spec"]["template"]["spec"]


def test_pods_are_refused_where_there_is_no_cluster_or_no_runtime_class_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENTHOUGHTS_EXECUTOR", raising=False)
    with pytest.raises(ConfinementError, match=r"started by steps on Kubernetes only"):
        start_programs("pod")
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({"images": {"code": "c", "gpu": "g"}, "programs": {"pods": 2}}))
    monkeypatch.setenv("OPENTHOUGHTS_EXECUTOR", "kubernetes")
    monkeypatch.setenv("OPENTHOUGHTS_CLUSTER", str(path))
    with pytest.raises(ConfinementError, match=r"programs\.runtime_class: is missing"):
        start_programs("pod")
    path.write_text(yaml.safe_dump({"images": {"code": "c", "gpu": "g"}}))
    with pytest.raises(ConfinementError, match=r"settings have no `programs`.*runtime_class: null"):
        start_programs("pod")
    path.write_text(yaml.safe_dump({"images": {"code": "c", "gpu": "g"}, "programs": {"runtime_class": None}}))
    code = {"kind": "programs", "name": "code", "path": "p.jsonl"}
    evaluation = Evaluation.model_validate({"benchmarks": [code], "confinement": "pod"})
    with pytest.raises(BenchmarkError, match=r"evaluation\.benchmarks\.code: pods for programs cannot be started"):
        require_confinement(evaluation)
    assert benchmark_needs(evaluation, str) == [
        ("confinement", None, "programs run in pods of their own, which steps try out and start")
    ]
