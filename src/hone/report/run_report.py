"""The page of a run: the result first, then how it came about, where it errs, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from .cases import case_gallery, strip_gallery
from .curves import evaluation_table, run_charts
from .folder import RunFolder, read_run
from .layers import source_weights, training_share
from .markup import Content, Markup, element, folded, joined
from .page import facts, page, save, section, share_bar
from .quality import mistake_gallery, mistakes_intro, quality_parts
from .result import Result
from .wording import count, duration, plural, score_text, short

#: A recipe of at most so many lines is shown at once, a longer one is folded.
_SHORT_RECIPE = 40
#: What ``hone predict`` is given, by task.
_USE = {
    "classify": "photo.jpg --csv predictions.csv",
    "segment": "photos/ --out masks/",
    "segment-volume": "volumes/ --out labels/",
    "classify-volume": "volumes/ --csv predictions.csv",
    "classify-video": "clips/ --csv predictions.csv",
}
_VERB = {
    "classify": "classifies",
    "multilabel": "labels",
    "regress": "predicts values for",
    "segment": "segments",
    "segment-volume": "segments",
    "classify-volume": "classifies",
    "classify-video": "classifies",
}


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` into a run folder: one file that shows everything and needs no network.

    Whatever the run did not leave behind is named at the top of the page; nothing is made up for it.

    Args:
        run: the run folder.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: ``run`` is not a run folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Result("classify", "accuracy").write(folder / "result.json")
        >>> write_report(folder).name
        'report.html'
    """
    read = read_run(run)
    return save(read.path / "report.html", report_page(read))


def report_page(run: RunFolder) -> str:
    """The HTML of a run's page."""
    result = run.result
    kicker = " · ".join(filter(None, [f"{result.model}" if result else "", result.data if result else ""]))
    return page(
        f"{run.name}: {_headline(run)}",
        _lead(run),
        _banner(run),
        _hero(run),
        _key_facts(run),
        _notes(run),
        section(
            "How it learned",
            "Everything is drawn over the updates that were completed. Hover over a dot for its value.",
            element("div", run_charts(run), class_="grid") if run.train or run.evaluations else None,
            evaluation_table(run),
            name="curves",
        ),
        *(_quality(run, result) if result else ()),
        _model(run),
        _setting(run),
        _next_steps(run),
        kicker=kicker or "report of a run",
        heading=run.name,
    )


def _headline(run: RunFolder) -> str:
    return f"{score_text(run.best.value)} {run.metric}" if run.best else "no evaluation yet"


def _lead(run: RunFolder) -> Content:
    result = run.result
    if run.best is None:
        return "This run has no evaluation yet, so there is no result to show; what is known so far is below."
    score = [element("b", f"{score_text(run.best.value)} {run.metric}")]
    if result is None:
        return [score, f" at update {run.best.update:,} is the best so far."]
    model = element("b", result.model) if result.model else "The model"
    source = f", starting from {result.weights} weights," if result.weights else ""
    held = next((result.samples[split] for split in ("val", "valid", "validation") if split in result.samples), 0)
    things = f"{held:,} validation samples" if held else "the validation data"
    classes = f" of {plural(len(run.classes), 'class')}" if run.classes and result.task.startswith("classify") else ""
    test = result.final.get(result.metric) if result.measured_on == "test" else None
    tested = [", and the test data at ", element("b", score_text(test))] if test is not None else None
    return [model, source, f" {_VERB[result.task]} {things}{classes} at ", score, tested, "."]


def _banner(run: RunFolder) -> Markup | None:
    said: list[Content] = []
    if run.result is not None and run.result.interrupted:
        command = element("code", _resume(run))
        said.append(element("p", f"This run was stopped at update {run.updates:,}. It can go on: ", command))
    elif run.result is None and "result.json" in " ".join(run.problems):
        command = element("code", _resume(run))
        where = f" Its last known update is {run.updates:,}." if run.updates else ""
        said.append(element("p", f"This run has not ended, or was killed.{where} It can go on: ", command))
    said += [element("p", problem) for problem in run.problems]
    return element("div", said, class_="banner", role="note") if said else None


def _hero(run: RunFolder) -> Markup | None:
    if run.best is None:
        return None
    at = next((row.epoch for row in run.evaluations if row.update == run.best.update), float("nan"))
    where = f"update {run.best.update:,}" + (f", epoch {short(at)}" if at == at else "")
    own = element(
        "div",
        element("p", score_text(run.best.value), class_="big"),
        element("p", f"best {run.metric}, at {where}"),
    )
    measured = {name: score_text(value) for name, value in run.result.final.items()} if run.result else {}
    return element("div", own, _ladder(run) or facts(measured, small=True), class_="hero card")


def _baselines(result: Result) -> dict[str, float]:
    """The baselines that the run knows, else for accuracy the one that the confusion matrix tells."""
    if result.baselines or result.metric != "accuracy" or not result.confusion or result.measured_on != "val":
        return result.baselines
    sizes = [sum(row) for row in result.confusion]
    return {"always the largest class": max(sizes) / sum(sizes)} if sum(sizes) else {}


def _ladder(run: RunFolder) -> Markup | None:
    """The best value among the baselines, in order, as bars."""
    best = run.best
    if best is None or run.result is None or not (baselines := _baselines(run.result)):
        return None
    rows = [*((name, value, False) for name, value in baselines.items()), ("this run", best.value, True)]
    rows.sort(key=lambda row: row[1], reverse=not run.higher_is_better)
    top = max(abs(value) for _, value, _ in rows) or 1.0
    full = 1.0 if 0 <= top <= 1 and run.higher_is_better else top
    items = [
        element(
            "li",
            element("span", name, element("em", score_text(value))),
            share_bar(value / full),
            class_="own" if own else None,
        )
        for name, value, own in rows
    ]
    return element("ul", items, class_="ladder")


def _key_facts(run: RunFolder) -> Markup | None:
    result = run.result
    if result is None:
        return facts({"updates": f"{run.updates:,}" if run.updates else None})
    skipped = f"{result.skipped:,} of {result.attempts:,}" if result.skipped else None
    samples = " / ".join(f"{size:,} {split}" for split, size in result.samples.items())
    return facts(
        {
            "time": duration(result.seconds) if result.seconds else None,
            "updates": f"{run.updates:,}",
            "epochs": short(result.epochs) if result.epochs else None,
            "samples a second": short(round(result.samples_per_second, 1)) if result.samples_per_second else None,
            "precision": result.precision,
            "skipped attempts": skipped,
            "data": samples,
            "trained": f"{count(sum(x.parameters for x in result.trained))} parameters" if result.trained else None,
        }
    )


def _notes(run: RunFolder) -> Markup | None:
    if run.result is None or not run.result.notes:
        return None
    return folded("What hone understood and decided", element("pre", "\n".join(run.result.notes)))


def _quality(run: RunFolder, result: Result) -> list[Markup | None]:
    parts = quality_parts(result, run.classes)
    roots = [Path(result.data), run.path] if result.data else [run.path]
    return [
        section(
            "Where it is right",
            f"The best weights on the {'test' if result.measured_on == 'test' else 'validation'} data.",
            element("div", parts, class_="grid loose") if parts else None,
            name="quality",
        ),
        _cases(run, result),
        section("Where it errs", mistakes_intro(result), mistake_gallery(result.mistakes, roots), name="mistakes"),
    ]


def _cases(run: RunFolder, result: Result) -> Markup | None:
    if result.task == "classify-video":
        return section(
            "The worst clips and the best",
            "From beginning to end, by the probability that the model gave to what the clip truly is.",
            strip_gallery(result.cases, run.path),
            name="cases",
        )
    flat = result.task == "segment"
    return section(
        "The worst cases and the best",
        "Image, truth, prediction." if flat else "The truth above, the prediction below.",
        case_gallery(result.cases, [row.name for row in result.per_class or []], run.path, flat=flat),
        name="cases",
    )


def _model(run: RunFolder) -> Markup | None:
    result = run.result
    share = training_share(result.trained, result.frozen) if result else None
    weights = source_weights(run.transfer)
    return joined(
        section("What trained", "Blocks of the model at the end of the run, and how many numbers each holds.", share),
        section("Where the weights came from", _sentence(run.transfer_summary), weights),
    )


def _sentence(text: str) -> str:
    """A line of the log as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else "Every tensor of the model, and what happened to it."


def _setting(run: RunFolder) -> Markup | None:
    machine = run.result.machine if run.result else None
    recipe = None
    if run.recipe:
        text, length = run.recipe.strip("\n"), run.recipe.strip("\n").count("\n") + 1
        summary = f"recipe.yaml, as it was resolved: {plural(length, 'line')}"
        recipe = element("div", folded(summary, element("pre", text, tabindex="0"), opened=length <= _SHORT_RECIPE))
    cards: list[Content] = []
    if machine is not None:
        own: dict[str, Content] = {
            "device": machine.device,
            "cores": machine.cores,
            "system": machine.platform,
            "python": machine.python,
        }
        cards.append(_card("Machine", facts(own | machine.versions, small=True)))
    if run.preprocessing:
        pairs = {name: str(value) for name, value in run.preprocessing.items()}
        cards.append(_card("Preprocessing", facts(pairs, small=True)))
    both = element("div", recipe, element("div", cards, class_="stack"), class_="split") if recipe and cards else None
    return section("Recipe and machine", "What another run needs in order to be the same.", both or [recipe, cards])


def _card(title: str, content: Content) -> Markup:
    return element("div", element("h3", title), content, class_="card")


def _resume(run: RunFolder) -> str:
    return f"hone fit --resume {shlex.quote(str(run.path))}"


def _next_steps(run: RunFolder) -> Markup | None:
    folder = shlex.quote(str(run.path))
    data = shlex.quote(run.result.data) if run.result and run.result.data else "DATA"
    used = _USE.get(run.result.task if run.result else "", _USE["classify"])
    steps = {
        "Measure it on other data": f"hone evaluate {folder} {data}",
        "Use it on new data": f"hone predict {folder} {used}",
        "Use it from Python": f"import hone\nloaded = hone.load({str(run.path)!r})",
        "Start another task from it": f"hone fit OTHER_DATA --from {folder}",
        "Go on where it stopped": None if run.finished else _resume(run),
        "Run it again": run.result.command if run.result and run.result.command else None,
    }
    cards = [
        element("div", element("h3", title), element("pre", text, class_="command"))
        for title, text in steps.items()
        if text
    ]
    return section(
        "What to do next", "Click a command to select it.", element("div", cards, class_="grid"), name="next"
    )
