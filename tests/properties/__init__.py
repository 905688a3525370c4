"""What must hold whatever happens: hypothesis makes the worlds, and shrinks the one that fails."""
