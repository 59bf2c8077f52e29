"""Evaluation of models on cases: who mends more, at what price, and whether that could be chance."""
