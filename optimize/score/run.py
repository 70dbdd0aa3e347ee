"""`score`: a cascade over a table. Reading, tokenising, models and writing overlap; a run that was stopped goes on."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow

from optimize.data.said import tell
from optimize.errors import DataError, ScoreError
from optimize.progress import progress
from optimize.results import digest_of
from optimize.score.arrow import common_schema
from optimize.score.asked import Asked
from optimize.score.columns import AnswerColumns, Chunk, require_free
from optimize.score.out import require_suffix, written
from optimize.score.parts import Parts
from optimize.score.scorer import Scorer
from optimize.score.source import Source, open_source
from optimize.score.summary import Tally, path_beside, say, say_summary, write_summary
from serving.cascade.modality import StoredCascade
from serving.model.artifact import ImageSettings, TextSettings

CHUNK_ROWS = 2_048
"""Texts that are sorted by length together, so that a batch has little padding."""
CHUNK_BYTES = 64_000_000
"""Of decoded images that a chunk holds, or about as many."""
CHUNKS_AHEAD = 2
"""Chunks that are worked on at a time: while the models run on one, the next one is tokenised."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A cascade that is open, the input that it is for, and how its answers become columns."""

    scorer: Scorer
    source: Source
    columns: AnswerColumns

    def table(self, chunk: Chunk) -> pyarrow.Table:
        """The rows of a chunk with their answers."""
        require_free(chunk.table.column_names, self.columns.schema.names, self.source.name)
        return self.columns.beside(chunk.table, self.scorer.score(self.source.contents(chunk.table, chunk.faults)))


def score(cascade: StoredCascade, path: Path, out: Path, asked: Asked, *, threads: int) -> dict[str, Any]:
    """Score `path` into `out`, and return the summary that is written beside it.

    Raises ScoreError when `out` is there already and was made from something else, and DataError for an input that
    cannot be read.
    """
    require_suffix(out)
    scorer = Scorer(cascade, threads=threads)
    try:
        source = open_source(path, asked, scorer.kind, pairs=scorer.pairs)
        made_from = what_decides(cascade, scorer, source, asked)
        if out.exists():
            return _finished(out, made_from)
        for note in source.notes:
            tell(source.name, note)
        columns = AnswerColumns.of(scorer, scores=asked.scores, prefix=asked.prefix)
        work = Work(scorer=scorer, source=source, columns=columns)
        with Parts.opened(out, made_from) as parts:
            ran = run_rest(source, work.table, parts, chunk_rows(cascade))
            return _finish(work, parts, out, {**ran, "made_from": made_from, "threads": threads})
    finally:
        scorer.close()


def chunk_rows(cascade: StoredCascade) -> int:
    """How many rows are in memory as one chunk: less where they are images."""

    def item_bytes(settings: TextSettings | ImageSettings) -> int:
        return 4 * len(settings.mean) * settings.width * settings.height if isinstance(settings, ImageSettings) else 0

    both = sum(item_bytes(stage.artifact.manifest.settings) for stage in (cascade.screen, cascade.expert))
    return max(32, min(CHUNK_ROWS, CHUNK_BYTES // both)) if both else CHUNK_ROWS


def what_decides(cascade: StoredCascade, scorer: Scorer, source: Source, asked: Asked) -> dict[str, Any]:
    """All that OUT depends on, so that a run only goes on with the same."""
    digests = [cascade.screen.artifact.digest, cascade.expert.artifact.digest]
    point = digest_of(cascade.point.point.model_dump(mode="json"))
    return {
        "input": source.digest,
        "cascade": [*digests, point, scorer.screen.variant, scorer.expert.variant],
        "options": asked.described(),
        "rows": chunk_rows(cascade),
    }


def in_order(call: Callable[[T], R], values: Iterable[T], pool: ThreadPoolExecutor, ahead: int) -> Iterator[R]:
    """`call` of each value, in order, while up to `ahead` others are worked on. Values are taken when they begin."""
    waiting: deque[Future[R]] = deque()
    for value in values:
        waiting.append(pool.submit(call, value))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def run_rest(source: Source, table: Callable[[Chunk], pyarrow.Table], parts: Parts, size: int) -> dict[str, Any]:
    """Make a `table` of each chunk that has no part yet; says how many rows that were, and how fast.

    Raises DataError for an input without rows.
    """
    before = parts.done
    begin_s, rows = time.monotonic(), 0
    chunks = source.chunks(size)
    skipped = sum(chunk.steps for chunk in itertools.islice(chunks, before))
    pool = ThreadPoolExecutor(CHUNKS_AHEAD, thread_name_prefix="chunk")
    try:
        with progress(f"scoring {source.name}, {source.unit}", max(1, source.total), skipped) as advance:
            steps: deque[int] = deque()

            def noted() -> Iterator[Chunk]:
                for chunk in chunks:
                    steps.append(chunk.steps)
                    yield chunk

            for made in in_order(table, noted(), pool, CHUNKS_AHEAD):
                parts.add(made)
                rows += made.num_rows
                advance(steps.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    took_s = time.monotonic() - begin_s
    if not parts.done:
        raise DataError(f"data {source.name} has no rows; bring a table with some")
    return {"rows_this_run": rows, "seconds": took_s, "rows_per_s": rows / max(took_s, 1e-9)}


def _finish(work: Work, parts: Parts, out: Path, ran: Mapping[str, Any]) -> dict[str, Any]:
    scorer, answers = work.scorer, work.columns.schema
    merged = common_schema(parts.schemas())
    # A column that only later rows of JSON have stands with those of the input all the same.
    schema = pyarrow.schema([*(field for field in merged if field.name not in answers.names), *answers])
    tally = Tally(work.columns.prefix)
    with written(out, schema, map(tally.counting, parts.tables())):
        batches = {"screen": scorer.screen.batch_size, "expert": scorer.expert.batch_size}
        summary = write_summary(out, tally, {**ran, "batch_sizes": batches}, scorer.against_promise)
    parts.remove()
    say_summary(out, tally, summary)
    return summary


def _finished(out: Path, made_from: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of an OUT that was made from the same. Raises ScoreError for any other file."""
    path = path_beside(out)
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if summary.get("made_from") != made_from:
        raise ScoreError(
            f"{out} is there already and was made from something else; it is not overwritten: remove it, or name "
            "another OUT"
        )
    say(f"{out} is there already, made from the same input by the same cascade")
    return summary
