"""The command line: python -m optimize VERB."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path

from optimize.failures import sentence_of
from optimize.runtimes.arguments import add_runtimes
from optimize.score.arguments import add_score
from optimize.servers.arguments import add_export
from optimize.start.arguments import add_inspect, add_new
from optimize.steps.registry import STEPS
from optimize.traffic.arguments import add_traffic, asked_of
from serving.errors import SieveError


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 for success, 1 for an error that the user can mend, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    prepare_environment()
    # Libraries warn on import about parts that are not used here.
    logging.disable(logging.WARNING)
    try:
        options.call(options)
    except SieveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # a failure of the machine comes in many types; all others are bugs
        said = sentence_of(error)
        if said is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 1
    return 0


def prepare_environment() -> None:
    """Set what the libraries read when they are imported, unless the user has set it."""
    # Without these, hub clients retry for minutes before they report a hub that cannot be reached.
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    os.environ.setdefault("HF_DATASETS_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "0"))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray tells its makers what runs unless it is told not to
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its advice for developers of actors
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no messages when PyTorch Profiler starts and stops


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m optimize", description="From a checkpoint to a published cascade.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="the recipes that come with Sieve").set_defaults(call=_list)
    show = verbs.add_parser("show", help="print a recipe")
    show.add_argument("recipe")
    show.set_defaults(call=_show)
    add_inspect(verbs.add_parser("inspect", help="a first look at data: rows, labels, lengths, what can be certified"))
    add_new(verbs.add_parser("new", help="write a recipe that fits a checkpoint and data"))
    add_score(verbs.add_parser("score", help="a published cascade over a whole table, without a budget"))
    verb = {"run": (_run, "all of a recipe: steps, gates, model store"), "evaluate": (_evaluate, "all but publish")}
    verb |= {"operating-point": (_operating_point, "choose the deferral threshold of an earlier evaluate anew")}
    verb |= {"verify": (_verify, "hold the artifacts of an earlier evaluate against their gates, on the holdout")}
    verb |= {"publish": (_publish, "put what passed its gates into the model store")}
    verb |= {step: (_step, f"a recipe up to and including {step}, both roles") for step in STEPS}
    for name, (call, text) in verb.items():
        command = verbs.add_parser(name, help=text)
        command.add_argument("recipe", help="name of a shipped recipe, or path of a TOML file")
        command.add_argument(
            "--root", type=Path, default=Path(), help="where the recipe's relative paths start (default: here)"
        )
        command.add_argument("--build", type=Path, default=None, help="build folder (default: build/RECIPE)")
        command.set_defaults(call=call, verb=name)
        if name == "operating-point":
            command.add_argument("--alpha", type=float, help="share of requests that may differ from the expert")
            command.add_argument("--delta", type=float, help="how often that promise may turn out false")
            add_traffic(command)
    _profile_parser(verbs.add_parser("profile", help="where the time of published models goes, and what batches gain"))
    add_runtimes(verbs.add_parser("runtimes", help="the same models under ONNX Runtime, OpenVINO, TorchScript, TVM, …"))
    add_export(verbs.add_parser("export-triton", help="an expert as a model of Triton's or MLServer's repository"))
    return parser


def _profile_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", nargs="+", metavar="MODEL", help="tag of the model store, or artifact folder")
    command.add_argument(
        "--variant", action="append", default=[], help="a variant, or all; may be repeated (default: the one served)"
    )
    command.add_argument(
        "--build", type=Path, help="build folder or recipe with the checkpoints (default: the artifact's, if there)"
    )
    command.add_argument("--threads", type=int, default=1, help="of each session and of PyTorch (default: 1)")
    command.add_argument("--batch-sizes", type=_numbers, default=(1, 2, 4, 8, 16, 32), metavar="N,N,...")
    command.add_argument("--lengths", type=_numbers, metavar="N,N,...", help="in tokens (default: serving's own)")
    command.add_argument("--rounds", type=int, default=40, help="of each batch size and length (default: 40)")
    command.add_argument("--trace-batch-size", type=int, default=1, help="of traces and stages (default: 1)")
    command.add_argument("--trace-length", type=int, help="of traces and stages (default: 32 tokens)")
    command.add_argument("--runs", type=int, default=20, help="in a trace (default: 20)")
    command.add_argument("--out", type=Path, default=Path("build/profile"), help="(default: build/profile)")
    command.add_argument("--stages-only", action="store_true", help="run the stages and no profiler, for Nsight")
    command.set_defaults(call=_profile)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _list(_: argparse.Namespace) -> None:
    from optimize.recipes.shipped import descriptions

    for name, description in descriptions().items():
        print(f"{name:20} {description}")


def _show(options: argparse.Namespace) -> None:
    from optimize.recipe import read_recipe
    from optimize.recipes.shipped import shipped_recipes

    read_recipe(options.recipe)
    print(shipped_recipes().get(options.recipe, Path(options.recipe)).read_text(encoding="utf-8"), end="")


# Verbs import what they need themselves: torch and transformers take seconds, which `--help` need not wait for.
def _step(options: argparse.Namespace) -> None:
    from optimize.build import Build
    from optimize.judge.teacher import require_teacher
    from optimize.steps.union import step_classes

    build = Build.opened(options.recipe, root=options.root, folder=options.build)
    if options.verb not in step_classes(of_teacher=True):
        require_teacher(build)
    build.carry_out(until=options.verb)


def _evaluate(options: argparse.Namespace) -> None:
    from optimize.build import Build
    from optimize.pipeline import evaluate

    evaluate(Build.opened(options.recipe, root=options.root, folder=options.build), _command())


def _operating_point(options: argparse.Namespace) -> None:
    from optimize.build import Build
    from optimize.pipeline import choose_point, opened
    from optimize.recipe import with_promise
    from optimize.report.page import mark_stale

    build = Build.opened(options.recipe, root=options.root, folder=options.build)
    config = with_promise(build.recipe.operating_point, alpha=options.alpha, delta=options.delta)
    if options.traffic is None:
        point, _ = choose_point(build, opened(build), config)
    else:
        from optimize.traffic.certify import certify_traffic
        from serving.cpu import cores

        point = certify_traffic(build, options.traffic, asked_of(options), config, threads=cores())
    mark_stale(build.folder, point)
    print(f"chosen anew; go on with `python -m optimize verify {options.recipe}`, then publish")


def _verify(options: argparse.Namespace) -> None:
    from optimize.build import Build
    from optimize.pipeline import verify_again

    verify_again(Build.opened(options.recipe, root=options.root, folder=options.build), _command())
    print("every gate is held")


def _profile(options: argparse.Namespace) -> None:
    from dataclasses import fields

    from optimize.profiling.nsight import tell_commands
    from optimize.profiling.run import Settings, profile, run_stages
    from optimize.profiling.subject import find

    options.variants = tuple(options.variant)
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    subjects = [find(model) for model in options.models]
    if options.stages_only:
        run_stages(subjects, settings)
    else:
        profile(subjects, settings, _command())
        tell_commands(options.models, subjects, settings)


def _command() -> str:
    return shlex.join(["python", "-m", "optimize", *sys.argv[1:]])


def _run(options: argparse.Namespace) -> None:
    from optimize.build import Build
    from optimize.pipeline import evaluate
    from optimize.publish.store import require_store

    build = Build.opened(options.recipe, root=options.root, folder=options.build)
    require_store()
    evaluate(build, _command())
    _publish(options)  # while `build` keeps its folder locked


def _publish(options: argparse.Namespace) -> None:
    from optimize.build import Build
    from optimize.publish.store import publish

    build = Build.opened(options.recipe, root=options.root, folder=options.build)
    folders = (build.artifact_folder("expert"), build.artifact_folder("screen"), build.point_folder)
    for tag in publish(*folders, recipe_digest=build.recipe_digest):
        print(f"published {tag}")


if __name__ == "__main__":
    sys.exit(main())
