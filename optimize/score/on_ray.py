"""`score --ray`: the same over Ray Data, for tables that are larger than one machine.

Each worker is an actor that holds the whole cascade, which travels to it as bytes. Text files are read by the same
readers as without Ray, one task a file; Parquet and images by Ray's own. OUT becomes a folder of Parquet files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.dataset

from optimize.errors import DataError, ScoreError
from optimize.progress import console
from optimize.score.asked import Asked
from optimize.score.columns import AnswerColumns, images_of, require_free
from optimize.score.packed import packed, unpacked
from optimize.score.run import CHUNK_ROWS, chunk_rows
from optimize.score.scorer import Scorer
from optimize.score.source import FILE, Contents, Source, open_source, read_file
from optimize.score.summary import Tally, say_summary, write_summary
from serving.cascade.modality import StoredCascade, takes_pairs
from serving.cpu import cores

LOCAL = "local"
FILE_ROWS = 100_000
"""At least so many rows stand in a file of OUT, if there are as many."""
FAULT = "sieve.fault"
"""A column beside those of a text file: why a row could not be read."""
BYTES, PATH = "bytes", "path"
"""The columns of Ray's own reader of files."""


class RayScorer:
    """An actor of Ray Data: a cascade that is open, and scores one batch of rows at a time."""

    def __init__(self, cascade: Any, contents: Contents, asked: Asked, threads: int, name: str) -> None:
        import ray

        self._folder = tempfile.TemporaryDirectory(prefix="sieve-")
        self._scorer = Scorer(unpacked(ray.get(cascade), Path(self._folder.name)), threads=threads)
        self._columns = AnswerColumns.of(self._scorer, scores=asked.scores, prefix=asked.prefix)
        self._contents, self._name = contents, name

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        """The rows with their answers."""
        said = table[FAULT].to_pylist() if FAULT in table.column_names else []
        faults = {place: fault for place, fault in enumerate(said) if fault}
        own = table.drop_columns([name for name in (FAULT, BYTES) if name in table.column_names])
        require_free(own.column_names, self._columns.schema.names, self._name)
        scored = self._scorer.score(self._contents(table, faults))
        return with_known_types(self._columns.beside(own, scored))


def with_known_types(table: pyarrow.Table) -> pyarrow.Table:
    """The table with texts for the columns of a batch that have no value there, so that its file fits the others."""
    known = [f.with_type(pyarrow.string()) if pyarrow.types.is_null(f.type) else f for f in table.schema]
    return table.cast(pyarrow.schema(known))


def score_on_ray(
    cascade: StoredCascade, path: Path, out: Path, asked: Asked, *, address: str, workers: int | None, threads: int
) -> dict[str, Any]:
    """Score `path` into the folder `out` on the cluster at `address`, and return the summary that is written beside.

    Each of `workers` runs its models in so many `threads`. Raises ScoreError if `out` is there already.
    """
    if out.suffix != ".parquet":
        raise ScoreError(f"with --ray OUT must be a folder that ends in .parquet, got {out.suffix or 'no suffix'}")
    if out.exists():
        raise ScoreError(f"{out} is there already and is not overwritten; remove it, or name another OUT")
    settings = cascade.screen.artifact.manifest.settings
    source = open_source(path, asked, settings.kind, pairs=takes_pairs(cascade.screen.artifact))
    if source.form == "images" and not source.folder.is_dir():
        raise ScoreError("with --ray images must lie in a folder, got a zip; unpack it")
    against_promise = _checked(cascade, source, asked)
    begin_s = time.monotonic()
    partial_out = out.with_name(f".{out.name}.partial").absolute()
    shutil.rmtree(partial_out, ignore_errors=True)
    with _connected(address) as ray:
        count = workers or max(1, int(ray.cluster_resources()["CPU"]) // threads)
        answered = _answered(ray, cascade, source, asked, count, threads)
        answered.write_parquet(str(partial_out), min_rows_per_file=FILE_ROWS, ray_remote_args={"num_cpus": 0})
    took_s = time.monotonic() - begin_s
    tally = _tallied(partial_out, asked.prefix)
    ran = {"rows_this_run": tally.rows, "seconds": took_s, "rows_per_s": tally.rows / took_s}
    summary = write_summary(out, tally, {**ran, "workers": count, "threads": threads}, against_promise)
    os.replace(partial_out, out)
    say_summary(out, tally, summary)
    return summary


def _checked(cascade: StoredCascade, source: Source, asked: Asked) -> list[str]:
    """Why the promise does not apply. Raises here, before any worker starts, what the first rows would raise there."""
    first = next(source.chunks(1), None)
    if first is None:
        raise DataError(f"data {source.name} has no rows; bring a table with some")
    scorer = Scorer(cascade, threads=1)
    columns = AnswerColumns.of(scorer, scores=asked.scores, prefix=asked.prefix)
    require_free(first.table.column_names, columns.schema.names, source.name)
    return scorer.against_promise


def _answered(ray: Any, cascade: StoredCascade, source: Source, asked: Asked, count: int, threads: int) -> Any:
    """The rows with their answers, as a data set of Ray that nothing has begun to read."""
    arguments = {"cascade": ray.put(packed(cascade)), "asked": asked, "threads": threads, "name": source.name}
    # A block is what one actor takes, and one file would be one block.
    rows = _dataset(ray, source, asked, cascade).repartition(target_num_rows_per_block=chunk_rows(cascade))
    return rows.map_batches(
        RayScorer,
        fn_constructor_kwargs={**arguments, "contents": _contents(source)},
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=threads,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count),
    )


def _tallied(folder: Path, prefix: str) -> Tally:
    tally = Tally(prefix)
    stored = pyarrow.dataset.dataset(folder, format="parquet")
    for batch in stored.to_batches(columns=[f"{prefix}escalated", f"{prefix}error"]):
        tally.counting(pyarrow.Table.from_batches([batch]))
    return tally


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray on a cluster, or on this machine; ended at the end of the block if it began here."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise ScoreError(
            "--ray needs the package ray, and it is not installed; install it with `pip install '.[ray]'`"
        ) from None
    begun = not ray.is_initialized()
    if begun:
        own: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address == LOCAL else {}
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, **own)
        except (ConnectionError, ValueError) as error:
            raise ScoreError(
                f"there is no Ray cluster at {address} ({type(error).__name__}); start one, or leave the address out"
            ) from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = console.is_terminal
    context.execution_options.preserve_order = True
    try:
        yield ray
    finally:
        if begun:
            ray.shutdown()


def _contents(source: Source) -> Contents:
    return images_of(BYTES, Path()) if source.form == "images" else source.contents


def _dataset(ray: Any, source: Source, asked: Asked, cascade: StoredCascade) -> Any:
    """The rows as Ray reads them. Tasks that read claim no core, or actors that hold them all would wait for ever."""
    if source.form == "parquet":
        return ray.data.read_parquet([str(file.absolute()) for file in source.files], num_cpus=0)
    if source.form == "images":
        return _images(ray, source)
    kind = cascade.screen.artifact.manifest.settings.kind
    wanted = asked.input_columns(kind, pairs=takes_pairs(cascade.screen.artifact))
    read = partial(read_rows, wanted=wanted, kind=kind, asked=asked)
    files = ray.data.from_items([{PATH: str(file.absolute())} for file in source.files])
    return files.map_batches(read, batch_size=1, batch_format="pyarrow", num_cpus=0)


def _images(ray: Any, source: Source) -> Any:
    folder = str(source.folder)

    def named(table: pyarrow.Table) -> pyarrow.Table:
        names = [os.path.relpath(path, folder) for path in table[PATH].to_pylist()]
        return pyarrow.table({FILE: names, BYTES: table[BYTES]})

    files = [str(file.absolute()) for file in source.files]
    read = ray.data.read_binary_files(files, include_paths=True, num_cpus=0)
    return read.map_batches(named, batch_format="pyarrow", num_cpus=0)


def read_rows(files: pyarrow.Table, *, wanted: tuple[str, ...], kind: str, asked: Asked) -> Iterator[pyarrow.Table]:
    """The rows of the text files whose paths are in a table, with a column of their faults."""
    for path in files[PATH].to_pylist():
        for chunk in read_file(Path(path), wanted, kind, asked, CHUNK_ROWS):
            said = [chunk.faults.get(place) for place in range(chunk.table.num_rows)]
            yield chunk.table.append_column(FAULT, pyarrow.array(said, pyarrow.string()))
