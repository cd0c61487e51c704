"""The page of the demo: the four steps of transfer learning on digits, and what they gain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .axes import Frame, ticks
from .charts import Mark, Series, line_chart
from .demo_result import Arm, DemoResult
from .markup import Content, Markup, element, joined, table
from .page import page, save, section
from .thumbnails import grey_picture
from .wording import plural, score_text

_STEPS = (
    ("Pretrain a source network", "A small convolutional network learns the digits 0 to 4 from plenty of examples."),
    ("Copy it", "The target network has the same layers; all of them but the output layer are copied."),
    ("Give it a new output layer", "Its outputs are the digits 5 to 9, its numbers are random."),
    ("Train on the few examples", "A few labelled images a class, a handful of updates, and the layers adapt."),
)


def write_demo_report(path: str | Path, demo: DemoResult) -> Path:
    """Write the page of the demo.

    Args:
        path: of the page.
        demo: what was measured.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> arms = [Arm("fine-tuned", [[0.1, 0.8]]), Arm("from scratch", [[0.1, 0.4]])]
        >>> write_demo_report(Path(tempfile.mkdtemp()) / "demo.html", DemoResult([0, 20], 20, arms)).name
        'demo.html'
    """
    return save(Path(path), demo_page(demo))


def demo_page(demo: DemoResult) -> str:
    """The HTML of the demo's page."""
    return page(
        "hone demo: four steps of transfer learning",
        _lead(demo),
        _hero(demo),
        section("The four steps", None, _steps(), _digits(demo), name="steps"),
        section(
            "How each way learned",
            f"Lines are means over {plural(demo.seeds, 'seed')}; the bands reach one standard deviation to each side.",
            element("div", _learning(demo, demo.budget), _learning(demo, None), class_="grid"),
            name="curves",
        ),
        section(
            f"After {demo.budget} updates",
            "The same images, the same updates, the same network; only the starting point and what may move differ.",
            element("div", _strip(demo), element("div", _numbers(demo), class_="card"), class_="grid loose"),
            name="result",
        ),
        section("Is that worth it?", None, element("p", _honest(demo)), name="honest"),
        section("Now with your photos", "A folder with one folder of photos a class is enough.", _next(), name="next"),
        kicker="demo",
        heading="Four steps of transfer learning",
    )


def _lead(demo: DemoResult) -> Content:
    mean, _ = demo.final(demo.main)
    rival, _ = demo.final(demo.rival)
    return [
        f"With {plural(demo.labelled, 'labelled image')} a class and {demo.budget} updates, "
        "a network that knows other digits already reaches ",
        element("b", f"{mean:.0%}"),
        " of the new ones; the same network from scratch reaches ",
        element("b", f"{rival:.0%}"),
        ".",
    ]


def _hero(demo: DemoResult) -> Markup:
    mean, spread = demo.final(demo.main)
    bars = []
    for arm in demo.arms:
        value, deviation = demo.final(arm.name)
        said = element("span", arm.name, element("em", f"{score_text(value)} ± {score_text(deviation)}"))
        bar = element("span", element("i", style=f"--w:{value:.4f}"), class_="bar", aria_hidden="true")
        bars.append(element("li", said, bar, class_="own" if arm.name == demo.main else None))
    own = element(
        "div",
        element("p", score_text(mean), class_="big"),
        element("p", f"accuracy, {demo.main}; ± {score_text(spread)} over {plural(demo.seeds, 'seed')}"),
    )
    return element("div", own, element("ul", bars, class_="ladder"), class_="hero card")


def _steps() -> Markup:
    return element("ol", [element("li", element("h3", title), text) for title, text in _STEPS], class_="steps")


def _digits(demo: DemoResult) -> Markup | None:
    groups = [("The source saw", demo.source_examples), ("The target has to learn", demo.examples)]
    shown = [
        element("div", element("h3", title), element("ul", [_digit(*one) for one in examples], class_="digits"))
        for title, examples in groups
        if examples
    ]
    return element("div", shown, class_="grid apart") if shown else None


def _digit(rows: Sequence[Sequence[float]], label: str) -> Markup:
    size = {"width": 64, "height": 64}
    return element("li", element("img", src=grey_picture(rows), alt=f"handwritten digit {label}", **size), label)


def _learning(demo: DemoResult, until: int | None) -> Markup | None:
    """The learning curves of all arms, up to an update or to the end; nothing where both would be the same."""
    if until is None and demo.updates[-1] == demo.budget:
        return None
    kept = [i for i, update in enumerate(demo.updates) if until is None or update <= until]
    series = [_curve(arm, demo.updates, kept, 1 + i) for i, arm in enumerate(demo.arms)]
    if until is not None:
        return line_chart(f"Accuracy within {until} updates", series)
    goal, mark = demo.final(demo.main)[0], None
    if demo.catch_up is not None:
        place = demo.updates.index(demo.catch_up) if demo.catch_up in demo.updates else -1
        mark = Mark(demo.catch_up, demo.arm(demo.rival).at(place)[0], f"caught up at {demo.catch_up:,}", below=True)
    note = f"Dashed: {demo.main} after {demo.budget} updates, {score_text(goal)}."
    return line_chart("Accuracy with far more updates", series, levels={"": goal}, mark=mark, note=note)


def _curve(arm: Arm, updates: Sequence[int], kept: Sequence[int], colour: int) -> Series:
    means, spreads = zip(*(arm.at(i) for i in kept), strict=True)
    low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
    high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
    return Series(arm.name, [updates[i] for i in kept], means, colour, len(kept) <= 12, low=low, high=high)


def _strip(demo: DemoResult) -> Markup:
    """Every seed of every arm as a dot on its line, the mean as a stroke: spread that a bar would hide."""
    place = demo.updates.index(demo.budget)
    height = 56 * len(demo.arms) + 44
    frame = Frame(16, 8, 444, height - 36, (0.0, 1.0), (0.0, float(len(demo.arms))))
    drawn: list[Content] = []
    for tick in ticks(0.0, 1.0):
        x = f"{frame.place(tick, 0)[0]:.1f}"
        drawn.append(element("line", x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="grid"))
        drawn.append(element("text", f"{tick:g}", x=x, y=frame.bottom + 18, class_="tick mid"))
    for i, arm in enumerate(demo.arms):
        y = frame.place(0, len(demo.arms) - i - 0.62)[1]
        mean = f"{frame.place(arm.at(place)[0], 0)[0]:.1f}"
        dots = [
            element(
                "circle", cx=f"{frame.place(row[place], 0)[0]:.1f}", cy=f"{y:.1f}", r=4.5, class_=f"dot c{1 + i % 8}"
            )
            for row in arm.accuracy
        ]
        drawn += [
            element("text", arm.name, x=frame.left, y=f"{y - 16:.1f}", class_="mark halo"),
            element("line", x1=mean, x2=mean, y1=f"{y - 11:.1f}", y2=f"{y + 11:.1f}", class_=f"line c{1 + i % 8}"),
            dots,
        ]
    spoken = "; ".join(f"{arm.name}: " + ", ".join(score_text(row[place]) for row in arm.accuracy) for arm in demo.arms)
    caption = element("figcaption", element("strong", "Accuracy of every seed"))
    picture = element(
        "svg", drawn, viewBox=f"0 0 460 {height}", role="img", aria_label=f"Accuracy of every seed: {spoken}"
    )
    note = element("p", "One dot a seed, a stroke at the mean.", class_="note")
    return element("figure", caption, picture, note, class_="chart")


def _numbers(demo: DemoResult) -> Markup:
    place = demo.updates.index(demo.budget)
    rows: list[list[Content]] = []
    for arm in demo.arms:
        mean, spread = arm.at(place)
        values = [row[place] for row in arm.accuracy]
        name = joined(arm.name, element("p", arm.description, class_="note") if arm.description else None)
        rows.append([name, score_text(mean), score_text(spread), score_text(min(values)), score_text(max(values))])
    return table(["way", "mean", "deviation", "worst", "best"], rows, caption="In numbers", class_="ways")


def _honest(demo: DemoResult) -> Content:
    mean, _ = demo.final(demo.main)
    if demo.catch_up is None:
        return (
            f"Training from scratch did not reach {score_text(mean)} within the {demo.updates[-1]:,} updates that were "
            "measured."
        )
    ratio = demo.catch_up / demo.budget
    return [
        "Training from scratch catches up at ",
        element("b", f"{demo.catch_up:,} updates"),
        f", {ratio:.1f} times the budget. More updates cost little on digits; with a large network and photos they can "
        "cost hours, and there the head start counts.",
    ]


def _next() -> Markup:
    commands = {
        "Fine-tune": "hone fit photos/",
        "See the learning rate before you train": "hone lr --schedule CosineAnnealingLR --warmup 50 --updates 1000",
    }
    cards = [
        element("div", element("h3", title), element("pre", text, class_="command")) for title, text in commands.items()
    ]
    return element("div", cards, class_="grid")
