"""What is said of a bundle: what crosses, who may learn what, and what binds it to the digest."""
