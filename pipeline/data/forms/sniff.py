"""Which form a file of labels is of, by its ending and its beginning. Nothing is read to its end here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

from micro_yolo.pipeline.data.text import lines_of, read_head
from micro_yolo.pipeline.data.tree import Tree, child, stem_of

HEAD, _MORE = 1 << 16, 1 << 22
# Of larger folders a few files are looked at, and more where those are not alike.
_FEW = 12
# In one way only, as the other signs: a line of somebody's may be long, and be tried in all ways there are.
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+|nan|inf)"
_SHARE = r"[01]?\.\d+"
# Of a file that is one of several: parts.tfrecord-00000-of-00010.
_SHARD = re.compile(r"-\d+-of-\d+$")

# Form, the sign that the text begins with, and what is in its beginning; the first that fits.
JSON_SIGNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("labelbox", "[{", (r'"(data_row|Labeled Data|DataRow ID)"',)),
    ("sagemaker", "{", (r'"source-ref"\s*:',)),
    ("labelme", "{", (r'"shapes"\s*:', r'"(imagePath|imageData|imageHeight|points)"\s*:')),
    ("supervisely", "{", (r'"(classTitle|geometryType)"\s*:',)),
    ("supervisely", "{", (r'"objects"\s*:\s*\[', r'"size"\s*:\s*\{')),
    ("supervisely meta", "{", (r'"classes"\s*:\s*\[', r'"(shape|tags)"\s*:')),
    ("datumaro", "{", (r'"items"\s*:\s*\[', r'"categories"\s*:\s*\{')),
    ("via", "{", (r'"(_via_img_metadata|region_attributes|shape_attributes)"\s*:',)),
    ("via", "{", (r'"filename"\s*:', r'"regions"\s*:')),
    ("label studio", "[", (r'"(rectanglelabels|polygonlabels)"\s*:',)),
    ("label studio", "[", (r'"data"\s*:\s*\{', r'"(annotations|completions)"\s*:')),
    ("createml", "[", (r'"(image|imagefilename)"\s*:', r'"annotations?"\s*:')),
    ("bdd100k", "[{", (r'"box2d"\s*:',)),
    ("coco results", "[", (r'"image_id"\s*:', r'"score"\s*:')),
    ("v7 darwin", "{", (r'"bounding_box"\s*:', r'"(item|image)"\s*:\s*\{')),
    ("azure", "{", (r'"topX"\s*:',)),
    ("hugging face", "{", (r'"file_name"\s*:', r'"objects"\s*:\s*\{')),
    ("coco", "{", (r'"images"\s*:\s*\[',)),
    ("coco", "{", (r'"(bbox|segmentation|category_id)"\s*:', r'"image_id"\s*:')),
    ("coco", "{", (r'"categories"\s*:\s*\[', r'"annotations"\s*:')),
    ("crowdhuman", "{", (r'"gtboxes"\s*:',)),
    ("vertex", "{", (r'"boundingBoxAnnotations"\s*:',)),
    ("ibm", "{", (r'"type"\s*:\s*"localization"',)),
)
XML_ROOTS = {"annotation": "voc", "annotations": "cvat", "dataset": "imglab"}
# Lines of a text file beside pictures or in a folder of labels.
LINE_SIGNS: tuple[tuple[str, str], ...] = (
    ("yolo", rf"^\d+(?:\.0+)?(?:[ \t]+{_NUMBER}){{4,}}$"),
    ("yolo", rf"^\d+(?:,[ \t]*{_SHARE}){{4}}$"),
    ("kitti", rf"^[A-Za-z_]\S*(?:[ \t]+{_NUMBER}){{14,15}}$"),
    ("dota", rf"^(?:{_NUMBER}[ \t]+){{8}}\S+(?:[ \t]+[0-9])?$"),
    ("dota", r"^(imagesource|gsd):"),
    ("visdrone", r"^(?:-?\d+,){7}-?\d+,?$"),
    ("wider face", r"^(?=[^\s/]+?--[^\s/])[^\s/]+/\S+\.jpg$"),
    ("mot", r"^\d+,-?\d+(?:,-?[\d.]+){4,8}$"),
    ("picture list", r"^.+?\.[A-Za-z]{3,4}(?:[ \t]+-?\d+(?:\.\d+)?(?:,-?\d+(?:\.\d+)?){3},\d+)+$"),
    ("oidv4", rf"^[A-Za-z](?:.*\S)?(?:[ \t]+{_NUMBER}){{4}}$"),
)
_LINES = tuple((form, re.compile(sign)) for form, sign in LINE_SIGNS)
_JSON = tuple((form, first, tuple(map(re.compile, signs))) for form, first, signs in JSON_SIGNS)


def forms(tree: Tree) -> dict[str, list[str]]:
    """The files of each form, as the tree names them. Files of no form that is known are left out."""
    found = defaultdict(list)
    for folder, names in tree.others.items():
        groups = defaultdict(list)
        for name in names:
            plain = _SHARD.sub("", name.lower()) if "-of-" in name else name.lower()
            ending = plain[plain.rfind(".") :]
            if ending in LOOK:
                groups[ending].append(child(folder, name))
        for ending, files in groups.items():
            for file, form in _looked_at(tree, files, LOOK[ending]):
                if form is not None:
                    found[form].append(file)
    return dict(found)


def _looked_at(tree: Tree, files: list[str], look: Callable[[str, str], str | None]) -> list[tuple[str, str | None]]:
    """The form of each file: of many, that of a few if those are all of one."""
    if len(files) > _FEW:
        few = [files[i * (len(files) - 1) // 3] for i in range(4)]
        some = {_look(tree, file, look) for file in few} - {None}
        if len(some) == 1:
            form = some.pop()
            return [(file, form) for file in files]
    return [(file, _look(tree, file, look)) for file in files]


def _look(tree: Tree, file: str, look: Callable[[str, str], str | None]) -> str | None:
    head = read_head(tree.full(file), HEAD)
    form = look(file, head)
    if form is None and look is json_form and len(head) >= HEAD // 4:
        # A picture or a long list of classes may come before what tells.
        form = look(file, read_head(tree.full(file), _MORE))
    return form


def json_form(_: str, head: str) -> str | None:
    """The form of a JSON file, or of a file with an object of JSON on each line, that begins like this."""
    text = head.lstrip()
    for form, firsts, signs in _JSON:
        if text[:1] and text[0] in firsts and all(sign.search(text) for sign in signs):
            return form
    return None


def xml_form(_: str, head: str) -> str | None:
    """By the name of the first element."""
    element = re.search(r"<([A-Za-z_][\w.-]*)", head)
    return XML_ROOTS.get(element[1]) if element else None


def text_form(file: str, head: str) -> str | None:
    """By its first lines; a file of one word a line names classes or lists pictures, and is of no form."""
    from micro_yolo.pipeline.data.forms.columns import columns_of

    if stem_of(file).lower().startswith(("readme", "license", "classes")):
        return None
    lines = lines_of(head)[:5]
    for form, sign in _LINES:
        mixed = form in ("dota", "wider face")
        if lines and sign.match(lines[0]) and all(sign.match(line) or mixed for line in lines[:-1]):
            return form
    columns = columns_of(head) if lines and "." in lines[0] else None
    return "csv" if columns is not None and columns.delimiter != " " else None


def _by_name(form: str) -> Callable[[str, str], str | None]:
    return lambda _file, _head: form


def csv_form(_: str, head: str) -> str | None:
    """By its columns."""
    from micro_yolo.pipeline.data.forms.columns import columns_of

    return "csv" if columns_of(head) is not None else None


# The longest ending first.
LOOK: dict[str, Callable[[str, str], str | None]] = {
    ".json": json_form,
    ".jsonl": json_form,
    ".ndjson": json_form,
    ".manifest": json_form,
    ".odgt": json_form,
    ".xml": xml_form,
    ".csv": csv_form,
    ".tsv": csv_form,
    ".txt": text_form,
    ".tfrecord": _by_name("tfrecord"),
    ".tfrecords": _by_name("tfrecord"),
    ".record": _by_name("tfrecord"),
    ".data": lambda _, head: "darknet" if re.search(r"^\s*names\s*=", head, re.M) else None,
    ".geojson": _by_name("geojson"),
    ".mat": _by_name("matlab"),
    ".parquet": _by_name("parquet"),
    ".arrow": _by_name("parquet"),
    ".lst": _by_name("mxnet"),
    ".rec": _by_name("mxnet"),
    ".lmdb": _by_name("lmdb"),
    ".mdb": _by_name("lmdb"),
    ".h5": _by_name("hdf5"),
    ".hdf5": _by_name("hdf5"),
    ".zip": _by_name("archive"),
    ".tar": _by_name("archive"),
    ".gz": _by_name("archive"),
    ".tgz": _by_name("archive"),
    ".7z": _by_name("archive"),
    ".rar": _by_name("archive"),
}
# What people read of a form, and the one command or export that leads on where it is not read.
SAYS: dict[str, tuple[str, str]] = {
    "coco": ("COCO JSON", ""),
    "coco results": ("detections in COCO's results format, no labels", "pass the labels they were measured with"),
    "yolo": ("YOLO labels", ""),
    "darknet": ("Darknet's obj.data", ""),
    "voc": ("Pascal VOC XML", ""),
    "csv": ("CSV with boxes", ""),
    "labelme": ("LabelMe JSON", ""),
    "supervisely": ("Supervisely JSON", ""),
    "supervisely meta": ("Supervisely's list of classes", ""),
    "datumaro": ("Datumaro JSON", ""),
    "via": ("VIA (VGG Image Annotator) JSON", ""),
    "label studio": ("Label Studio JSON", ""),
    "createml": ("CreateML JSON", ""),
    "bdd100k": ("BDD100K JSON", ""),
    "sagemaker": ("a SageMaker Ground Truth manifest", ""),
    "azure": ("Azure ML's JSON lines", ""),
    "hugging face": ("Hugging Face's metadata.jsonl", ""),
    "v7 darwin": ("V7 Darwin JSON", ""),
    "cvat": ("CVAT for images XML", ""),
    "imglab": ("dlib's imglab XML", ""),
    "vertex": ("Vertex AI's JSON lines", ""),
    "crowdhuman": ("CrowdHuman's .odgt", ""),
    "ibm": ("IBM Cloud Annotations JSON", ""),
    "wider face": ("WIDER FACE's list", ""),
    "mot": ("MOT Challenge tracks", "convert them to COCO JSON, such as by `mmtracking`'s mot2coco.py"),
    "kitti": ("KITTI labels", ""),
    "dota": ("DOTA's corners", ""),
    "visdrone": ("VisDrone's lines", ""),
    "oidv4": ("labels of the OIDv4 toolkit", ""),
    "picture list": ("a list of pictures with their boxes (keras-yolo3)", ""),
    "tfrecord": ("TFRecord", ""),
    "labelbox": ("a Labelbox export", "in Labelbox export COCO, or convert it by its SDK's COCO converter"),
    "geojson": ("GeoJSON", "convert its boxes to CSV: filename,xmin,ymin,xmax,ymax,class"),
    "matlab": ("a MATLAB .mat file", "write its boxes as CSV: filename,xmin,ymin,xmax,ymax,class"),
    "parquet": ("Parquet or Arrow", "save pictures and metadata.jsonl by the `datasets` library"),
    "mxnet": ("MXNet RecordIO", "export COCO or Pascal VOC from the tool that wrote it"),
    "lmdb": ("LMDB", "export COCO or Pascal VOC from the tool that wrote it"),
    "hdf5": ("HDF5", "export COCO or Pascal VOC from the tool that wrote it"),
    "archive": ("an archive that is not looked into", "unpack it"),
}
