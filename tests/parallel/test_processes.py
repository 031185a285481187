import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from active_indexing.attacks.jobs import AttackJob, attack_pool
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack, default_attacks
from active_indexing.parallel.processes import JOBS_PER_WORKER
from tests.attacks import preprocessings
from tests.attacks.conftest import made_up

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    for number in range(5):
        made_up(60 + 9 * number, 80 - 7 * number).save(folder / f"{number}.png")
    (folder / "5.png").write_bytes(b"broken")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def pool():
    with attack_pool(2) as pool:
        yield pool


NONE = (Attack("none"),)


def jobs(paths, attacks=NONE, preprocessing=preprocessings.small):
    for number, path in enumerate(paths):
        yield AttackJob(
            image_id=100 + number, path=path, attacks=tuple(attacks), seed=0, preprocessing=preprocessing
        )


def summary(results):
    return [
        (r.image_id, r.attacks, r.failures, [(x.shape, x.dtype, x.tobytes()) for x in r.inputs])
        for r in results
    ]


def test_results_are_the_same_for_any_number_of_workers_and_in_the_order_of_the_jobs(paths, pool):
    attacks = [*default_attacks(), Attack(RANDOM_CHAIN)]
    with attack_pool(0) as here:
        expected = summary(here.run(jobs(paths, attacks)))
    assert [image_id for image_id, *_ in expected] == [100, 101, 102, 103, 104, 105]
    assert len(expected[5][2]) == 16  # the broken file
    assert summary(pool.run(jobs(paths, attacks))) == expected
    with attack_pool(1) as single:
        assert summary(single.run(jobs(paths, attacks))) == expected


def test_only_a_bounded_number_of_jobs_is_taken_ahead_of_the_caller(paths, pool):
    taken = []

    def counted():
        for job in jobs(paths * 10):
            taken.append(job.image_id)
            yield job

    for done, result in enumerate(pool.run(counted())):
        assert result.image_id == 100 + done
        assert len(taken) <= done + JOBS_PER_WORKER * pool.workers
    assert len(taken) == 60


def test_a_pool_serves_one_run_after_another_even_when_a_run_is_left_early(paths, pool):
    run = pool.run(jobs(paths))
    assert next(run).image_id == 100
    run.close()
    assert [result.image_id for result in pool.run(jobs(paths[:3]))] == [100, 101, 102]


def test_no_jobs_give_no_results(pool):
    assert list(pool.run([])) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_work_is_done_with_one_torch_thread(paths, pool, workers):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with attack_pool(0) as here:
            used = pool if workers else here
            (result,) = used.run(jobs(paths[:1], preprocessing=preprocessings.threads))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (result.inputs[0] == 1).all()


def test_a_worker_that_dies_is_an_error_that_names_the_image_and_the_remedy(paths):
    match = r"worker died \(signal 9\) while attacking .*0\.png \(image 100\). If the machine .* use fewer"
    with attack_pool(1) as pool, pytest.raises(ChildProcessError, match=match):
        list(pool.run(jobs(paths, preprocessing=preprocessings.deadly)))


def test_a_worker_that_dies_between_jobs_is_an_error(paths):
    before = set(multiprocessing.active_children())
    with attack_pool(1) as pool:
        (child,) = set(multiprocessing.active_children()) - before
        assert len(list(pool.run(jobs(paths[:1])))) == 1
        child.kill()
        child.join()
        with pytest.raises(ChildProcessError, match="a worker died"):
            list(pool.run(jobs(paths)))


def test_a_defect_in_a_worker_is_raised_with_its_traceback(paths, pool):
    match = r"(?s)attacking .*0\.png \(image 100\) failed in a worker:.*Traceback.*ValueError: wrong weights"
    with pytest.raises(RuntimeError, match=match):
        list(pool.run(jobs(paths, preprocessing=preprocessings.faulty)))


def test_leaving_the_pool_stops_its_workers(paths):
    before = set(multiprocessing.active_children())
    with attack_pool(1) as pool:
        (worker,) = set(multiprocessing.active_children()) - before
        next(pool.run(jobs(paths)))
        pid = worker.pid
    assert is_gone(pid)
    assert set(multiprocessing.active_children()) == before


def test_a_pool_that_is_not_entered_says_so(paths):
    with pytest.raises(RuntimeError, match="use it inside: with ProcessPool"):
        next(attack_pool(1).run(jobs(paths)))


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match=r"workers must be 0 .* or more, got -1"):
        attack_pool(-1)


# No __main__ guard on purpose. Stopped twice: by Ctrl-C, which the script survives, and by kill -9.
SCRIPT = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
sys.path.insert(0, {root!r})
import multiprocessing
from pathlib import Path
from tests.attacks.preprocessings import small
from active_indexing.attacks.jobs import AttackJob, attack_pool
from active_indexing.attacks.registry import default_attacks
assert "augly" not in sys.modules
assert not [name for name in opened if "augly/" in name]

def work_until_stopped():
    job = AttackJob(image_id=0, path=Path({path!r}), attacks=default_attacks(), seed=0, preprocessing=small)
    with attack_pool(2) as pool:
        results = pool.run(job for _ in iter(int, 1))
        next(results)
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        for _ in results:
            pass

try:
    work_until_stopped()
except KeyboardInterrupt:
    print(len(multiprocessing.active_children()), flush=True)
work_until_stopped()
"""


def is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # dead; the first process of a container may never collect it


def wait_until_gone(pids):
    deadline = time.monotonic() + 20
    while not all(is_gone(pid) for pid in pids):
        assert time.monotonic() < deadline, "workers are left"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_script_without_a_main_guard_works_and_leaves_no_orphans_when_it_is_stopped(paths, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), path=str(paths[0])))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as main:
        first = [int(pid) for pid in main.stdout.readline().split()]
        os.killpg(main.pid, signal.SIGINT)  # the terminal sends Ctrl-C to workers too
        left = main.stdout.readline()
        second = [int(pid) for pid in main.stdout.readline().split()]
        main.kill()
        errors = main.stderr.read()
    assert errors == ""
    assert len(first) == len(second) == 2
    assert left == "0\n"
    wait_until_gone([*first, *second])
