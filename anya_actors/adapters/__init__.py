"""One folder a technology; each class fulfils a port."""
