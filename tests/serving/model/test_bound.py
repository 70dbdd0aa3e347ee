"""The way that a GPU's batches go, on the CPU: the same buffers, shapes and lanes, and nothing to copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import pytest

from serving.arrays import Array
from serving.errors import ProviderError
from serving.model import bound as module
from serving.model.artifact import Artifact
from serving.model.bound import LANES, BoundSession, open_on_gpu, provider_options
from serving.model.device import Wanted, gpu_present
from serving.model.open_session import open_session
from serving.model.preprocess import preprocessor
from serving.model.session import Session
from serving.model.shapes import Shapes
from serving.model.text import TextEncoder
from tests.conftest import TinyCascades
from tests.made import LABELS, make_artifact, pixels
from tests.tiny_recipes import messages

TEXTS = [text for text, _ in messages(40, seed=3)]


def on_cpu(artifact: Artifact, *, graphs: bool = False) -> BoundSession:
    session = open_session(artifact.variant_path("cpu-fp32"), "CPUExecutionProvider", 1)
    return bound(artifact, session, graphs=graphs)


def bound(artifact: Artifact, session: Any, *, graphs: bool = False) -> BoundSession:
    manifest = artifact.manifest
    return BoundSession(session, Shapes(manifest.settings), len(manifest.labels), gpu=None, graphs=graphs)


@pytest.mark.parametrize("role", ["screen", "expert"])
def test_texts_of_any_shape_get_the_logits_of_a_plain_session(tiny_cascades: TinyCascades, role: str) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", role))
    encoder, plain, session = preprocessor(artifact), Session(artifact, "cpu-fp32"), on_cpu(artifact)
    assert isinstance(encoder, TextEncoder)
    items = encoder.encode_batch(TEXTS)
    for start, size in ((0, 1), (1, 3), (4, 16), (20, 5), (0, 32), (0, 40)):  # 40 rows have no shape
        batch = encoder.collate(items[start : start + size])
        got = session.run(batch)
        assert (got.dtype, got.shape) == (np.float32, (len(items[start : start + size]), len(artifact.manifest.labels)))
        np.testing.assert_allclose(got, plain.run(batch), atol=1e-4)


def test_images_get_the_logits_of_a_plain_session(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    plain, session = Session(artifact), on_cpu(artifact)
    for count in (1, 3, 32, 33):
        inputs = {"pixel_values": pixels(count, seed=count)}
        np.testing.assert_allclose(session.run(inputs), plain.run(inputs), rtol=1e-5)


def test_answers_stay_when_the_buffers_are_used_again(tmp_path: Path) -> None:
    session = on_cpu(make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False))
    first = session.run({"pixel_values": pixels(2, seed=1)})
    kept = first.copy()
    for seed in range(2, 2 + 2 * LANES):
        session.run({"pixel_values": pixels(2, seed=seed)})
    np.testing.assert_array_equal(first, kept)


def test_many_threads_get_their_own_answers(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    session, plain = on_cpu(artifact), Session(artifact)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        for number in range(20):
            inputs = {"pixel_values": pixels(1 + (seed + number) % 5, seed=100 * seed + number)}
            if not np.allclose(session.run(inputs), plain.run(inputs), rtol=1e-4, atol=1e-4):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Noting:
    """A session of ONNX Runtime that does something before each run, and notes the thread and the graph's number."""

    def __init__(
        self, session: onnxruntime.InferenceSession, before: Callable[[int], None] = lambda rows: None
    ) -> None:
        self._session, self._before = session, before
        self.threads: set[int] = set()
        self.graphs: list[str] = []

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.threads.add(threading.get_ident())
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self._before(binding._bound_outputs["logits"].shape()[0])
        self._session.run_with_iobinding(binding, options)

    def run(self, names: list[str], inputs: Mapping[str, Array], options: Any) -> Any:
        self.threads.add(threading.get_ident())
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self._before(len(inputs["pixel_values"]))
        return self._session.run(names, inputs, options)


def noting(artifact: Artifact, before: Callable[[int], None] = lambda rows: None) -> Noting:
    return Noting(open_session(artifact.variant_path("cpu-fp32"), "CPUExecutionProvider", 1), before)


def test_every_shape_of_every_lane_is_a_graph_of_its_own_and_one_thread_runs_them(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    session = noting(artifact)
    opened = bound(artifact, session, graphs=True)
    shapes = len(Shapes(artifact.manifest.settings).all())
    numbers = [int(number) for number in session.graphs]
    assert set(numbers) == set(range(1, 1 + LANES * shapes))
    assert min(numbers.count(number) for number in set(numbers)) >= 3, "ONNX Runtime records in the third run at last"
    session.graphs.clear()
    for count in (3, 4, 33):
        opened.run({"pixel_values": pixels(count)})
    assert session.graphs[-1] == "-1", "a shape that nobody expected is not recorded while requests come"
    assert set(session.graphs[:-1]) <= {str(number) for number in numbers}
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads


def test_without_graphs_nothing_is_recorded(tmp_path: Path) -> None:
    session = noting(artifact := make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False))
    bound(artifact, session)
    assert set(session.graphs) == {"-1"}


def test_the_next_batch_is_written_while_one_runs(tmp_path: Path) -> None:
    """Two batches in flight: the first one ends only when the second has been written into its own buffers."""
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    written = threading.Event()
    waited: list[bool] = []

    def before(rows: int) -> None:
        if rows == 4:
            waited.append(written.wait(60))

    session = noting(artifact, lambda rows: None)
    opened = bound(artifact, session)
    session._before = before
    fill = opened._shapes.fill

    def filling(buffers: Mapping[str, Array], inputs: Mapping[str, Array]) -> None:
        fill(buffers, inputs)
        if len(inputs["pixel_values"]) == 2:
            written.set()

    opened._shapes.fill = filling  # type: ignore[method-assign]
    first = threading.Thread(target=opened.run, args=({"pixel_values": pixels(4)},))
    first.start()
    opened.run({"pixel_values": pixels(2)})
    first.join(60)
    assert waited == [True]


class ShortError(Exception):
    """What ONNX Runtime raises, which has this text and no kind of its own."""


def test_shapes_for_which_memory_is_short_are_left_out(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)

    def before(rows: int) -> None:
        if rows > 8:
            raise ShortError("bfc_arena.cc:360 Available memory of 2304 is smaller than requested bytes of 4096")

    opened = bound(artifact, noting(artifact, before))
    assert {shape[0] for lane in opened.lanes for shape in lane} == {1, 2, 4, 8}
    with pytest.raises(ShortError):
        opened.run({"pixel_values": pixels(16)})
    assert opened.run({"pixel_values": pixels(7)}).shape == (7, len(LABELS))


def test_options_of_cuda() -> None:
    plain = provider_options(1, 0, graphs=False)
    assert (plain["device_id"], plain["enable_cuda_graph"], "gpu_mem_limit" in plain) == ("1", "0", False)
    assert [provider_options(0, 0, graphs=False, layout=layout)["prefer_nhwc"] for layout in ("nchw", "nhwc")] == [
        "0",
        "1",
    ]
    limited = provider_options(0, 2_048, graphs=True)
    assert (limited["enable_cuda_graph"], limited["gpu_mem_limit"]) == ("1", str(2 * 1024**3))


@pytest.mark.parametrize("option", sorted(provider_options(0, 1, graphs=True)))
def test_onnx_runtime_knows_the_options(option: str) -> None:
    """Its CUDA library reads no unknown option, and would say so on a GPU alone."""
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime_providers_cuda.so")
    assert option.encode() in library.read_bytes()


def test_a_gpu_on_which_cuda_does_not_start_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime really is asked for CUDA, and falls back to the CPU, since there is no GPU."""
    if gpu_present():
        pytest.skip("this machine has a GPU")
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    path, shapes = artifact.variant_path("cpu-fp32"), Shapes(artifact.manifest.settings)
    with pytest.raises(ProviderError, match="cannot start CUDA on GPU 0, though there is one"):
        open_on_gpu(path, 0, 1, Wanted(), shapes, len(LABELS))


def test_a_model_that_cannot_be_recorded_runs_without_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False)
    asked: list[str] = []

    def opened(path: Path, provider: str, threads: int, *, provider_options: Mapping[str, str]) -> Any:
        asked.append(provider_options["enable_cuda_graph"])
        if asked[-1] == "1":
            raise RuntimeError("This session cannot use the CUDA Graph feature as requested by the user\nmore")

        class OnGpu(Noting):
            def get_providers(self) -> list[str]:
                return ["CUDAExecutionProvider"]

        return OnGpu(open_session(path, "CPUExecutionProvider", threads))

    warnings: list[str] = []
    monkeypatch.setattr(module, "open_session", opened)
    monkeypatch.setattr(module.logger, "warning", lambda said, *values: warnings.append(said % values))
    monkeypatch.setattr(
        module, "BoundSession", lambda *given, gpu, graphs: BoundSession(*given, gpu=None, graphs=graphs)
    )
    path, shapes = artifact.variant_path("cpu-fp32"), Shapes(artifact.manifest.settings)
    session = open_on_gpu(path, 0, 1, Wanted(layout="nchw"), shapes, len(LABELS))
    assert asked == ["1", "0"]
    assert not session.graphs
    assert warnings == [
        "cpu-fp32 runs without CUDA graphs, which cannot be recorded (This session cannot use the CUDA Graph "
        "feature as requested by the user)"
    ]
    assert session.run({"pixel_values": pixels(3)}).shape == (3, len(LABELS))


@pytest.mark.parametrize(("wanted", "opened"), [("nchw", ["0"]), ("nhwc", ["1"]), ("auto", ["0", "1"])])
def test_pixels_have_the_layout_that_is_wanted_or_both_are_tried(
    tmp_path: Path, tiny_cascades: TinyCascades, monkeypatch: pytest.MonkeyPatch, wanted: Any, opened: list[str]
) -> None:
    asked: list[str] = []

    def opening(path: Path, gpu: int, *given: Any, graphs: bool, layout: Literal["nchw", "nhwc"]) -> BoundSession:
        asked.append(provider_options(gpu, 0, graphs=graphs, layout=layout)["prefer_nhwc"])
        return on_cpu(artifact)

    monkeypatch.setattr(module, "_opened", opening)
    for artifact, layouts in (
        (make_artifact(tmp_path / "made", ["cpu-fp32"], golden=False), opened),
        (Artifact.open(tiny_cascades.artifact("tiny-text", "expert")), ["0"]),  # texts have none
    ):
        asked.clear()
        shapes, path = Shapes(artifact.manifest.settings), artifact.variant_path("cpu-fp32")
        open_on_gpu(path, 0, 1, Wanted(layout=wanted), shapes, len(artifact.manifest.labels))
        assert asked == layouts
