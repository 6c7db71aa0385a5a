"""What Linux offers beyond POSIX."""
