"""What a published cascade is compared with: the ladder from PyTorch behind FastAPI to the cascade, step by step."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.homes import ALWAYS, make_home
from benchmarks.published import Published
from benchmarks.servers import ROOT, baseline_variables, fastapi_line, litserve_line, serve_line
from loadtest.baselines.model import Baseline
from loadtest.measuring.contender import Contender
from serving.model.artifact import Artifact, ImageSettings


def ladder(published: Published, build: Path, folder: Path, *, with_litserve: bool = False) -> list[Contender]:
    """PyTorch -> ONNX -> INT8 -> batching -> screen -> cascade.

    `build`: the build folder, which holds the PyTorch teacher. `folder`: for copies of the model store.
    `with_litserve`: LitServe's batching too, before Sieve's.
    """
    from optimize.profiling.pytorch import checkpoints

    teacher = next(iter(checkpoints(published.expert, build).values()))
    expert, screen = published.expert, published.screen
    fp32, int8 = (expert.variant_path(name) for name in ("cpu-fp32", expert.manifest.default_cpu))
    torch = teacher if published.kind == "text" else exported(teacher, folder / "teacher.pt2", expert)
    everything = make_home(folder / "always", published.store, published.name, threshold=ALWAYS)
    as_it_is = make_home(folder / "cascade", published.store, published.name, threshold=published.point.threshold)
    screens = screen.variant_path(published.point.screen_variant)
    return [
        fastapi("FastAPI, PyTorch fp32", published.baseline(expert, "torch", torch)),
        fastapi("FastAPI, ONNX fp32", published.baseline(expert, "onnx", fp32)),
        fastapi("FastAPI, ONNX INT8", published.baseline(expert, "onnx", int8)),
        *([litserve(published.baseline(expert, "onnx", int8))] if with_litserve else []),
        sieve("Sieve, expert alone, batching", everything, published),
        fastapi("FastAPI, the screen alone", published.baseline(screen, "onnx", screens)),
        sieve("Sieve, cascade", as_it_is, published),
    ]


def fastapi(name: str, baseline: Baseline) -> Contender:
    """The FastAPI baseline around one model."""
    variables = baseline_variables(baseline)
    return Contender(name=name, line=fastapi_line(), ready="/openapi.json", variables=variables, folder=ROOT)


def litserve(baseline: Baseline) -> Contender:
    """LitServe around one model, with its batching."""
    variables = baseline_variables(baseline)
    name = "LitServe, ONNX INT8, batching"
    return Contender(name=name, line=litserve_line(), ready="/health", variables=variables, folder=ROOT)


def plain_bentoml(published: Published, home: Path) -> Contender:
    """A cascade of the same models with all of BentoML's defaults. `home`: a BentoML home of its own."""
    screen, expert = published.screen, published.expert
    said = {
        "BASELINE_SCREEN": published.baseline(screen, "onnx", screen.variant_path(published.point.screen_variant)),
        "BASELINE_EXPERT": published.baseline(expert, "onnx", expert.variant_path(expert.manifest.default_cpu)),
        "THRESHOLD": published.point.threshold,
        "TEMPERATURE": published.point.screen_temperature,
    }
    variables = {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}
    line = serve_line(service="loadtest.baselines.bentoml_app:Plain")
    return Contender(
        name="BentoML's defaults", line=line, variables={**variables, "BENTOML_HOME": str(home)}, folder=ROOT
    )


def sieve_line(published: Published, *more: str) -> tuple[str, ...]:
    """The command that serves this cascade only."""
    names = {"text": "", "image": ""} | {published.kind: published.name}
    return serve_line(*(f"{kind}={name}" for kind, name in names.items()), *more)


def sieve(name: str, home: Path, published: Published) -> Contender:
    """The service with a store of its own."""
    return Contender(name=name, line=sieve_line(published), variables={"BENTOML_HOME": str(home)}, folder=ROOT)


def exported(teacher: Path, target: Path, artifact: Artifact) -> Path:
    """The teacher of images as a program that PyTorch loads without the project's classes, written to `target`."""
    import torch

    from optimize.models.saved import load_model

    model = load_model(teacher, "image").eval()  # type: ignore[no-untyped-call]  # transformers declares no types here
    settings = artifact.manifest.settings
    assert isinstance(settings, ImageSettings)

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return torch.Tensor(self.model(pixel_values).logits)

    example = torch.zeros(1, len(settings.mean), settings.height, settings.width)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(torch.export.export(Logits().eval(), (example,)), target)
    return target
