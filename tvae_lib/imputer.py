"""`tables.imputer` by a shorter name."""

from tvae_lib.tables.imputer import METHODS, VAEImputer

__all__ = ["METHODS", "VAEImputer"]
