"""Lock, ports, back-off, log rotation, leftovers: without any JVM."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from lakehouse import processes
from lakehouse.cli.platform import StartReporter
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lock import lake_lock, lock_holder, lock_path, stream_lock
from lakehouse.probes import replies
from lakehouse.services import detached
from lakehouse.services.child import LONGEST_PAUSE_SECONDS, STABLE_SECONDS, Child, rotate
from lakehouse.services.ports import busy_port_message, check_ports
from lakehouse.services.service import Service
from lakehouse.services.state import ServiceState, Snapshot, read_state, status, write_state
from lakehouse.services.supervisor import Supervisor
from tests.support.platform import free_settings


def test_the_lock_has_one_holder(tmp_path):
    settings = free_settings(tmp_path)
    first, second = lake_lock(settings), lake_lock(settings)
    first.acquire()
    assert lock_holder(settings) == os.getpid()
    with pytest.raises(UsageError, match="already up"):
        second.acquire()
    first.release()
    assert not lock_path(settings).exists() and lock_holder(settings) is None
    second.acquire()
    second.release()


def test_the_lock_dies_with_its_holder(tmp_path):
    settings = free_settings(tmp_path)
    lock_path(settings).parent.mkdir(parents=True)
    lock_path(settings).write_text("1")
    assert lock_holder(settings) is None
    lock = lake_lock(settings)
    lock.acquire()
    lock.release()


HOLD = """
import time
from lakehouse.lock import lake_lock
from lakehouse.settings import load_settings
lock = lake_lock(load_settings())
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_supervisor_that_its_parent_has_not_asked_about_has_ended(settings):
    environment = os.environ | {"SHOPLAKE_DATA_DIR": str(settings.data_dir)}
    child = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    assert detached.stop(settings)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert child.wait() == -15


def test_down_takes_away_the_locks_of_the_dead_and_no_other(settings):
    """A part that is killed, or dies of another's end, gives its lock back and leaves the file."""
    held, dead = stream_lock(settings), settings.run_dir / "alerts.lock"
    held.acquire()
    dead.write_text("1")
    detached.stop(settings)
    assert held.is_held and not dead.exists()
    held.release()


def test_a_busy_port_is_named():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        message = busy_port_message("SHOPLAKE_S3_PORT", port)
        assert message is not None
        assert f"Port {port} is held by" in message and f"(process {os.getpid()})" in message
        assert "set SHOPLAKE_S3_PORT" in message
        with pytest.raises(UsageError, match=str(port)):
            check_ports({"SHOPLAKE_S3_PORT": port})
    assert busy_port_message("SHOPLAKE_S3_PORT", port) is None


def test_one_port_for_two_parts_is_refused(tmp_path):
    port = free_settings(tmp_path).s3_port
    with pytest.raises(UsageError, match=f"SHOPLAKE_A and SHOPLAKE_B are both {port}"):
        check_ports({"SHOPLAKE_A": port, "SHOPLAKE_B": port})


def test_pauses_grow_and_start_over_after_a_healthy_while(settings):
    child = Child(service(SLEEP), settings)

    def pause(now: float) -> int:
        child._fail(now, "died")
        return int(re.search(r"next start in (\d+) s", child.message)[1])

    child.was_up = True
    assert [pause(0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    child._healthy_since = 0
    assert pause(STABLE_SECONDS + 1) == 1


def test_a_large_log_is_moved_aside_while_it_is_written(tmp_path):
    path = tmp_path / "part.log"
    with path.open("ab") as writer:
        for number in range(5):
            writer.write(b"x" * 100 + str(number).encode())
            writer.flush()
            rotate(path, max_bytes=100)
    assert path.stat().st_size == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["part.log", "part.log.1", "part.log.2", "part.log.3"]
    assert path.with_name("part.log.1").read_bytes().endswith(b"4")


def test_a_server_that_does_not_reply_is_not_healthy(monkeypatch):
    monkeypatch.setattr("lakehouse.probes.SECONDS", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert not replies(mute.getsockname()[1], b"hello")


def service(code: str, **values: object) -> Service:
    command = (sys.executable, "-c", code)
    defaults: dict[str, object] = {"memory_mb": 100, "memory_limit_mb": 1000, "is_healthy": lambda _pid: True}
    return Service("part", "url", "", command, **{**defaults, **values})  # type: ignore[arg-type]


def tick_until(child: Child, condition, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (child.state, child.message)
        child.tick(True)
        time.sleep(0.02)


@pytest.fixture
def settings(tmp_path):
    made = free_settings(tmp_path)
    made.data_dir.mkdir(parents=True)
    return made


SLEEP = "import time; time.sleep(60)"


def test_a_child_that_dies_is_started_again(settings):
    child = Child(service(SLEEP), settings)
    tick_until(child, lambda: child.state == "up")
    first = child.pid
    os.kill(first, 9)
    tick_until(child, lambda: child.state == "failed")
    assert "next start in 1 s" in child.message
    tick_until(child, lambda: child.state == "up")
    assert child.pid != first and not child.has_given_up
    child.stop()
    assert child.state == "down" and processes.lake_processes(settings) == []


def test_a_child_that_never_comes_up_gives_up_and_names_its_log(settings):
    child = Child(service("raise SystemExit(3)", is_healthy=lambda _pid: False), settings)
    tick_until(child, lambda: child.has_given_up)
    assert child.message == f"part ended with exit code 3; see {settings.logs / 'part.log'}"


def test_a_child_that_takes_too_much_memory_is_ended(settings):
    child = Child(service("x = b'x' * 200_000_000\n" + SLEEP, memory_limit_mb=100), settings)
    tick_until(child, lambda: "more than its 100 MB" in child.message)
    child.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much of a page is whose")
def test_memory_that_processes_share_counts_once(settings):
    """Four processes with the same 100 MB, which three have from the first and have not changed, hold 100 MB."""
    code = "import os, time; x = os.urandom(2**20) * 100; os.fork(); os.fork(); time.sleep(60)"
    child = Child(service(code), settings)
    tick_until(child, lambda: len(psutil.Process(child.pid).children(recursive=True)) == 3 if child.pid else False)
    assert 100 < processes.memory_mb(child.pid) < 200
    assert processes.memory_over_mb(child.pid, 200) == 0  # the four together have more than 400 in view
    assert 100 < processes.memory_over_mb(child.pid, 100) < 200
    child.stop()


def test_a_moment_over_the_limit_ends_nothing(settings, monkeypatch):
    """A JVM that starts a process is seen twice until the new process runs a program of its own."""
    looks = [0, 300, 300, 0, 300, 0, 0]
    monkeypatch.setattr(processes, "memory_over_mb", lambda _pid, _limit: looks.pop(0) if looks else 0)
    monkeypatch.setattr("lakehouse.services.child.HEALTH_CHECK_SECONDS", 0.01)
    child = Child(service(SLEEP, memory_limit_mb=100), settings)
    tick_until(child, lambda: not looks and child.state != "starting")
    assert child.state == "up" and child.message == ""
    child.stop()


def test_what_has_to_be_done_once_is_done_once_and_its_failure_is_told(settings):
    def fail() -> None:
        raise ShoplakeError("No bucket.")

    child = Child(service(SLEEP, on_up=fail), settings)
    tick_until(child, lambda: child.has_given_up)
    assert child.message == "No bucket."
    child.stop()


def test_leftovers_are_found_by_their_mark_and_nothing_else_is(settings, tmp_path):
    other = free_settings(tmp_path / "other")
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    environment = {**os.environ, **processes.lake_mark(settings)}
    subprocess.run([sys.executable, "-c", start], env=environment, check=True)
    bystander = subprocess.Popen([sys.executable, "-c", SLEEP])
    assert processes.lake_processes(other) == []
    assert processes.end_lake_processes(settings) == 1
    assert processes.lake_processes(settings) == []
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_status_of_a_lake_that_was_never_up(settings):
    found = status(settings)
    assert {part["state"] for part in found.values()} == {"down"}
    assert found["kafka"]["bootstrap"] == settings.bootstrap and found["spark"]["remote"] == settings.remote


def test_status_does_not_wait_for_a_broker_that_is_away(tmp_path):
    settings = free_settings(tmp_path)
    away = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{settings.kafka_port}"})
    begin = time.monotonic()
    assert status(settings)["stream"]["lag"] is None and status(away)["stream"]["lag"] is None
    assert time.monotonic() - begin < 3


def test_a_written_state_is_read_back(settings):
    child = Child(service(SLEEP), settings)
    written = Snapshot.of(1, [child])
    write_state(settings, written)
    assert read_state(settings) == written and not written.is_up
    write_state(settings, None)
    assert read_state(settings) is None


def supervised(settings, monkeypatch, *parts: Service) -> Supervisor:
    """A supervisor of these parts instead of the platform's."""
    monkeypatch.setattr("lakehouse.services.supervisor.services", lambda _settings, **_which: list(parts))
    monkeypatch.setattr("lakehouse.services.supervisor.fetch_jars", lambda: None)
    return Supervisor(settings, lambda _snapshot: None)


def test_a_supervisor_whose_folder_is_deleted_ends_what_it_started_and_says_so(settings, monkeypatch):
    supervisor, started = supervised(settings, monkeypatch, service(SLEEP)), []

    def delete() -> None:
        while not started:
            time.sleep(0.05)
            started.extend(processes.lake_processes(settings))
        shutil.rmtree(settings.data_dir)

    deleting = threading.Thread(target=delete)
    deleting.start()
    with pytest.raises(ShoplakeError, match=f"The folder {settings.data_dir} was deleted while the platform ran"):
        supervisor.run()
    deleting.join()
    assert started and processes.lake_processes(settings) == []
    assert not settings.data_dir.exists()


def test_an_old_supervisor_leaves_the_lock_and_the_parts_of_a_new_one_alone(settings, monkeypatch):
    old = lake_lock(settings)
    old.acquire()
    shutil.rmtree(settings.data_dir)
    new = lake_lock(settings)
    new.acquire()
    old.release()
    assert new.is_held and not old.is_held and lock_holder(settings) == os.getpid()
    new.release()


def test_a_supervisor_in_the_background_is_found_without_its_files(settings):
    """As `down` and the next `up` look for it."""
    process = detached._spawn(settings, with_stream=False, with_superset=False)
    process.send_signal(signal.SIGSTOP)  # as early as can be: nothing is started
    shutil.rmtree(settings.data_dir)
    assert [one.pid for one in processes.lake_processes(settings)] == [process.pid]
    process.send_signal(signal.SIGCONT)
    assert detached.stop(settings)
    process.wait(10)
    assert not detached.stop(settings)


def state_of(name: str, state: str) -> Snapshot:
    return Snapshot(1, {name: ServiceState(state, "127.0.0.1:1", None, "")})


def test_a_start_says_when_everything_is_up_and_an_end_what_has_ended(capsys):
    start = StartReporter("Starting", "It stays so.")
    for state in ("down", "starting", "up", "up", "down"):
        start(state_of("kafka", state))
    said = capsys.readouterr().err.splitlines()
    assert said[:1] + said[2:] == ["  kafka     starting", "Everything is up. It stays so.", "  kafka     down"]
    assert said[1].startswith("  kafka     up after ")
    end = StartReporter("Ending")
    for state in ("up", "up", "down"):
        end(state_of("kafka", state))
    assert capsys.readouterr().err == "  kafka     down\n"
