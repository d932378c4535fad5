"""What several test files share. One thread: sums keep their order, and a busy machine is left alone."""

import contextlib
import os
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from threadpoolctl import threadpool_limits

from tvae_lib.data import load_mnist

# The property tests try the same examples every time; HYPOTHESIS_PROFILE=long tries twenty times as many, and others each time.
quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
settings.register_profile("repeatable", derandomize=True, max_examples=20, **quiet)
# For tools/mutants.py: whether an example fails, not which is the simplest.
settings.register_profile("found", settings.get_profile("repeatable"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("long", max_examples=400, **quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # in the processes that tests start
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def mnist():
    return load_mnist()


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture
def refuses():
    """`with refuses("df must be"):` the block must raise a ValueError whose one-line message matches."""

    @contextlib.contextmanager
    def check(pattern, error=ValueError):
        with pytest.raises(error) as caught:
            yield
        message = str(caught.value)
        assert re.search(pattern, message), f"{message!r} does not match {pattern!r}"
        assert message and "\n" not in message, f"not one line: {message!r}"

    return check
