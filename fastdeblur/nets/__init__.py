"""Small trained networks that undo blur, on the same core, without any machine-learning framework."""

from __future__ import annotations
