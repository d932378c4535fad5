"""What `make check` runs for a changed file."""

import pytest
from check_changed import ELSEWHERE, ROOT, git, its_tests, plan


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("tvae_lib/latent.py", "tests/library/test_latent.py"),
        ("tvae_lib/inputs/values.py", "tests/library/test_messages.py"),
        ("tvae_lib/divergences/families.py", "tests/library/test_families.py"),
        ("tvae_lib/tables/likelihoods.py", "tests/library/test_holes.py"),
        ("tvae_lib/experiments/sweep.py", "tests/library/test_experiments.py"),
        ("tvae_lib/interactive/js/kl.js", "tests/library/test_interactive.py"),
        ("tvae_lib/checks/chapter_03.py", "tests/classroom/test_checks.py"),
        ("tests/library/test_latent.py", "tests/library/test_latent.py"),
        ("tools/numbers_in_text.py", "tests/book/test_numbers.py"),
        ("book/claims.md", "tests/book/test_consistency.py"),
    ],
)
def test_a_file_leads_to_its_tests(name, tests):
    assert tests in its_tests(name)


def test_every_named_test_exists_and_every_module_has_one():
    assert [test for tests in ELSEWHERE.values() for test in tests if not (ROOT / test).exists()] == []
    modules = [name for name in git("ls-files", "tvae_lib/*.py") if name.count("/") == 1 and "__" not in name]
    without = {"tvae_lib/files.py", "tvae_lib/likelihood.py"}
    assert {name for name in modules if not its_tests(name)} <= without


def test_the_commands_for_a_change():
    commands = plan(["README.md", "book/06_reconstruction.ipynb", "tvae_lib/checks/chapter_07.py", "tvae_lib/masks.py"])
    lines = [" ".join(command) for command in commands]
    assert lines[0] == "tools/check_notebooks.py book/06_reconstruction.ipynb"
    assert lines[1].endswith("tests/classroom/test_checks.py -k chapter_07 or 07_")
    assert "tests/book/test_consistency.py tests/library/test_masks.py" in lines[2]
    assert lines[3].endswith("--nbval-current-env book/06_reconstruction.ipynb")
    assert lines[4] == "tools/numbers_in_text.py --check book/06_reconstruction.ipynb"
    assert plan(["README.md"]) == []
