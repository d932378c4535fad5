"""A full disk: the old file stays whole, nothing else is left, the error is one clear line, and with room again all goes on."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import trials

from tvae_lib import checkpoint, experiments, results

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the limits of POSIX")
RECORD = {"seed": 0, "baselines": True, "provenance": {}, "scores": [["mse_missing", "random", "zero", 0.5]] * 100}


def save_checkpoint(path):
    checkpoint.save(path, trials.new_model())


def save_weights(path):
    checkpoint.save(path, trials.new_model(), dtype=np.float16)


def write_result(path):
    results.write_record(path, RECORD)


def write_table(path):
    experiments.collect(path.parent)


def write_grades(path):
    from tvae_lib.checks import __main__ as grader  # slow to import, and the other processes do without

    with contextlib.redirect_stdout(io.StringIO()):  # pytest keeps what is printed in a file, for which there is no room either
        message = grader.main([str(path.parent / "class"), "--csv", str(path)])
    print(message or "", file=sys.stderr)
    return 1 if message else 0


OLD = b"notebook,workbook,correct,remark,checksum\n"  # grades replace nothing but grades


@pytest.mark.parametrize("write", [save_checkpoint, save_weights, write_result, write_table, write_grades])
def test_the_old_file_stays_and_the_error_is_one_line(tmp_path, write):
    path = tmp_path / "runs.csv"
    results.write_record(tmp_path / "runs" / "baselines-0.json", RECORD)  # what the table is made of
    for i in range(9):
        student = tmp_path / "class" / f"student-{i}.ipynb"
        student.parent.mkdir(exist_ok=True)
        student.write_text("no notebook")
    path.write_bytes(OLD)
    before = trials.names(tmp_path)
    code, text = trials.limited(100, write, path)
    assert code == 1
    assert re.search(rf"File too large: '{path}'$", text.rstrip().splitlines()[-1]) and "Traceback" not in text
    assert path.read_bytes() == OLD and trials.names(tmp_path) == before
    assert trials.limited(10**6, write, path)[0] == 0
    assert path.read_bytes() != OLD and set(trials.names(tmp_path)) - {"runs.crc32"} == set(before)


def test_training_goes_on_to_the_same_bits_when_there_is_room_again(tmp_path):
    expected = trials.state(trials.undisturbed(tmp_path)[0])
    path = tmp_path / "run" / "run.safetensors"
    assert trials.finish(trials.start(trials.train, path, "numpy", None, 10)) == 0
    code, text = trials.limited(path.stat().st_size + 500, trials.train, path)  # the history grows with every epoch
    assert (code, text) == (1, f"[Errno 27] File too large: '{path}'")
    assert 10 < len(checkpoint.read(path)[2]["history"]["loss"]) < 20
    assert trials.names(path.parent) == [path.name]
    assert trials.finish(trials.start(trials.train, path)) == 0
    assert trials.state(path) == expected


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_sweep_says_so_in_one_line_and_goes_on_when_there_is_room_again(tmp_path, jobs):
    code, text = trials.limited(1_000_000, trials.sweep, tmp_path, "--jobs", jobs)  # a checkpoint has 1.5 MB
    assert code == 1 and "Traceback" not in text
    line = r"error: .*File too large: '.*work/.*\.safetensors'; once that is mended, the same command continues from here"
    assert re.search(line, text.splitlines()[-1])
    assert trials.names(tmp_path) == ["runs.crc32", "runs.csv"]
    assert trials.finish(trials.start(trials.quiet_sweep, tmp_path)) == 0
    assert len(trials.names(tmp_path)) == 10


SMALL_DISK = """
mount -t tmpfs -o size=256k none "$1" || exit 77
exec "$2" -c "import sys, test_full_disk; test_full_disk.fill_the_disk_and_train(*sys.argv[1:])" "$1" "$3"
"""


def fill_the_disk_and_train(disk, result):
    """On a disk of its own, which nobody else sees: train, fill it, train further, make room, train to the end."""
    path, ballast = trials.Path(disk) / "run.safetensors", trials.Path(disk) / "ballast"
    trials.train(path, epochs=3)
    before = path.read_bytes()
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(OSError) as caught:
        trials.train(path)
    assert str(caught.value) == f"[Errno 28] No space left on device: '{path}'"
    assert path.read_bytes() == before and trials.names(path.parent) == ["ballast", "run.safetensors"]
    ballast.unlink()
    trials.train(path)
    shutil.copy(path, result)


def test_a_disk_that_is_really_full(tmp_path):
    disk, result = tmp_path / "disk", tmp_path / "result.safetensors"
    disk.mkdir()
    if not shutil.which("unshare"):
        pytest.skip("no unshare: a small disk cannot be mounted")
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh", disk, sys.executable, result]
    done = subprocess.run(command, env={**os.environ, **trials.ENVIRONMENT}, capture_output=True, text=True, timeout=300)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert trials.state(result) == trials.state(trials.undisturbed(tmp_path)[0])
