"""Sizes that every exported speech program has."""

from __future__ import annotations

CACHE = 224  # token slots: 28 s of fast English is about 120 tokens; Whisper's own sample length
TOKENS_PER_CALL = 32  # drafts are checked in batches of at most this many
