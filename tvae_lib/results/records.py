"""The files under results/: written whole and with a checksum, and refused if they are damaged."""

import json
import zlib
from dataclasses import fields
from pathlib import Path

from tvae_lib.files import write_atomically
from tvae_lib.train import History

# What a run's record says of the run; older records have not all of it.
RUN = {"model", "df", "seed", "backend", "epochs", "lr", "batch_size", "test_images", "study"}


def name_of(record):
    """The name of a record's file, without its ending."""
    if "baselines" in record:
        return f"baselines-{record['seed']}"
    study = record.get("study", "")
    return f"{record['model']}-{record['backend']}-{record['seed']}{study and '-' + study}"


def write_record(path, record):
    """Write the file of a run or of the baselines, with its checksum."""
    record = {name: value for name, value in record.items() if name != "crc32"}
    write_atomically(path, _to_text({**record, "crc32": zlib.crc32(_to_text(record))}))


def _to_text(record):
    return json.dumps(record, separators=(",", ":")).encode()


def read_record(path):
    """The content of a file in results/runs, a dict.

    Raises ValueError, one line, if the file is damaged, or is not the one that its name says. The checksum is what tells a
    changed digit; files that were written before there was one are checked for their form only.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_bytes())
        checksum = record.pop("crc32", None)
        if checksum not in (None, zlib.crc32(_to_text(record))):
            raise ValueError("wrong checksum")
        if "df" in record:  # how older files say which model it is, 0 for the Gaussian; they say nothing of the study
            df = record.pop("df")
            record = {"model": f"t{df:g}" if df else "gaussian", "study": "", **record}
        _check_record(record, path.stem)
    except Exception as error:  # in what was damaged anything may be of another type than it should be
        hint = "restore it, or delete it and run `python -m tvae_lib.experiments` for this run again"
        raise ValueError(f"{path} is not a whole result ({' '.join(str(error).split())}); {hint}") from None
    return record


def _check_record(record, name):
    """Raise an exception of whatever kind unless the record has the form of the run of that name."""
    names = {"seed", "baselines", "provenance", "scores"}
    if "baselines" not in record:
        names = RUN | {"protocol", "provenance", "history", "scores", "failed", "scored"}
        expected = {} if "failed" in record else {field.name: record["epochs"] for field in fields(History)}
        history = record["history"]
        if {name: len(values) for name, values in history.items()} != expected or not _all_floats(*history.values()):
            raise ValueError("the history is not one of its epochs")
    if unknown := record.keys() - names:
        raise ValueError(f"unknown entry {min(unknown)!r}")
    if (found := name_of(record)) != name:
        raise ValueError(f"it is that of {found}")
    texts = all(isinstance(text, str) for *names, _ in record["scores"] for text in names)
    if not texts or {len(row) for row in record["scores"]} - {4} or not _all_floats([row[3] for row in record["scores"]]):
        raise ValueError("a score is not three texts and a number")


def _all_floats(*lists):
    return all(type(value) is float for values in lists for value in values)


COLUMNS = ["model", "nu", "seed", "backend", "study", "metric", "mask", "method", "value"]


def write_table(path, table):
    """Write a DataFrame to a CSV file, and its checksum beside it, under the ending .crc32."""
    content = table.to_csv(index=False).encode()
    write_atomically(path, content)
    write_atomically(Path(path).with_suffix(".crc32"), f"{zlib.crc32(content)}\n".encode())


def read_table(path):
    """The table of scores in a file that `write_table` wrote, a DataFrame; ValueError, one line, if it is damaged."""
    import pandas as pd

    try:
        checksum = path.with_suffix(".crc32")
        if checksum.exists() and checksum.read_text().strip() != str(zlib.crc32(path.read_bytes())):
            raise ValueError("wrong checksum")
        table = pd.read_csv(path, keep_default_na=False, na_values={"nu": [""]})
        if list(table.columns) != COLUMNS or not path.read_bytes().endswith(b"\n"):
            raise ValueError("its first line or its end is missing")
        if table.nu.dtype.kind + table.seed.dtype.kind + table.value.dtype.kind != "fif" or table.duplicated(COLUMNS[:-1]).any():
            raise ValueError("a nu, a seed or a value is no number, or a row is there twice")
    except (OSError, ValueError) as error:
        hint = "restore it, or write it again by tvae_lib.experiments.collect()"
        raise ValueError(f"{path} is not a whole table ({' '.join(str(error).split())}); {hint}") from None
    return table
