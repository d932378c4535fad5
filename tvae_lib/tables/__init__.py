"""For tables of real numbers: `likelihoods`, Normal and Student's t around the decoder's output, and the `imputer`."""
