"""The model card: after the headings of Mitchell et al. 2019 (Model Cards for Model Reporting, arXiv 1810.03993)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from micro_yolo.model.count import count
from micro_yolo.pipeline.card.facts import Learned, Step
from micro_yolo.pipeline.card.figures import BLOCK, figures, path_of, places
from micro_yolo.pipeline.card.markdown import block, bullets, inside, put, table, words
from micro_yolo.pipeline.show.listing import points
from micro_yolo.pipeline.store.finished import Trained
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.metadata import About

# Blocks that people fill in, and what stands there until then.
YOURS = {
    "yours: intended use": (
        "Not stated by whoever made the model. It finds objects of the classes below in single photographs and gives a "
        "box, a class and a score for each."
    ),
    "yours: ethical considerations": (
        "Not stated by whoever made the model. The commands that made it look neither for people or personal data in "
        "the photographs nor for a licence of these."
    ),
}
# With fewer boxes a class's figures hang on a few pictures.
FEW = 20


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        trained: the stage the file was made of.
        learned: what that learned from.
        about: what its metadata says.
        contract: of the file, as it lies beside it.
        data: the file.
        calibrated: training images that its ranges were measured on, 0 if none.
    """

    trained: Trained
    learned: Learned
    about: About
    contract: Contract
    data: bytes
    calibrated: int = 0


def about(trained: Trained, learned: Learned, contract: Contract, author: str, licence: str, version: str) -> About:
    """What people should know of a file, for its metadata: the card in a few sentences."""
    height, width = trained.arch.size
    start, cut = trained.start, contract.thresholds
    said = [f"{trained.arch.name} at {height} x {width} (height x width), finds: {', '.join(trained.labels)}"]
    said += [f"begun with {start['name']} ({start['source']}; {start['licence']})"] if start else []
    if learned.name:
        images = f"{learned.parts['train'].images} images of " if "train" in learned.parts else ""
        said.append(f"learned from {images}{learned.name}")
    if cut is not None:
        said.append(f"F1 {cut.all.f1:.3f} above score {cut.all.threshold:g} on {cut.images} validation images")
    return About(trained.run.name, "; ".join(said), author, licence, version)


def card(subject: Subject, path: Path) -> str:
    """The card of a file that will be at `path`, in Markdown; of one that is there the words of people are kept."""
    blocks = {**YOURS, BLOCK: figures(subject.contract, places(path))}
    try:
        former = path_of(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        former = ""
    title, sections = f"# Model card: {words(subject.about.name)}, {subject.contract.variant}", []
    for heading, parts in _SECTIONS.items():
        bodies = [block(part, blocks[part]) if isinstance(part, str) else part(subject) for part in parts]
        sections.append("\n\n".join([f"## {heading}", *filter(None, bodies)]))
    made = "\n\n".join([title, _OPENING, *sections]) + "\n"
    for name in YOURS:
        said = inside(former, name)
        made = made if said is None else put(made, name, said)
    return made


_OPENING = (
    "Written by `python -m pipeline.convert`; `python -m pipeline.evaluate` and `python -m pipeline.stages` fill in "
    "what they measure. What stands between the marks `yours` in the source of this page is for people to write, and "
    "is kept."
)


def _model(subject: Subject) -> str:
    contract, trained, about = subject.contract, subject.trained, subject.about
    total, given, nms = count(trained.arch), contract.input, contract.nms
    height, width = contract.size
    ends = "detections: boxes, classes, scores and their number" if contract.head == "detections" else "raw grids"
    versions = ", ".join(f"{name} {version}" for name, version in contract.versions.items() if name != "machine")
    rows = [
        ("size of the file", f"{len(subject.data):,} bytes"),
        ("SHA-256 of the file", f"`{contract.model_sha256}`"),
        *((f"SHA-256 of {words(name)}", f"`{sha256}`") for name, sha256 in contract.parents.items()),
        (
            "network",
            f"{words(contract.arch)}: {total.params:,} parameters, {total.macs:,} multiply-accumulates an image",
        ),
        ("variant", f"{contract.variant}{_calibrated(subject)}"),
        ("input", f"RGB, {height} x {width} (height x width), {given.dtype}; pictures are resized by `{given.resize}`"),
        ("output", f"{ends}; at most {nms.max_detections} objects a picture"),
        ("suppression", f"boxes of a class that overlap by more than IoU {nms.iou_threshold:g}"),
        ("converted", f"{datetime.now(UTC):%Y-%m-%d}, by {words(versions)}"),
        ("author", words(about.author) or "not stated"),
        ("version", words(about.version) or "not stated"),
        ("licence of the model", words(about.licence) or "not stated"),
    ]
    return table(("", ""), rows, left=2)


def _calibrated(subject: Subject) -> str:
    if subject.calibrated:
        return f", its ranges measured on {subject.calibrated} training images"
    return ", with the integers it was trained with" if subject.trained.stage.name == "qat" else ""


def _start(subject: Subject) -> str:
    start = subject.trained.start
    heading = "### Start weights\n\n"
    begun = [step.settings.get("init") for step in subject.learned.steps if step.name == "train"]
    again = any(init not in (None, "auto", "none") for init in begun)
    run = "The training began with what an earlier run had learned; from which pictures is not recorded here."
    heading += f"{run}\n\n" if again else ""
    if not start:
        return f"{heading}None of others."
    names = {"trained_on": "trained on", "origin_sha256": "SHA-256 of that"}
    rows = [(names.get(name, name), words(said)) for name, said in start.items()]
    return heading + "The network descends from weights of others:\n\n" + table(("", ""), rows, left=2)


def _training(subject: Subject) -> str:
    return "### Training\n\n" + bullets(_step(step) for step in subject.learned.steps)


def _step(step: Step) -> str:
    recipe = step.settings.get("recipe")
    said = {
        "epochs": recipe.get("epochs") if isinstance(recipe, dict) else None,
        "training images": step.images,
        **{name: step.settings.get(name) for name in ("batch", "bits", "seed")},
    }
    told = [f"{name} {value:,}" for name, value in said.items() if isinstance(value, int)]
    scores = [(name, step.metrics.get(name)) for name in ("AP", "AP50")]
    told += [f"{name} {points(value)}" for name, value in scores if isinstance(value, int | float)]
    kept = " (validation images, the network in Keras)" if len(told) > 1 and told[-1].startswith("AP") else ""
    return f"`{step.name}`: {', '.join(told) or 'no settings are recorded'}{kept}"


def _factors(subject: Subject) -> str:
    names = [words(label) for label in subject.contract.labels]
    return f"Classes, {len(names)}: {', '.join(names)}.\n\n### Not tried\n\n" + bullets(_untried(subject))


def _untried(subject: Subject) -> Iterator[str]:
    learned, labels = subject.learned, [words(label) for label in subject.contract.labels]
    train, val = learned.parts.get("train"), learned.parts.get("val")
    yield "Other pictures than those listed under [Quantitative analyses](#quantitative-analyses)."
    yield (
        "Other places, cameras, light, weather and backgrounds than those of these pictures: which these are is not "
        "recorded, so how good the model is where they differ is not known."
    )
    if learned.sides is not None:
        low, high = (f"{100 * side:.0f}" for side in learned.sides)
        yield (
            f"Other sizes: nine of ten training boxes are from {low} to {high} % of the picture (the root of their "
            "share of its area); smaller and larger ones are rare or were not there."
        )
    if val is not None and val.empty is not None:
        yield f"Pictures without any of the objects: {val.empty} of the {val.images} validation images are such."
    if train is not None and train.classes is not None:
        yield from _scarce("No training box, so that they cannot be found", labels, train.classes, 1)
    if val is not None and val.classes is not None:
        yield from _scarce(
            f"Fewer than {FEW} validation boxes, so that figures hang on chance", labels, val.classes, FEW
        )
    ran = subject.contract.versions
    where = f"ai-edge-litert {words(ran.get('ai-edge-litert', ''))} on {words(ran.get('machine', ''))}"
    yield f"Other runtimes and devices than those named here: when it was converted, the file was run by {where}."
    yield "Another training with another seed, whose figures would differ."


def _scarce(what: str, labels: Sequence[str], counts: Sequence[int], least: int) -> Iterator[str]:
    few = [f"{label} ({number})" for label, number in zip(labels, counts, strict=True) if number < least]
    if few:
        yield f"{what}: {', '.join(few)}."


def _metrics(subject: Subject) -> str:
    return bullets(
        (
            "AP: COCO's average precision in points (0 to 100), the mean over IoU 0.50 to 0.95; AP50 and AP75 at those "
            "IoU; small, medium and large: objects below 32 x 32, below 96 x 96 pixels of the picture, and above.",
            "Score above: the threshold with the best F1. Precision, recall and F1 are in per cent, by boxes that are "
            "found at the IoU stated.",
        )
    )


def _evaluation(subject: Subject) -> str:
    learned = subject.learned
    if not learned.measured:
        return "None was at hand when the file was converted; no score threshold was measured."
    cuts, name = subject.contract.thresholds, words(learned.measured)
    said = (
        f"Score thresholds: {cuts.images} validation images of {name}."
        if cuts is not None
        else f"Score thresholds: not measured on the validation images of {name}."
    )
    if learned.parts and learned.measured == learned.name:
        return f"{said} {_divided(subject)}"
    return said


def _divided(subject: Subject) -> str:
    learned, trained = subject.learned, subject.trained
    if learned.seeded is None:
        return "How they were told from the training images is not recorded."
    if not learned.seeded:
        return "The data set says itself which they are."
    return (
        f"They were drawn from the same pictures as the training images (a share of {trained.val_fraction:g}, seed "
        f"{trained.seed}): pictures that are alike, such as those of one video, may be in both. "
        "`python -m pipeline.data PATH` looks for such."
    )


def _learned(subject: Subject) -> str:
    learned, labels = subject.learned, subject.contract.labels
    if not learned.parts:
        return f"{words(learned.name) or 'Not known'}: how many images and boxes was not recorded."
    form = f" ({words(learned.form)})" if learned.form else ""
    head = ("split", "images", "boxes", "images without boxes", "fingerprint")
    rows = [
        (
            split,
            f"{part.images:,}",
            f"{part.boxes:,}",
            "not counted" if part.empty is None else f"{part.empty:,}",
            words(part.content) or "-",
        )
        for split, part in learned.parts.items()
    ]
    said = [f"{words(learned.name) or 'A data set whose name is not known'}{form}:", table(head, rows)]
    if learned.pictures is not None:
        sides = [
            f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in zip(*learned.pictures, strict=True)
        ]
        said.append(f"Training images are {sides[1]} pixels wide and {sides[0]} high.")
    counted = {split: part.classes for split, part in learned.parts.items() if part.classes is not None}
    if counted:
        lines = [(words(label), *(f"{n[i]:,}" for n in counted.values())) for i, label in enumerate(labels)]
        said.append(table(("boxes of class", *counted), lines))
    said.append(
        "A fingerprint is of sizes, boxes, classes and some of the pictures. The licence of the pictures is not "
        "recorded."
    )
    return "\n\n".join(said)


def _caveats(subject: Subject) -> str:
    return bullets(
        (
            "Measure on pictures of the place where it is to work before it decides anything: "
            "`python -m pipeline.evaluate --model FILE --data PATH`.",
            "A score is not a probability. Cut at the thresholds above, or at those measured on pictures of your own.",
            "The figures are of this file, whose SHA-256 is above: another variant or conversion has others.",
        )
    )


# After the paper's headings, in its order. A text is the name of a block.
_SECTIONS: dict[str, tuple[str | Callable[[Subject], str], ...]] = {
    "Model details": (_model, _start, _training),
    "Intended use": ("yours: intended use",),
    "Factors": (_factors,),
    "Metrics": (_metrics,),
    "Evaluation data": (_evaluation,),
    "Training data": (_learned,),
    "Quantitative analyses": (BLOCK,),
    "Ethical considerations": ("yours: ethical considerations",),
    "Caveats and recommendations": (_caveats,),
}
