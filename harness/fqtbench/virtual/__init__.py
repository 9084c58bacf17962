"""Virtual boards: chips that run the real firmware, deterministically, behind a debug port and a UART."""
