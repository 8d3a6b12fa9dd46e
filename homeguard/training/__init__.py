"""The lab: corpora, synthesis, training and evaluation. Needs the extra `train`."""
