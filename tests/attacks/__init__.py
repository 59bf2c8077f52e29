"""The labelled corpus of patches that the gate is measured with: see corpus.py for the data, run.py for the table."""
