"""make picture: docs/images/cascade.svg, the way of a request through the cascade.

The picture has a background and colours of its own for light and dark, so that it reads on either kind of page.
"""

from __future__ import annotations

from pathlib import Path

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "cascade.svg"
WIDTH, HEIGHT = 920, 330
TITLE = (
    "A request goes to the screen. Where the screen is sure, its answer goes out. Where it is not, "
    "the expert is asked, and the expert's answer goes out if it comes in time."
)
STYLE = """
    text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 14px; fill: var(--text); }
    .name { font-size: 17px; font-weight: 600; }
    .small { font-size: 13px; fill: var(--quiet); }
    .card { fill: var(--card); stroke: var(--rule); }
    .plain { fill: var(--plain); stroke: var(--rule); }
    .screen { fill: var(--screen); stroke: var(--screen-edge); stroke-width: 2; }
    .expert { fill: var(--expert); stroke: var(--expert-edge); stroke-width: 2; }
    .way { fill: none; stroke: var(--line); stroke-width: 2; }
    .late { stroke-dasharray: 6 5; }
    .head { fill: var(--line); }
    svg {
      --card: #ffffff; --rule: #d0d7de; --plain: #f6f8fa; --text: #1f2328; --quiet: #57606a; --line: #57606a;
      --screen: #ddf4ff; --screen-edge: #0969da; --expert: #fff1d6; --expert-edge: #bc6c00;
    }
    @media (prefers-color-scheme: dark) {
      svg {
        --card: #161b22; --rule: #30363d; --plain: #21262d; --text: #e6edf3; --quiet: #9da7b1; --line: #9da7b1;
        --screen: #0c2d4d; --screen-edge: #58a6ff; --expert: #3d2a08; --expert-edge: #e3a13a;
      }
    }
"""


def picture() -> str:
    """The whole SVG."""
    parts = [
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12"/>',
        *box(28, 72, 140, 72, "plain", "request", "text or image", "and a budget"),
        *box(228, 72, 170, 72, "screen", "screen", "small, INT8", "in the API's process"),
        *box(468, 72, 150, 72, "plain", "sure?", "confidence against", "a certified threshold"),
        *box(752, 72, 140, 72, "plain", "answer", "with stage", "and timings"),
        *box(458, 222, 170, 72, "expert", "expert", "the whole model", "own process, batches"),
        *way("M168 108 H218"),
        *way("M398 108 H458"),
        *way("M618 108 H742"),
        *way("M543 144 V212"),
        *way("M628 246 H800 V154"),
        *way("M628 274 H844 V154", late=True),
        label(680, 98, "yes", middle=True),
        label(555, 184, "no: escalate"),
        label(636, 238, "in time"),
        label(636, 292, "late, shed or down: the screen's answer,"),
        label(636, 309, "marked degraded"),
        label(28, 40, "Budget: 50 ms, or what the request says"),
    ]
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-labelledby="title">\n  <title id="title">{TITLE}</title>\n  <style>{STYLE}  </style>\n'
        f"  {body}\n</svg>\n"
    )


def box(x: int, y: int, width: int, height: int, kind: str, name: str, *lines: str) -> list[str]:
    """A box with a name and smaller lines below it; x and y are its upper left corner."""
    middle = x + width / 2
    rows = [f'<text class="name" x="{middle:g}" y="{y + 25}" text-anchor="middle">{name}</text>']
    rows += [
        f'<text class="small" x="{middle:g}" y="{y + 44 + 17 * place}" text-anchor="middle">{line}</text>'
        for place, line in enumerate(lines)
    ]
    return [f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>', *rows]


def way(path: str, *, late: bool = False) -> list[str]:
    """A line along `path`, which ends to the right (H), upwards or downwards (V), and its arrow head."""
    x, y, direction = _end(path)
    turn = {"right": 0, "down": 90, "up": 270}[direction]
    head = f'<path class="head" d="M0 -6 L10 0 L0 6 Z" transform="translate({x} {y}) rotate({turn})"/>'
    return [f'<path class="way{" late" if late else ""}" d="{path}"/>', head]


def label(x: int, y: int, text: str, *, middle: bool = False) -> str:
    """A line of small text."""
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text class="small" x="{x}" y="{y}"{anchor}>{text}</text>'


def _end(path: str) -> tuple[int, int, str]:
    start, *moves = path[1:].replace("H", "|H").replace("V", "|V").split("|")
    x, y = map(int, start.split())
    direction = ""
    for move in moves:
        value = int(move[1:])
        if move[0] == "H":
            x, direction = value, "right"
        else:
            y, direction = value, "down" if value > y else "up"
    return x, y, direction


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
