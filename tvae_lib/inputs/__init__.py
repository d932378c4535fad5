"""What arguments may be, all of it: a function raises a ValueError of one line that names its argument, or returns it for use.

values    numbers, texts, seeds, shapes and arrays
models    what a model is made of, and the images, codes and noise that it takes
families  what the latent families take
"""

# Whoever asks need not know in which of the three a check stands.
from tvae_lib.inputs.families import *  # noqa: F403
from tvae_lib.inputs.models import *  # noqa: F403
from tvae_lib.inputs.values import *  # noqa: F403
