"""What ``engine infer`` says on stderr while it paints."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from engine.cli.options import printable
from engine.infer import Result
from engine.jobs import Job
from engine.segments import frames_kept


class PaintingProgress:
    """A line for each file and, on a terminal, a bar for the video at work."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        rate = TextColumn("{task.fields[rate]}")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            rate,
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        self._tasks: dict[Job, TaskID] = {}

    def __enter__(self) -> PaintingProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()
        if kind is not None:
            for job in self._tasks:
                self._say_kept(job)

    def say(self, text: str) -> None:
        """A line, unless quiet."""
        if not self._quiet:
            self._console.print(printable(text), markup=False, soft_wrap=True)

    def watch(self, job: Job, done: int, total: int | None) -> None:
        """See :data:`engine.infer.Watch`."""
        if job.kind == "picture":
            return
        if job not in self._tasks:
            if (kept := frames_kept(job.target)) >= done:  # nothing is replaced before the first segment is whole
                self.say(
                    f"{job.target}: painted from the start; stop it and give --resume to go on after the {kept} frames of an earlier run"
                )
            self._tasks[job] = self._progress.add_task(job.source.name, total=total, rate="")
        task = self._progress.tasks[self._progress.task_ids.index(self._tasks[job])]
        self._progress.update(task.id, completed=done, rate=f"{task.speed or 0:.1f} frames/s")

    def finished(self, result: Result, name: str = "") -> None:
        """One file is done, or has failed; ``name`` is what its target is called, where that is a file on its way elsewhere."""
        if result.job in self._tasks:
            self._progress.remove_task(self._tasks.pop(result.job))
        if result.error is not None:
            self._console.print(printable(f"error: {result.error}"), markup=False, soft_wrap=True)
            if not result.error.where.startswith("--resume"):  # which says itself what it needs
                self._say_kept(result.job)
            return
        size = f"{result.width}x{result.height}"
        frames = f"{result.frames} frames, " if result.job.kind == "video" else ""
        slowest = f", slowest: {result.slowest}" if result.job.kind == "video" and result.slowest is not None else ""
        self.say(f"{name or result.job.target}: {frames}{size}, {result.seconds:.1f} s, {result.rate:.1f} frames/s{slowest}")
        for note in result.notes:
            self.say(f"  {note}")

    def _say_kept(self, job: Job) -> None:
        if job.kind == "video" and (kept := frames_kept(job.target)):
            self.say(f"{job.target}: {kept} frames are kept; the same command with --resume goes on after them")
