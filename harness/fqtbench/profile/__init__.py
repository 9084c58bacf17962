"""Where a training step's cycles go: by layer and phase, function and basic block; and where its memory goes."""
