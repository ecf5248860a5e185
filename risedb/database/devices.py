"""Where windows are signed: by one model in this process, or by a process and a model on each of several devices."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Self

import torch

from risedb.config import LoadConfig
from risedb.database.ahead import Ahead
from risedb.database.stopwatch import Stopwatch
from risedb.database.windows import Window
from risedb.errors import DeviceFailure, RiseDBError
from risedb.featurize import Featurizer, Phi, Tokenizer, Tokens

_DEALT = 2  # windows with each device: one that it signs, one that waits for it
_WINDOW_BYTES = {"cpu": 2**26}  # of signatures; on a GPU, where a pass takes more tokens, four times as many
Loader = Callable[[LoadConfig], Featurizer]


@dataclass(frozen=True, slots=True)
class Reading:
    """What must be known of a model by who cuts windows for it.

    Parameters
    ----------
    tokenizer
        The model's.
    batch_tokens
        Tokens of one forward pass.
    window_bytes
        Most bytes of signatures in a window.
    """

    tokenizer: Tokenizer
    batch_tokens: int
    window_bytes: int

    @classmethod
    def of(cls, featurizer: Featurizer) -> "Reading":
        """Ask a featurizer."""
        model = featurizer.model
        return cls(model.tokenizer, featurizer.batch_tokens, _WINDOW_BYTES.get(model.device.type, 2**28))


class OneModel:
    """Signs windows in the thread that asks.

    Parameters
    ----------
    featurizer
        Of that model.
    profile
        Whether to time its parts.
    """

    def __init__(self, featurizer: Featurizer, *, profile: bool) -> None:
        self._featurizer = featurizer
        self._timer = featurizer.timer
        self._watch = _timed(featurizer) if profile else Stopwatch()
        self.reading = Reading.of(featurizer)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Time no more."""
        self._featurizer.timer = self._timer

    def sign(self, windows: Iterable[Window], watch: Stopwatch) -> Iterator[tuple[Window, Phi]]:
        """Yield each window with its signatures."""
        for window in windows:
            phi = self._featurizer.phi(window.tokens)
            watch.add(self._watch.taken())
            yield window, phi


class Devices:
    """Processes that sign, one for each device; windows are dealt in turn and come back in order.

    Parameters
    ----------
    names
        Devices as :class:`risedb.config.LoadConfig` names them.
    load
        Loads a process's featurizer; it is pickled.
    config
        How models are loaded, but for the device.
    profile
        Whether to time the parts of the work.
    """

    def __init__(self, names: Sequence[str], load: Loader, config: LoadConfig, *, profile: bool) -> None:
        context = multiprocessing.get_context("spawn")
        threads = max((os.cpu_count() or 1) // len(names), 1)
        self._workers: list[_Worker] = []
        with contextlib.ExitStack() as started:
            for device in names:
                ours, theirs = context.Pipe()
                arguments = (theirs, load, replace(config, device=device), threads, profile)
                process = context.Process(target=_work, args=arguments, daemon=True)
                with _interrupts_ignored():  # which a child inherits: Ctrl-C is for this process to answer
                    process.start()
                theirs.close()
                self._workers.append(_Worker(device, ours, process))
                started.callback(self._workers[-1].end)
            ready: list[Reading] = [worker.answer()[0] for worker in self._workers]
            self._started = started.pop_all()
        self.reading = replace(ready[0], batch_tokens=min(one.batch_tokens for one in ready))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, whatever they do."""
        self._started.close()

    def sign(self, windows: Iterable[Window], watch: Stopwatch) -> Iterator[tuple[Window, Phi]]:
        """Yield each window with its signatures, in order.

        Raises
        ------
        DeviceFailure
            If a process ends, or its device fails.
        """
        dealt: deque[tuple[Window, _Worker]] = deque()

        def oldest() -> tuple[Window, Phi]:
            window, worker = dealt.popleft()
            phi, seconds = worker.answer()
            watch.add(seconds)
            return window, phi

        for number, window in enumerate(windows):
            worker = self._workers[number % len(self._workers)]
            worker.send(window.tokens)
            dealt.append((window, worker))
            if len(dealt) == _DEALT * len(self._workers):
                yield oldest()
        while dealt:
            yield oldest()


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong in a worker."""

    error: RiseDBError | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process, as the main one sees it."""

    device: str
    connection: Connection
    process: SpawnProcess

    def send(self, tokens: Sequence[Tokens]) -> None:
        try:
            self.connection.send(tokens)
        except OSError as error:
            raise self._ended() from error

    def answer(self) -> Any:
        """Wait for the next answer, and the seconds that its parts took."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, _Failure):
            if answer.error is not None:
                raise answer.error
            msg = (
                f"{self.device} failed: {answer.reason}. What was committed stays; the same command goes on from there"
            )
            raise DeviceFailure(msg)
        return answer

    def _ended(self) -> DeviceFailure:
        self.process.join(10)
        code = self.process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return DeviceFailure(
            f"the process that worked with {self.device} ended with {how}, perhaps for want of memory. What was "
            "committed stays; run the same command again, with a smaller --batch-tokens or without that device"
        )

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, load: Loader, config: LoadConfig, threads: int, profile: bool) -> None:
    """Sign what comes until nobody asks: receiving, the model and sending in a thread each."""
    answers = Ahead(_answers(Ahead(_received(connection), _DEALT), load, config, threads, profile=profile), _DEALT)
    with contextlib.suppress(OSError):  # the main process is gone
        for answer in answers:
            connection.send(answer)


def _received(connection: Connection) -> Iterator[Sequence[Tokens]]:
    with contextlib.suppress(EOFError, OSError):  # nobody asks any more
        while True:
            yield connection.recv()


def _answers(
    windows: Iterator[Sequence[Tokens]], load: Loader, config: LoadConfig, threads: int, *, profile: bool
) -> Iterator[object]:
    try:
        if config.device == "cpu":
            torch.set_num_threads(threads)
        featurizer = load(config)
        watch = _timed(featurizer) if profile else Stopwatch()
        yield Reading.of(featurizer), {}
        for window in windows:
            yield featurizer.phi(window), watch.taken()
    except RiseDBError as error:
        yield _Failure(error, "")
    except Exception as error:  # noqa: BLE001  the main process tells it
        yield _Failure(None, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")


def _timed(featurizer: Featurizer) -> Stopwatch:
    """Time a featurizer's parts, waiting for its device at either end of each."""
    device = featurizer.model.device
    watch = Stopwatch((lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else None)
    featurizer.timer = watch
    return watch
