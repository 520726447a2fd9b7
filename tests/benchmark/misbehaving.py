"""Environments that each do one bad thing, and one that notices what the run before it has left."""

import atexit
import builtins
import ctypes
import decimal
import faulthandler
import gc
import json
import locale
import logging
import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zlib
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

HERE = "tests.benchmark.misbehaving"
FOLDER = "SB3_COURSE_TEST_FOLDER"
"""Environment variable with the folder in which environments that hang say so."""
PLACES = ("make", "reset", "step", "close")


def spin():
    while True:
        pass


def forever():
    time.sleep(1e6)


def say_that_it_hangs():
    (Path(os.environ[FOLDER]) / f"hangs{os.getpid()}").touch()


def ignore_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def fork(then):
    if os.fork() == 0:
        then()
        os._exit(0)


def daemon(then):
    """Leave the session and the parent, as daemons do, and ignore signals."""

    def second():
        os.setsid()
        ignore_signals()
        fork(then)

    fork(second)


def hard_limit(kind, value):
    resource.setrlimit(kind, (value, value))


def replace_in(owner, name, value=None):
    """Put a function that breaks, or gives something wrong, in a function's place."""
    setattr(owner, name, lambda *_, **__: value)


def keep_open():
    builtins.kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(300)]


def many_threads():
    for _ in range(20):
        threading.Thread(target=forever).start()


def change_random_states():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def leave_files():
    tempfile.mkdtemp()
    (Path(tempfile.gettempdir()) / "SB3-2026").mkdir()


def go_where_nothing_is():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def fill_memory():
    builtins.eaten = np.ones(2**25)


def only_one_processor():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def kill_group():
    os.kill(0, signal.SIGKILL)


# What changes a process.
CHANGES = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "torch threads": lambda: torch.set_num_threads(3),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "cudnn flags": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "flush denormals": lambda: torch.set_flush_denormal(True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "torch printing": lambda: torch.set_printoptions(precision=1),
    "random states": change_random_states,
    "warnings are errors": lambda: warnings.simplefilter("error"),
    "folder": lambda: os.chdir("/"),
    "folder that is gone": go_where_nothing_is,
    "environment variable": lambda: os.environ.update(OMP_NUM_THREADS="7", MINE="1"),
    "no environment variables": os.environ.clear,
    "signals ignored": ignore_signals,
    "signals blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    "timer": lambda: signal.setitimer(signal.ITIMER_REAL, 3600.0),
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 0.01),
    "module search path": sys.path.clear,
    "arguments": lambda: sys.argv.append("mine"),
    "numpy errors": lambda: np.seterr(all="raise"),
    "numpy printing": lambda: np.set_printoptions(precision=1),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "umask": lambda: os.umask(0o777),
    "recursion limit": lambda: sys.setrecursionlimit(150),
    "switch interval": lambda: sys.setswitchinterval(5.0),
    "logging disabled": lambda: logging.disable(logging.CRITICAL),
    "logging handler": lambda: logging.getLogger().addHandler(logging.StreamHandler()),
    "excepthook": lambda: replace_in(sys, "excepthook"),
    "thread excepthook": lambda: replace_in(threading, "excepthook"),
    "trace": lambda: sys.settrace(lambda *_: None),
    "at exit, hang": lambda: atexit.register(forever),
    "no collection of garbage": gc.disable,
    "decimals": lambda: setattr(decimal.getcontext(), "prec", 2),
    "faults": faulthandler.disable,
    "start method": lambda: multiprocessing.set_start_method("spawn", force=True),
    "patched builtin": lambda: replace_in(builtins, "print"),
    "patched time": lambda: replace_in(time, "monotonic", 0.0),
    "patched json": lambda: replace_in(json, "dumps", "null"),
    "patched pickle": lambda: replace_in(pickle, "dumps", b""),
    "patched training": lambda: replace_in(A2C, "train"),
    "patched collection": lambda: replace_in(OnPolicyAlgorithm, "collect_rollouts", False),
    "patched numpy": lambda: replace_in(np, "isfinite", np.array(False)),
    "no modules": lambda: sys.modules.update(json=None, torch=None),
    "no environments": gymnasium.registry.clear,
    "few open files": lambda: hard_limit(resource.RLIMIT_NOFILE, 12),
    "little memory": lambda: hard_limit(resource.RLIMIT_DATA, 2**28),
    "no processes": lambda: hard_limit(resource.RLIMIT_NPROC, 1),
    "small files": lambda: hard_limit(resource.RLIMIT_FSIZE, 1),
    "much memory": fill_memory,
    "open files": keep_open,
    "all files closed": lambda: os.closerange(3, 500),
    "output closed": lambda: (os.close(1), os.close(2)),
    "sys.stdout closed": lambda: sys.stdout.close(),
    "no waiting for output": lambda: os.set_blocking(1, False),
    "priority": lambda: os.nice(5),
    "one processor": only_one_processor,
    "temporary folder": lambda: setattr(tempfile, "tempdir", "/none"),
    "temporary files": leave_files,
}
# What leaves threads or processes.
LEAVES = {
    "thread": lambda: threading.Thread(target=forever).start(),
    "threads": many_threads,
    "thread that exits": lambda: threading.Thread(target=sys.exit).start(),
    "fork": lambda: fork(spin),
    "fork that ignores signals": lambda: fork(lambda: (ignore_signals(), forever())),
    "daemon": lambda: daemon(forever),
    "program": lambda: subprocess.Popen(["sleep", "1000"], start_new_session=True),
    "program without environment": lambda: daemon(lambda: os.execve("/bin/sleep", ["s", "99"], {})),
}
# What ends a process, and what is said about it.
ENDS = {
    "exit 0": (lambda: os._exit(0), "exit code 0"),
    "exit 3": (lambda: os._exit(3), "exit code 3"),
    "thread exits": (lambda: threading.Thread(target=os._exit, args=[0]).start(), "exit code 0"),
    "kill": (lambda: os.kill(os.getpid(), signal.SIGKILL), "exit code -9"),
    "terminate": (lambda: os.kill(os.getpid(), signal.SIGTERM), "exit code -15"),
    "kill of the group": (kill_group, "exit code -9"),
    "segmentation fault": (lambda: ctypes.string_at(0), "exit code -11"),
    "abort": (os.abort, "exit code -6"),
    "other program": (lambda: os.execv("/bin/true", ["true"]), "exit code 0"),
    "other program that stays": (
        lambda: os.execv("/bin/sleep", ["sleep", "1000"]),
        "became another program",
    ),
    "all its files closed": (lambda: (os.closerange(3, 500), forever()), "closed its files"),
    "exit, not its child": (lambda: (fork(forever), os._exit(0)), "exit code 0"),
    "kill of the supervisor": (lambda: os.kill(os.getppid(), signal.SIGKILL), "exit code -9"),
    "end of the supervisor": (lambda: os.kill(os.getppid(), signal.SIGTERM), "exit code 1"),
    "SystemExit": (lambda: sys.exit(0), "SystemExit"),
}
# What never returns.
HANGS = {
    "spins": spin,
    "sleeps": forever,
    "ignores signals": lambda: (ignore_signals(), spin()),
    "waits in C": lambda: [ctypes.CDLL(None).pause() for _ in iter(int, 1)],
    "stops itself": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "leaves a daemon": lambda: (daemon(spin), spin()),
    "cancels the timer": lambda: (faulthandler.cancel_dump_traceback_later(), forever()),
}


class Misbehaves(gymnasium.Wrapper):
    """Does something bad, once."""

    def __init__(self, act, place):
        super().__init__(gymnasium.make("CartPole-v1", max_episode_steps=20))
        self._act, self._place = act, place
        self._at("make")

    def _at(self, place):
        if place == self._place:
            self._place = None
            self._act()

    def reset(self, **kwargs):
        self._at("reset")
        return super().reset(**kwargs)

    def step(self, action):
        self._at("step")
        return super().step(action)

    def close(self):
        self._at("close")
        super().close()


def state():
    """Describe this process."""
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.is_anomaly_enabled(),
        torch.get_float32_matmul_precision(),
        repr(torch.tensor(1 / 3)),
        torch.tensor(1e-310, dtype=torch.float64).item(),
        warnings.filters[:3],
        Path.cwd(),
        sorted(os.environ.items() - {(k, os.environ.get(k)) for k in UNLIKE}),
        [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)],
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        signal.getitimer(signal.ITIMER_REAL),
        sys.path,
        sys.argv,
        np.geterr(),
        np.get_printoptions()["precision"],
        locale.setlocale(locale.LC_ALL),
        [os.umask(0o22), os.umask(0o22)],
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        logging.root.manager.disable,
        logging.root.handlers,
        sys.excepthook is sys.__excepthook__,
        threading.excepthook is threading.__excepthook__,
        sys.gettrace(),
        threading.active_count(),
        gc.isenabled(),
        decimal.getcontext().prec,
        faulthandler.is_enabled(),
        multiprocessing.get_start_method(),
        sorted(vars(builtins)),
        print is not None and print.__module__,
        [resource.getrlimit(kind) for kind in range(16)],
        len(os.listdir("/proc/self/fd")),
        [os.get_blocking(number) for number in range(3)],
        os.nice(0),
        os.sched_getaffinity(0),
        os.listdir(tempfile.gettempdir()) == ["mine"],
        random.random(),
        np.random.random(),
        torch.rand(2).tolist(),
    ]


UNLIKE = ("TMPDIR", "SB3_COURSE_SUPERVISOR", "PYTEST_CURRENT_TEST")
"""Environment variables that differ from one supervisor to the next."""


class Notices(gymnasium.Wrapper):
    """Pays a reward that depends on all that a run before may have changed in its process."""

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1", max_episode_steps=20))
        self._state = zlib.crc32(repr(state()).encode())

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float(self._state % 9973) + random.random() + np.random.random(), *rest


def register(name, act, place):
    gymnasium.register(
        f"{identifier(name)}-{place}-v0", entry_point=partial(Misbehaves, act, place)
    )


def identifier(name):
    return "".join(word.capitalize() for word in name.replace(",", "").replace(".", " ").split())


def hanging(act):
    say_that_it_hangs()
    act()


for place in PLACES:
    for name, act in (CHANGES | LEAVES).items():
        register(name, act, place)
    for name, (act, _) in ENDS.items():
        register(name, act, place)
    for name, act in HANGS.items():
        register(name, partial(hanging, act), place)
gymnasium.register("Notices-v0", entry_point=Notices)


def environment(name, place="step"):
    """Return the Gymnasium id, with this module, of an environment that does something bad."""
    return f"{HERE}:{identifier(name)}-{place}-v0"
