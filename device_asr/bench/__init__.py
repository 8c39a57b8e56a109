"""Measuring: accuracy, latency, computation and memory over a corpus, beside a peer and the teacher."""
