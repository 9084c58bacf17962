"""Boards at work: locks, launched boards, worker processes, and the pool that supervises them."""
