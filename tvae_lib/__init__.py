"""The small library behind the t-VAE book. What chapters teach, in reading order:

latent         the two families, Gaussian and Student's t, and their KL terms (chapters 02 and 03)
likelihood     what the decoder's output says about the pixels
vae_numpy      the model in NumPy, with backpropagation by hand (chapter 04)
vae_torch      the same model in PyTorch (chapter 05)
train          `fit`: stochastic gradient descent for either, repeatable and resumable
checkpoint     models in files, and back
masks          which pixels are missing
impute         filling them in with a model (chapter 07)
baselines      filling them in without one
imputer        the same for any table, as scikit-learn has it
metrics        scores of what was filled in
outliers       how unusual an image is to a model (chapter 09)
synthetic      data whose codes have known tails (chapter 09)
files          files that are whole or not there

Folders, which need not be read to follow a chapter:

inputs         what arguments may be
data           MNIST and others
divergences    longer formulas: exact KLs (chapter 02), families made of others (11), all of it for tensors (05)
results        reading what the full-length runs left in results/
plots          figures and tables that several chapters use
tables         the imputer, and likelihoods of real numbers
experiments    the full-length runs
interactive    live figures
checks         of the workbooks

Imports go one way: inputs and files, then data, latent, likelihood, divergences, masks, metrics, plots, then the others, then
experiments, interactive and checks, which do not know one another.
"""

__version__ = "0.2.0"
