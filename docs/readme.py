"""What README.md shows of figures and answers, written by commands; tests hold README to it.

make tables      build/RECIPE/summary.json -> docs/measured/RECIPE.json -> the tables between README's two markers
make profile     build/profile/MODEL -> docs/measured/profile -> the tables between the markers of docs/profiling.md
make figures     what compare, tune, capacity, loadtest and decoding left in build -> docs/measured/figures ->
                 docs/tuning.md, loadtest.md and performance.md, between the markers that have the files' names
make examples    every curl line of README.md, sent to a served demo -> the JSON that follows it
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "docs" / "measured"
README = ROOT / "README.md"
PROFILING = ROOT / "docs" / "profiling.md"
FIGURES = {
    "run": "loadtest/sms-risk/run.json",
    "compare-sms-risk": "compare/sms-risk/compare.json",
    "tune-cascade": "tune/sms-risk-cascade/tune.json",
    "tune-bert": "tune/sms-risk-bert/tune.json",
    "capacity": "capacity/sms-risk/capacity.json",
    "decoding": "decoding.json",
}
"""Files of docs/measured/figures, and where the make targets leave them below build."""
FIGURE_PAGES = [ROOT / "docs" / name for name in ("loadtest.md", "performance.md", "tuning.md")]
CONSOLE_WIDTH = 80
EXAMPLE = re.compile(r"```sh\n(curl [^`]*)```\n```json\n([^`]*)```")


def main(verb: str, *recipes: str) -> int:
    text = README.read_text(encoding="utf-8")
    if verb == "tables":
        for recipe in recipes:
            made = ROOT / "build" / recipe / "summary.json"
            if not made.is_file():
                raise SystemExit(f"{made} is not there; make it with `make {recipe}`")
            summary = made.read_text(encoding="utf-8")
            (MEASURED / f"{recipe}.json").write_text(summary, encoding="utf-8")
        text = with_tables(text)
    elif verb == "profile":
        sys.path.insert(0, str(ROOT))
        return write_profiles(recipes)
    elif verb == "figures":
        sys.path.insert(0, str(ROOT))
        return write_figures()
    else:
        sys.path.insert(0, str(ROOT))
        from demo import served

        with served(port=3000):
            text = with_answers(text, run)
    README.write_text(text, encoding="utf-8")
    return 0


def write_profiles(models: Sequence[str]) -> int:
    """Copy what `python -m optimize profile` measured of `models`, and write the tables of docs/profiling.md."""
    folder = MEASURED / "profile"
    folder.mkdir(exist_ok=True)
    for model in models:
        made = ROOT / "build" / "profile" / model
        for file in ("profile.json", "batch-curve.svg"):
            if not (made / file).is_file():
                raise SystemExit(f"{made / file} is not there; make it with `python -m optimize profile {model}`")
            shutil.copy(made / file, folder / f"{model}{Path(file).suffix}")
    PROFILING.write_text(with_profiles(PROFILING.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def with_profiles(text: str) -> str:
    """docs/profiling.md with the part between the markers made anew from docs/measured/profile."""
    from optimize.profiling.report import markdown

    parts = []
    for path in sorted((MEASURED / "profile").glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        picture = f"![batch size against latency and throughput of {path.stem}](measured/profile/{path.stem}.svg)"
        machine = f"{facts['machine']['cpu']}, {facts['machine']['cores']} cores"
        load = f"load average before it {facts['load_average_before']:g}"
        parts.append(f"### {path.stem}\n\n{machine}, {load}. `{facts['command']}`\n\n{markdown(facts)}\n{picture}\n")
    return with_block(text, "measured", "\n".join(parts))


def write_figures() -> int:
    """Copy what was measured last in build, as far as it is there, and write the pages that show it."""
    for name, made in FIGURES.items():
        if (ROOT / "build" / made).is_file():
            shutil.copy(ROOT / "build" / made, MEASURED / "figures" / f"{name}.json")
    for page in FIGURE_PAGES:
        page.write_text(with_figures(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def with_figures(text: str) -> str:
    """One of FIGURE_PAGES with what is between the markers made anew from docs/measured/figures."""
    for name in FIGURES:
        path = MEASURED / "figures" / f"{name}.json"
        if f"<!-- {name}: begin -->" in text and path.is_file():
            text = with_block(text, name, figures_block(name, json.loads(path.read_text(encoding="utf-8"))))
    return text


def figures_block(name: str, result: Mapping[str, Any]) -> str:
    """Markdown of one file, as the commands themselves print it."""
    from benchmarks import decoding
    from loadtest import capacity, compare
    from loadtest.pages import report

    if name == "decoding":
        return f"{result['machine']['processor']}:\n\n{decoding.table(result)}\n"
    on = f"{result['machine']['processor']}, {result['machine']['cores']} cores that the generator shared"
    if name == "run":
        plan = result["plan"]
        asked = f"{plan['arrivals']}, {plan['seconds']:g} s after {plan['warm_up_s']:g} s of warm-up"
        files = f"{plan['texts'] or 'a few texts'}, {plan['images'] or 'generated images'}"
        asked += f", {plan['mix']['image_share']:.0%} images; {files}"
        return f"{on}; {asked}:\n\n```\n{_printed(report.say_run, result)}```\n"
    if name == "capacity":
        return f"{on}:\n\n{capacity.table(result)}\n"
    compared = result.get("comparison", result)
    rounds = f"{len(compared['rows'][0]['rounds'])} rounds: medians, lowest to highest; ratios with intervals of 95 %"
    lines = [f"{on}; {rounds}.", "", compare.table(compared), ""]
    if "settings" in result:
        settings = ", ".join(f"`{key}` {value:g}" for key, value in result["settings"].items())
        found = f"Found in {len(result['trials'])} trials: {settings}."
        none = f"What was best in {len(result['trials'])} trials was no better when it took turns: the defaults stay."
        lines += [none if result["settings"] == result["defaults"] else found, ""]
    return "\n".join(lines)


def _printed(say: Callable[..., None], result: Mapping[str, Any]) -> str:
    from rich.console import Console

    # Into a file: a terminal would have colours.
    console = Console(file=io.StringIO(), width=CONSOLE_WIDTH, color_system=None, legacy_windows=False)
    say(result, console)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def with_answers(readme: str, ask: Callable[[str], str]) -> str:
    """README's text with the JSON after each curl line made anew from what `ask` gets for it."""

    def answered(match: re.Match[str]) -> str:
        answer = json.dumps(json.loads(ask(match[1])), indent=2, ensure_ascii=False)
        return f"```sh\n{match[1]}```\n```json\n{answer}\n```"

    return EXAMPLE.sub(answered, readme)


def run(command: str, folder: Path = ROOT) -> str:
    """What a shell line prints."""
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout


def with_tables(readme: str) -> str:
    """README's text with the part between the markers made anew from docs/measured."""
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(MEASURED.glob("*.json"))]
    return with_block(readme, "measured", "\n".join(map(tables, summaries)))


def with_block(text: str, name: str, content: str) -> str:
    """The text with what lies between the two markers of that name replaced."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + content + end + after


def tables(summary: Mapping[str, Any]) -> str:
    """Markdown for one recipe: a row for each step, the cascade, and the goals."""
    splits = summary["data"]["splits"]
    steps = summary["steps"]
    teacher_ms = steps[0]["latency_ms"]["median_ms"]
    chosen = {row["name"]: role for role, row in summary["models"].items() if role != "cascade"}
    lines = [
        f"**{summary['recipe']}** (holdout of {splits['holdout']['size']:,} items; one thread of "
        f"{summary['machine']['cpu']}, medians of {summary['rounds']} alternating rounds with quartiles)",
        "",
        "| step | runs in | accuracy | MB | ms at batch size 1 | times as fast as the teacher |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in steps:
        name = f"**{row['name']}** ({chosen[row['name']]})" if row["name"] in chosen else row["name"]
        lines.append(
            f"| {name} | {row['runtime']} {row['precision']} | {row['accuracy']:.2%} | {row['size_bytes'] / 1e6:.1f} "
            f"| {_latency(row)} | {_ratio(teacher_ms, row)} |"
        )
    cascade = summary["models"]["cascade"]
    lines.append(
        f"| **cascade** ({cascade['escalation_share']:.1%} escalated) | both | {cascade['accuracy']:.2%} "
        f"| {cascade['size_bytes'] / 1e6:.1f} | {cascade['latency_ms']['median_ms']:.2f} expected "
        f"| {_ratio(teacher_ms, cascade)} |"
    )
    lines += ["", f"The operating point is {cascade['promise']}.", ""]
    lines += [*_goals(summary), ""]
    return "\n".join(lines)


def _latency(row: Mapping[str, Any]) -> str:
    latency = row["latency_ms"]
    if latency is None:
        return "needs a GPU"
    return f"{latency['median_ms']:.2f} ({latency['lower_quartile_ms']:.2f} to {latency['upper_quartile_ms']:.2f})"


def _ratio(teacher_ms: float, row: Mapping[str, Any]) -> str:
    return f"{teacher_ms / row['latency_ms']['median_ms']:.1f}" if row["latency_ms"] else ""


def _goals(summary: Mapping[str, Any]) -> list[str]:
    words = {
        "screen_speedup": "screen, times as fast as the teacher",
        "screen_drop_points": "screen, points of accuracy below the teacher",
        "expert_speedup": "expert, times as fast as the teacher",
        "expert_drop_points": "expert, points of accuracy below the teacher",
        "cascade_drop_points": "cascade, points of accuracy below the expert",
        "cascade_escalation_points": "cascade, percent of the holdout that escalates",
    }
    lines = ["| goal | asked | measured |", "| --- | ---: | ---: |"]
    for goal, bound in summary["goals"].items():
        key = goal.replace("_min_", "_").replace("_max_", "_")
        sign = "at least" if "_min_" in goal else "at most"
        lines.append(f"| {words[key]} | {sign} {bound:g} | {summary['ratios'][key]:g} |")
    return lines


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
