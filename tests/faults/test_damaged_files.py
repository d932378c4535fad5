"""Every kind of file that the library reads, damaged in every way: its whole content comes back, or one line of ValueError."""

import gzip
import json
import pickle
import re
import shutil
import struct
import zlib

import nbformat
import numpy as np
import pytest
import trials
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tvae_lib import checkpoint, data, experiments, results
from tvae_lib.checks import grader
from tvae_lib.experiments import Run, Study
from tvae_lib.latent import Gaussian, StudentT
from tvae_lib.train import History, fit
from tvae_lib.vae_numpy import VAE


def png():
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = chunk(b"IHDR", struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


FOREIGN = {
    "empty": b"",
    "text": b"<html>\n404 Not Found\n</html>\n",
    "pickle": pickle.dumps({"scores": [1.5]}),
    "PNG": png(),
    "gzip": gzip.compress(b"text"),
    "zeros": bytes(3000),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    **{f"JSON {text[:20]}": text.encode() for text in ("{}", "[]", "null", "1", '"a"', '{"a": 1}', '{"seed": 0}', "[" * 100_000)},
}


def damaged(whole, flips):
    """Pairs of a name and a content: foreign ones, truncated at many lengths, single bits flipped."""
    yield from FOREIGN.items()
    rng = np.random.default_rng(len(whole))
    for kept in sorted({*range(16), *rng.integers(len(whole), size=40).tolist(), len(whole) - 2, len(whole) - 1}):
        yield f"the first {kept} bytes", whole[:kept]
    for bit in rng.integers(8 * len(whole), size=flips).tolist():
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(content)
    yield "twice", whole + whole


def one_line(error, path, hint):
    message = str(error)
    assert type(error) is ValueError and path.name in message and hint in message and "\n" not in message, message


# ---- files with a checksum: a reader prepares a good file, and others of the same kind that are no good in its place


def weights(path, family=None, sizes=trials.SIZES, **extra):
    checkpoint.save(path, VAE(family or StudentT(21), sizes, rng=1), **extra)
    return path.read_bytes()


def checkpoint_of_a_run(folder, monkeypatch):
    path = folder / "run.safetensors"
    options = {"batch_size": 20, "lr": 0.01, "seed": 4, "checkpoint": path, "progress": False}
    others = [weights(path), weights(path, Gaussian()), weights(path, run={}, history={})]
    for change in ({"lr": 0.02}, {"seed": 5}):
        path.unlink()
        fit(trials.new_model(), *trials.images(), epochs=1, **{**options, **change})
        others.append(path.read_bytes())
    path.unlink()
    fit(trials.new_model(), *trials.images(), epochs=2, **options)

    def resume(path):
        model = trials.new_model()
        history = fit(model, *trials.images(), epochs=2, **options)
        return vars(history), {name: value.tobytes() for name, value in model.params.items()}

    return path, resume, others, ""  # "restore it or train again", or "use another path"


def weights_of_the_playground(folder, monkeypatch):
    """What the playground page and the chapters load by name; tiny ones here."""
    monkeypatch.setattr(results, "RESULTS", folder)
    path = folder / "weights" / "t21-numpy-0.safetensors"
    others = [weights(path, Gaussian()), weights(path, StudentT(3))]
    whole = weights(path)
    header = whole.replace(b'"shape":[8,20]', b'"shape":[20,8]')
    assert header != whole
    read = lambda path: {name: value.tobytes() for name, value in results.load_model("t21").params.items()}
    return path, read, [*others, header], ""


def embedded_data(folder, monkeypatch):
    name, *others = (f"{part}-labels-idx1-ubyte.gz" for part in ("t10k", "fashion-t10k", "train"))
    path = folder / name
    shutil.copy(data.FOLDER / name, path)
    return path, data.read_idx, [(data.FOLDER / other).read_bytes() for other in others], "restore it with `git checkout"


def record_of(model="t21", seed=0, study="", backend="numpy"):
    """What a sweep would store for a run of three epochs, made up."""
    run = Run(model, seed, Study(study, "made up", {}, backend, epochs=3))
    history = {name: [0.5 + i for i in range(3)] for name in vars(History())}
    scores = [["test_loss", "", "", 105.25], ["mse_missing", "random", "single_pass", 1 / 3]]
    return {**run.record, "provenance": {"numpy": "2.0"}, "history": history, "scores": scores}


def stored(path, record):
    results.write_record(path, record)
    return path.read_bytes()


def result(folder, monkeypatch):
    path = folder / "t21-numpy-0.json"
    different = [record_of("gaussian"), record_of(seed=1), record_of(study="exact"), record_of(backend="torch")]
    others = [stored(path, record) for record in different]
    others.append(stored(path, {"seed": 0, "baselines": True, "provenance": {}, "scores": []}))
    stored(path, record_of())
    return path, results.read_record, others, "restore it, or delete it and run"


def history(folder, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", folder)
    path, _, others, hint = result(folder / "runs", monkeypatch)
    return path, lambda path: results.load_history("t21"), others, hint


READERS = [checkpoint_of_a_run, weights_of_the_playground, embedded_data, result, history]


@pytest.mark.parametrize("prepare", READERS)
def test_a_damaged_file_gives_its_whole_content_or_one_line(tmp_path, monkeypatch, prepare):
    path, read, others, hint = prepare(tmp_path, monkeypatch)
    whole, expected, harmless = path.read_bytes(), read(path), []
    for name, content in [*damaged(whole, 300), *((f"other {i}", other) for i, other in enumerate(others))]:
        path.write_bytes(content)
        try:
            found = read(path)
        except ValueError as error:
            one_line(error, path, hint)
        else:
            np.testing.assert_equal(found, expected, name)
            harmless.append(name)
    assert all("flipped" in name for name in harmless) and len(harmless) < 15, harmless
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError) as caught:
        read(path)
    one_line(caught.value, path, "")


# ---- files without a checksum


def test_an_older_result_is_read_and_checked_for_its_form(tmp_path):
    path = tmp_path / "t21-numpy-0.json"
    record = record_of()
    older = {"df": 21} | {name: value for name, value in record.items() if name not in ("model", "study")}
    path.write_text(json.dumps(older))
    assert results.read_record(path) == record
    whole = path.read_bytes()
    for name, content in damaged(whole, 300):
        path.write_bytes(content)
        try:
            results.read_record(path)  # a changed digit does not show
        except ValueError as error:
            one_line(error, path, "restore it, or delete it and run")
        else:
            assert "flipped" in name
    row, floats = ["test_loss", "", "", 1.5], record["history"]
    wrong = [
        ("epochs", 4),
        ("history", {}),
        *(("history", floats | {"kl": kl}) for kl in ([0.5, 1.5], [0.5, 1.5, 2], [0.5, 1.5, "2.5"])),
        *(("scores", [row, other]) for other in (row[1:], [*row, 1.5], [*row[:2], 3, 1.5], [*row[:3], 1], [*row[:3], "1.5"])),
        ("df", "21"),
        ("seed", None),
        ("study", "exact"),
        ("crc33", 1),
        ("crc32", 1),
    ]
    for name, value in wrong:
        path.write_text(json.dumps({**older, name: value}))
        with pytest.raises(ValueError) as caught:
            results.read_record(path)
        one_line(caught.value, path, "restore it, or delete it and run")


def test_the_shipped_table_is_what_the_shipped_results_give(tmp_path):
    shutil.copytree(results.RESULTS / "runs", tmp_path / "runs")
    experiments.collect(tmp_path)
    assert (tmp_path / "runs.csv").read_bytes() == (results.RESULTS / "runs.csv").read_bytes()


def test_a_changed_digit_in_the_table_is_noticed(tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.write_record(tmp_path / "runs" / "t21-numpy-0.json", record_of())
    experiments.collect(tmp_path)
    path, load = tmp_path / "runs.csv", results.load_scores.__wrapped__
    assert list(load().value) == [105.25, 0.3333333]
    path.write_bytes(path.read_bytes().replace(b"105.25", b"105.35"))
    with refuses(f"{path} is not a whole table .wrong checksum.; restore it, or write it again"):
        load()


def test_a_damaged_table_is_refused_or_has_the_form_of_one(tmp_path, monkeypatch):
    rows = (results.RESULTS / "runs.csv").read_bytes().splitlines(keepends=True)[:60]
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    path, whole = tmp_path / "runs.csv", b"".join(rows)
    path.write_bytes(whole)
    load = results.load_scores.__wrapped__
    expected, hint = load(), "write it again by tvae_lib.experiments.collect()"
    for name, content in damaged(whole, 300):
        path.write_bytes(content)
        try:
            found = load()
        except ValueError as error:
            one_line(error, path, hint)
        else:
            assert list(found.columns) == list(expected.columns) and found.value.dtype == float
            assert "flipped" in name or content.endswith(b"\n")  # cut between two rows it looks like an older table
    path.unlink()
    for _ in range(2):  # missing, then a folder
        with pytest.raises(ValueError) as caught:
            load()
        one_line(caught.value, path, hint)
        path.mkdir(exist_ok=True)


# ---- what a sweep says


@pytest.mark.parametrize("damage", [b"", b"{", b'{"seed": 0, "baselines": true, "provenance": {}, "scores": []}'])
def test_a_sweep_names_a_damaged_result_before_it_trains(tmp_path, damage):
    path = tmp_path / "runs" / "gaussian-numpy-0.json"
    path.parent.mkdir()
    path.write_bytes(damage)
    code, text = trials.limited(10**9, trials.sweep, tmp_path)
    assert code == 1 and "Traceback" not in text
    assert f"error: {path} is not a whole result" in text.splitlines()[-1] and "delete it" in text.splitlines()[-1]
    assert trials.names(tmp_path) == ["runs/gaussian-numpy-0.json"]


def test_a_sweep_names_a_damaged_checkpoint(tmp_path):
    path = tmp_path / "work" / "gaussian-numpy-0.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"half")
    code, text = trials.limited(10**9, trials.sweep, tmp_path)
    assert code == 1 and "Traceback" not in text
    assert f"error: {path} is not a whole safetensors file" in text.splitlines()[-1]
    path.unlink()
    assert trials.limited(10**9, trials.sweep, tmp_path)[0] == 0


# ---- notebooks that the grader reads

CELLS = [
    new_markdown_cell("# Workbook 02: tiny", id="title"),
    new_code_cell("from tvae_lib.checks import chapter_02 as check", id="setup", metadata={"tags": ["setup"]}),
    new_code_cell("log_t = ...", id="answer", outputs=[nbformat.v4.new_output("stream", text="seen")], execution_count=3),
    new_code_cell("check.task_1(log_t)", id="check-1", metadata={"tags": ["check"]}),
]
NOTEBOOK = nbformat.writes(new_notebook(cells=CELLS, metadata={"workbook": {"name": "02_tiny"}})).encode()
REMARK = re.compile("(not a notebook|unknown workbook|(changed|missing): (set-up|check 1|set-up, check 1))?")


@pytest.fixture
def grade(tmp_path, monkeypatch):
    """Grade a notebook of this content, without running it, and return the remark."""
    originals = tmp_path / "originals"
    originals.mkdir()
    (originals / "02_tiny.ipynb").write_bytes(NOTEBOOK)
    monkeypatch.setattr(grader, "WORKBOOKS", originals)
    monkeypatch.setattr(grader, "run", lambda job, timeout: ([], ""))
    path = tmp_path / "02_tiny_ada.ipynb"

    def run(content):
        path.write_bytes(content)
        found = grader.grade(path)
        assert found.keys() == {"workbook", "tasks", "remark"} and "\n" not in found["remark"]
        assert found["remark"] or found["tasks"] == {1: ""}  # what ran was whole: the check is the original's
        return found["remark"]

    return run


def test_damaged_notebooks_cost_their_own_row_only(grade):
    assert grade(NOTEBOOK) == ""
    for name, content in damaged(NOTEBOOK, 150):
        remark = grade(content)
        assert REMARK.fullmatch(remark)
        assert remark or "flipped" in name or content.rstrip() == NOTEBOOK.rstrip()


def nodes(tree, path=()):
    """The paths of all parts of a JSON tree."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from nodes(value, (*path, key))


def test_notebooks_with_a_part_of_another_kind(grade):
    tree = json.loads(NOTEBOOK)
    for path in list(nodes(tree))[1:]:
        for value in (None, 1, "text", [], {}, [1], {"a": [1]}):
            changed = json.loads(NOTEBOOK)
            part = changed
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
            assert REMARK.fullmatch(grade(json.dumps(changed).encode())), (path, value)


def test_a_damaged_original_is_named(grade, tmp_path):
    (tmp_path / "originals" / "02_tiny.ipynb").write_bytes(NOTEBOOK[:-20])
    assert grade(NOTEBOOK).startswith("the library's own 02_tiny.ipynb is damaged: restore it")
