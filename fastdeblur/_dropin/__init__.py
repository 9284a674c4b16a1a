"""What the drop-ins for SciPy and scikit-image share: calling ours or the original, mirrored modules, patching."""
