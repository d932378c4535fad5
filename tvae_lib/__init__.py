"""The small library behind the t-VAE book: two variational autoencoders, their KL terms, masks and scores."""

__version__ = "0.1.0"
